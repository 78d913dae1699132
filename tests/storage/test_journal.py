"""The journal beside the backup file: what is written when, what is read back, what is kept."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Callable, List, Optional

import pytest

from uun_iot_storage import Storage, StorageError

from .support import identity, on_disk, snapshot, start_python

Log = pytest.LogCaptureFixture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def crash(storage: Storage, path: Path) -> Path:
    """Return the path of a copy of all files, as a kill would leave them."""
    copy = path.parent / "crashed"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in path.parent.iterdir():
        if file.is_file() and not file.name.endswith(".lock"):
            shutil.copy(file, copy)
    return copy / path.name


def loaded(path: Path) -> List[Any]:
    with Storage("again", str(path)) as storage:
        return list(storage.data)


def warnings(caplog: Log) -> List[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


# -- what is written -----------------------------------------------------------------------


class Calls:
    """Notes calls of the functions of `os` that write, and lets them go through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: List[str] = []
        for name in ("write", "fsync", "fdatasync", "replace", "unlink", "ftruncate"):
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self.noting(name, getattr(os, name)))
        import uun_iot_storage.journalfile as journalfile

        monkeypatch.setattr(journalfile, "_sync", self.noting("sync", journalfile._sync))

    def noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            return function(*args, **kwargs)

        return call


def test_a_backup_is_one_write_and_one_sync_however_much_is_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage("s", str(path))
    storage.merge([{"number": number} for number in range(5000)])
    storage.append("makes the journal", backup=True)
    calls = Calls(monkeypatch)
    changes: List[Callable[[], None]] = [
        lambda: storage.append(1, backup=True),
        lambda: storage.merge([2, 3]),
        lambda: storage.merge([-1], new_data=False),
        lambda: storage.acknowledge(storage.take(10), []),
    ]
    for change in changes:
        calls.made.clear()
        change()
        assert calls.made == ["write", "sync"]
    assert on_disk(path) == storage.data
    assert len(snapshot(path)) != len(storage)


def test_an_outage_writes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("s", str(path))
    storage.merge([{"number": number} for number in range(100)])
    calls = Calls(monkeypatch)
    for _ in range(5):
        batch = storage.take()
        storage.acknowledge(batch, batch.entries)
        storage.acknowledge(storage.take(), json.loads(json.dumps(storage.data)))
    assert calls.made == []


def test_what_was_changed_while_it_could_not_be_sent_is_on_the_disk_then(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([{"attempt": 0}, {"attempt": 0}])
    batch = storage.take()
    batch.entries[1]["attempt"] = 1
    storage.acknowledge(batch, batch.entries)
    assert on_disk(path) == [{"attempt": 0}, {"attempt": 1}]


def test_acknowledging_with_changed_failures_is_one_line(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2, 3, 4])
    storage.append(5, backup=True)
    lines = journal_of(path).read_bytes().count(b"\n")
    storage.acknowledge(storage.take(4), [3, "changed"])
    assert journal_of(path).read_bytes().count(b"\n") == lines + 1
    assert on_disk(path) == storage.data == ["changed", 3, 5]


def test_closing_leaves_a_json_list_and_no_journal(path: Path) -> None:
    storage = Storage("s", str(path))
    for number in range(10):
        storage.append(number, backup=True)
    assert journal_of(path).exists()
    storage.close()
    assert snapshot(path) == list(range(10))
    assert not journal_of(path).exists()


def test_the_journal_has_the_rights_of_the_backup_file(path: Path) -> None:
    path.write_text("[]")
    path.chmod(0o640)
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2, backup=True)
    assert stat.S_IMODE(journal_of(path).stat().st_mode) == 0o640


def test_an_outgrown_journal_gives_way_to_a_new_snapshot(path: Path) -> None:
    storage = Storage("s", str(path))
    sizes = []
    for number in range(200):
        storage.append({"number": number, "filler": "x" * 4000}, backup=True)
        if journal_of(path).exists():
            sizes.append(journal_of(path).stat().st_size)
            assert sizes[-1] <= max(64 * 1024, path.stat().st_size) + 5000
    assert sizes != sorted(sizes), "it was never replaced"
    written = storage.stats().bytes_written
    assert written < 5 * 200 * 4000, "replacing is to cost no more than some bytes for each byte"
    assert on_disk(path) == storage.data


def test_a_drained_storage_takes_little_room(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([{"number": number, "filler": "x" * 300} for number in range(1000)])
    storage.merge([{"number": -1}])
    assert path.stat().st_size > 300_000
    storage.acknowledge(storage.take(), [])
    assert path.stat().st_size < 1000
    assert on_disk(path) == []


# -- what is read back -----------------------------------------------------------------------


def test_what_a_killed_process_left_is_loaded(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2, 3])
    storage.append(4, backup=True)
    storage.merge([0], new_data=False)
    storage.acknowledge(storage.take(3), [1])
    storage.append("not saved")
    assert loaded(crash(storage, path)) == [1, 3, 4]


def test_a_storage_goes_on_after_a_crash_again_and_again(path: Path) -> None:
    storage = Storage("s", str(path))
    expected: List[Any] = []
    for number in range(6):
        storage.append(number, backup=True)
        storage.append(-number, backup=True)
        expected += [number, -number]
        if number % 2:
            storage.acknowledge(storage.take(1), [])
            del expected[0]
        path = crash(storage, path)
        storage.close()
        storage = Storage("s", str(path))
        assert storage.data == expected
    storage.close()
    assert snapshot(path) == expected


def test_a_read_only_copy_of_a_crash_loads(path: Path) -> None:
    # a directory in the place of the lock file: nothing can be locked, so nothing is written
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.append(3, backup=True)
    crashed = crash(storage, path)
    crashed.with_name(crashed.name + ".lock").mkdir()
    before = identity(crashed)
    again = Storage("again", str(crashed))
    assert again.data == [1, 2, 3]
    with pytest.raises(StorageError):
        again.append(4, backup=True)
    assert identity(crashed) == before


def test_empty_lists_do_not_revive_an_old_journal(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append("of the first life", backup=True)
    old = journal_of(path).read_bytes()
    storage.empty()
    storage.close()
    storage.reopen()
    storage.append("x", backup=True)
    storage.empty()
    storage.close()
    assert snapshot(path) == []
    journal_of(path).write_bytes(old)  # of another snapshot, which was [] as well
    # it is not known any more what became of its entry: twice is better than lost
    assert loaded(path) == ["of the first life"]


def test_a_journal_of_the_snapshot_before_counts_for_nothing(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2, backup=True)
    old = journal_of(path).read_bytes()
    storage.close()
    journal_of(path).write_bytes(old)  # as if its removal had not reached the disk
    assert loaded(path) == [1, 2]
    assert warnings(caplog) == []
    assert not journal_of(path).exists()


def test_entries_of_a_journal_are_kept_when_an_older_version_has_rewritten_the_file(
    path: Path, caplog: Log
) -> None:
    storage = Storage("s", str(path))
    storage.merge(["a", "b"])
    storage.close()
    storage.reopen()
    storage.append("c", backup=True)
    storage.acknowledge(storage.take(1), [])
    storage.append("d", backup=True)
    crashed = crash(storage, path)
    crashed.write_text(json.dumps(["a", "b", "theirs"]))
    with Storage("again", str(crashed)) as again:
        assert again.data == ["a", "b", "theirs", "c", "d"]
    (warning,) = warnings(caplog)
    assert "another program" in warning and "2 entries" in warning and "3 of the file" in warning
    assert snapshot(crashed) == ["a", "b", "theirs", "c", "d"]
    caplog.clear()
    assert loaded(crashed) == ["a", "b", "theirs", "c", "d"]
    assert warnings(caplog) == []


def test_a_list_edited_in_place_is_no_base_for_the_journal(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.merge(["a", "b"])
    storage.close()
    storage.reopen()
    storage.acknowledge(storage.take(1), [])
    crashed = crash(storage, path)
    content = crashed.read_bytes()
    assert content.startswith(b'["a", "b"]')
    crashed.write_bytes(b'["z"]' + content[10:])  # the white space stays
    assert loaded(crashed) == ["z"]


def test_a_journal_without_its_file_is_loaded(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.merge([3, 4])
    crashed = crash(storage, path)
    crashed.unlink()
    assert loaded(crashed) == [1, 2, 3, 4]  # all were added by the journal
    assert "lost or damaged" in warnings(caplog)[0]


def test_of_a_damaged_file_the_journal_is_kept(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.close()
    storage.reopen()
    storage.append(2, backup=True)
    crashed = crash(storage, path)
    crashed.write_bytes(crashed.read_bytes().replace(b"[", b"{"))
    assert loaded(crashed) == [2]
    assert crashed.with_name("s.json.bad").exists()


def test_a_scratch_in_the_white_space_costs_no_entry(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.append(3, backup=True)
    storage.acknowledge(storage.take(1), [])
    crashed = crash(storage, path)
    content = bytearray(crashed.read_bytes())
    for place in range(len(content) - 130, len(content), 7):
        crashed = crash(storage, path)
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        crashed.write_bytes(damaged)
        assert loaded(crashed)[-2:] == [2, 3]
        assert not crashed.with_name("s.json.bad").exists()


# -- damage ----------------------------------------------------------------------------------


@pytest.fixture
def left_by_a_crash(path: Path) -> Path:
    """Four backups: [1, 2], [.., 3], [.., 4], [.., 5]; the first is in the snapshot."""
    path.write_text("[1]")
    storage = Storage("s", str(path))
    for number in range(2, 6):
        storage.append(number, backup=True)
    return crash(storage, path)


def test_a_torn_end_is_cut_off_without_a_fuss(left_by_a_crash: Path, caplog: Log) -> None:
    path = left_by_a_crash
    content = journal_of(path).read_bytes()
    journal_of(path).write_bytes(content[:-4])
    assert loaded(path) == [1, 2, 3, 4]
    assert warnings(caplog) == []
    assert sorted(file.name for file in path.parent.iterdir()) == ["s.json", "s.json.lock"]


def test_damage_in_the_middle_is_kept_aside_and_named_with_counts(
    left_by_a_crash: Path, caplog: Log
) -> None:
    path = left_by_a_crash
    lines = journal_of(path).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"4", b"7")
    journal_of(path).write_bytes(b"".join(lines))
    assert loaded(path) == [1, 2, 3]
    aside = path.with_name("s.json.journal.bad")
    assert aside.read_bytes() == b"".join(lines[2:])
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    damaged, kept = warnings(caplog)
    assert "the 1 backups before the damage count" in damaged and "2 lines" in damaged
    assert str(aside) in kept
    caplog.clear()
    assert loaded(path) == [1, 2, 3]
    assert warnings(caplog) == []


def test_a_journal_of_an_unknown_format_is_set_aside(left_by_a_crash: Path, caplog: Log) -> None:
    import zlib

    path = left_by_a_crash
    payload = json.dumps({"journal": 99, "something": "else"}).encode()
    content = b"%08x %b\n" % (zlib.crc32(payload), payload)
    journal_of(path).write_bytes(content)
    assert loaded(path) == [1, 2]
    assert path.with_name("s.json.journal.bad").read_bytes() == content


@pytest.mark.parametrize("place", ["header", "middle", "end"])
def test_every_kind_of_rubbish_in_a_journal_leaves_a_prefix(
    left_by_a_crash: Path, place: str
) -> None:
    path = left_by_a_crash
    content = journal_of(path).read_bytes()
    position = {"header": 0, "middle": content.index(b"\n") + 3, "end": len(content)}[place]
    for rubbish in (b"\0" * 5000, b"\xff\xfe", b"\n\n\n", b"00000000 []\n", b"[" * 3000 + b"\n"):
        journal_of(path).write_bytes(content[:position] + rubbish + content[position:])
        assert loaded(path)[:2] == [1, 2]
        assert loaded(path) in ([1, 2], [1, 2, 3], [1, 2, 3, 4, 5])
        path.write_bytes((path.parent.parent / "s.json").read_bytes())


# -- what the system refuses -----------------------------------------------------------------


def failing(
    monkeypatch: pytest.MonkeyPatch, name: str, times: int, error: int
) -> List[Optional[int]]:
    """Let the journal's next syncs or writes fail; return the descriptors they were for."""
    import uun_iot_storage.journalfile as journalfile

    original = getattr(journalfile, name)
    descriptors: List[Optional[int]] = []

    def fail(fd: int, *args: Any) -> Any:
        if len(descriptors) < times:
            descriptors.append(fd)
            raise OSError(error, os.strerror(error))
        return original(fd, *args)

    monkeypatch.setattr(journalfile, name, fail)
    return descriptors


def test_after_a_failed_sync_a_new_snapshot_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2, backup=True)
    failing(monkeypatch, "_sync", 1, errno.EIO)
    storage.append(3, backup=True)  # the journal is given up, and nobody need know
    assert snapshot(path) == [1, 2, 3]
    assert not journal_of(path).exists()
    assert "cannot be written" in warnings(caplog)[0]
    storage.append(4, backup=True)
    assert on_disk(path) == [1, 2, 3, 4]


def test_a_disk_that_syncs_nothing_any_more_is_reported_and_the_entry_stays_pending(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2, backup=True)
    failing(monkeypatch, "_sync", 1, errno.EIO)
    with monkeypatch.context() as patch:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "fsync", fail)
        for entry in (3, 4):
            with pytest.raises(StorageError, match="stay in memory"):
                storage.append(entry, backup=True)
    assert storage.data == [1, 2, 3, 4]
    storage.append(5, backup=True)
    assert snapshot(path) == [1, 2, 3, 4, 5]


def test_a_write_cut_short_is_cut_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.append(3, backup=True)
    whole = journal_of(path).read_bytes()
    write = os.write

    def short(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, bytes(data)[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(StorageError, match="free some space"):
            storage.append("four", backup=True)
    assert journal_of(path).read_bytes() == whole
    storage.append(5, backup=True)
    assert on_disk(path) == [1, 2, 3, "four", 5]


def test_a_compaction_that_fails_does_not_fail_the_append(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    import uun_iot_storage.snapshotfile as module

    storage = Storage("s", str(path))
    storage.append(0, backup=True)
    storage.append("x" * 70_000)
    attempts = []

    class NoSpace:
        def __init__(self, *args: Any) -> None:
            if args[0] == os.path.realpath(path):  # not one of a test before, collected just now
                attempts.append(args)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "StagedFile", NoSpace)
        for number in range(20):
            storage.append(number, backup=True)
    assert len(attempts) == 1, "it is not tried with each append"
    assert "its journal grows on" in warnings(caplog)[0]
    assert on_disk(path) == storage.data
    storage.merge(["y" * 150_000])
    assert len(snapshot(path)) == len(storage)


def test_a_journal_that_someone_removed_is_noticed(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2, backup=True)
    journal_of(path).unlink()
    storage.append(3, backup=True)
    assert on_disk(path) == [1, 2, 3]


@pytest.mark.parametrize("away", ["rename", "link and unlink", "another in its place"])
def test_a_journal_that_is_not_at_its_path_any_more_is_noticed(path: Path, away: str) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    other = path.with_name("elsewhere")
    if away == "rename":
        os.rename(journal_of(path), other)
    else:
        os.link(journal_of(path), other)
        journal_of(path).unlink()
    if away == "another in its place":
        shutil.copy(other, journal_of(path))
    storage.append(2, backup=True)
    storage.append(3, backup=True)
    assert loaded(crash(storage, path)) == [1, 2, 3]


def test_a_file_in_the_place_of_the_journal_is_replaced(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.close()
    storage.reopen()
    journal_of(path).write_text("of someone else, since this was opened")
    storage.append(2, backup=True)
    assert on_disk(path) == [1, 2]


@pytest.mark.parametrize("in_place", [True, False])
def test_what_someone_wrote_into_the_open_backup_file_is_kept_aside(
    path: Path, in_place: bool, caplog: Log
) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    if in_place:
        path.write_text('["theirs"]')
    else:
        path.with_name("new").write_text('["theirs"]')
        os.replace(path.with_name("new"), path)
    storage.append(2, backup=True)
    assert on_disk(path) == [1, 2]
    assert snapshot(path.with_name("s.json.bad")) == ["theirs"]
    (warning,) = warnings(caplog)
    assert "written by another program while it was open" in warning


def test_a_backup_file_that_was_only_touched_is_no_matter(path: Path, caplog: Log) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    os.utime(path)
    storage.append(2, backup=True)
    assert on_disk(path) == [1, 2]
    assert warnings(caplog) == []


def test_after_the_lock_file_was_removed_two_processes_do_not_write_one_file(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    path.with_name("s.json.lock").unlink()
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        storage.append("theirs", backup=True)
        print("open", flush=True)
        sys.stdin.readline()
    """
    with start_python(script, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StorageError, match="another process has it open"):
            storage.append(2, backup=True)
        assert on_disk(path) == [1, "theirs"]
        process.communicate("\n", timeout=60)


# -- several storages of one process ---------------------------------------------------------


def test_a_second_storage_loads_what_is_in_the_journal_and_takes_over(path: Path) -> None:
    first = Storage("first", str(path))
    first.merge([1, 2])
    first.append(3, backup=True)
    second = Storage("second", str(path))
    assert second.data == [1, 2, 3]
    first.close()  # it has nothing new: the second one must not find the file changed
    second.append(4, backup=True)
    second.close()
    assert snapshot(path) == [1, 2, 3, 4]


def test_looking_into_a_file_does_not_disturb_the_one_that_writes(path: Path) -> None:
    first = Storage("first", str(path))
    for number in range(5):
        first.append(number, backup=True)
        with Storage("second", str(path)) as second:
            assert second.data == list(range(number + 1))
    assert on_disk(path) == list(range(5))


def test_the_last_of_several_leaves_no_journal(path: Path) -> None:
    first = Storage("first", str(path))
    first.append(1, backup=True)
    second = Storage("second", str(path))
    first.close()
    assert journal_of(path).exists()
    second.close()
    assert snapshot(path) == [1]
    assert not journal_of(path).exists()


def test_a_reopened_storage_knows_its_own_journal(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.append(3, backup=True)
    other = Storage("other", str(path))
    storage.close()
    storage.append(4)
    storage.reopen()
    assert storage.data == [1, 2, 3, 4]
    other.close()
    storage.close()
    assert snapshot(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("journal", [True, False])
def test_a_storage_reopened_after_a_failed_close_has_nothing_twice(
    path: Path, journal: bool, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    import uun_iot_storage.snapshotfile as module

    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.close()
    storage.reopen()
    storage.append(3, backup=journal)
    storage.append(4)

    class NoSpace:
        def __init__(self, *args: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "StagedFile", NoSpace)
        with pytest.raises(StorageError, match="free some space"):
            storage.close()
    storage.reopen()
    storage.append(5, backup=True)
    assert storage.data == on_disk(path) == [1, 2, 3, 4, 5]
    assert "both are kept" not in caplog.text
