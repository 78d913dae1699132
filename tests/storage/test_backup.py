"""The backup file: what is loaded, what is saved when, what is refused."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import stat
import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest

from uun_iot_storage import Storage, StorageError

from .support import identity, on_disk, run_python, snapshot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


def levels(caplog: pytest.LogCaptureFixture, level: int) -> List[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# -- loading -------------------------------------------------------------------------------


def test_directories_and_file_are_created(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there yet" / "s.json"
    Storage("s", str(path)).close()
    assert on_disk(path) == []


def test_a_bare_file_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("s", "bare.json")
    monkeypatch.chdir("/")  # the file stays where it was when the storage was made
    storage.append(1, backup=True)
    assert on_disk(tmp_path / "bare.json") == [1]


def test_what_is_in_the_file_is_loaded(path: Path) -> None:
    entries = [1, "ěšč", None, {"a": [True, 1.5, {"b": {}}]}, [[]]]
    path.write_text(json.dumps(entries, indent=4, ensure_ascii=False), encoding="utf-8")
    with Storage("s", str(path)) as storage:
        assert storage.data == entries


def test_nan_in_the_file_is_kept(path: Path) -> None:
    path.write_text("[NaN, Infinity, 1]")
    with Storage("s", str(path)) as storage:
        assert math.isnan(storage.data[0])
        storage.append(2, backup=True)
    with Storage("s", str(path)) as storage:
        assert math.isnan(storage.data[0])
        assert storage.data[1:] == [math.inf, 1, 2]


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "real.json", tmp_path / "link.json"
    target.parent.mkdir()
    target.write_text("[1]")
    link.symlink_to(target)
    with Storage("s", str(link)) as storage:
        storage.append(2, backup=True)
    assert link.is_symlink()
    assert on_disk(target) == [1, 2]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1, 2",
        b"[1, 2]]",
        b'{"a": 1}',
        b"null",
        b'"text"',
        b"[\xff\xfe]",
        b"\x00" * 100,
        b"[" * 200_000,
    ],
)
def test_what_is_no_json_list_is_set_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    with Storage("s", str(path)) as storage:
        assert storage.is_empty()
        storage.append(1, backup=True)
    aside = path.with_name("s.json.bad")
    assert aside.read_bytes() == content
    assert on_disk(path) == [1]
    (warning,) = levels(caplog, logging.WARNING)
    assert str(path) in warning and str(aside) in warning


def test_files_set_aside_are_never_overwritten(path: Path) -> None:
    for number in range(3):
        path.write_text(f"damaged {number}")
        Storage("s", str(path)).close()
    assert path.with_name("s.json.bad").read_text() == "damaged 0"
    assert path.with_name("s.json.bad.2").read_text() == "damaged 1"
    assert path.with_name("s.json.bad.3").read_text() == "damaged 2"


def test_a_directory_is_refused_and_stays_where_it_is(path: Path) -> None:
    path.mkdir()
    (path / "of-another.json").write_text("[1]")
    with pytest.raises(StorageError, match="it is a directory; give the path of a file"):
        Storage("s", str(path))
    assert (path / "of-another.json").read_text() == "[1]"


# Uses up the descriptors, opens a storage on a good file, lets the descriptors go, appends.
NO_DESCRIPTORS = """
import logging, os, resource, sys
from uun_iot_storage import Storage
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
storage = Storage("s", sys.argv[1])
for fd in taken:
    os.close(fd)
storage.append(4, backup=True)
print(storage.data)
"""


def test_a_file_that_was_out_of_reach_when_opened_is_read_later(path: Path) -> None:
    path.write_text("[1, 2, 3]")
    assert run_python(NO_DESCRIPTORS, str(path)) == ["[1, 2, 3, 4]"]
    assert on_disk(path) == [1, 2, 3, 4]


def test_a_device_or_pipe_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StorageError, match="a pipe or a socket"):
        Storage("s", str(path))
    assert stat.S_ISFIFO(os.stat(path).st_mode)
    assert not path.with_name("s.json.lock").exists()
    ends = os.openpty()  # a device that nobody else needs
    device = os.ttyname(ends[1])
    with pytest.raises(StorageError, match=device):
        Storage("s", device)
    for end in ends:
        os.close(end)


def test_loading_more_than_the_limit_drops_the_oldest(path: Path) -> None:
    path.write_text("[1, 2, 3, 4]")
    storage = Storage("s", str(path), maxlen=2)
    assert storage.data == [3, 4]
    assert storage.dropped == 2
    assert on_disk(path) == [1, 2, 3, 4]
    storage.append(5, backup=True)
    assert on_disk(path) == [4, 5]


def test_tuples_load_as_lists(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.append((1, (2,)), backup=True)
    assert Storage("s", str(path)).data == [[1, [2]]]


def test_an_entry_nested_as_deeply_as_may_be_is_saved_and_loaded(path: Path) -> None:
    storage = Storage("s", str(path))
    accepted = 0
    entry: Any = 0
    for depth in range(1, 2000):
        entry = [entry]
        if depth % 50:
            continue
        try:
            storage.append(entry, backup=True)
            accepted += 1
        except ValueError as exc:
            assert "nested too deeply" in str(exc)
            break
    assert 10 < accepted <= 16  # of 800 levels, whatever this Python allows

    def from_far_down(frames: int) -> List[Any]:
        if frames:
            return from_far_down(frames - 1)
        storage.append("last", backup=True)
        storage.close()
        return Storage("s", str(path)).data

    loaded = from_far_down(500)
    assert len(loaded) == accepted + 1
    assert not path.with_name("s.json.bad").exists()


# -- saving --------------------------------------------------------------------------------


def test_append_saves_only_when_asked(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1)
    assert on_disk(path) == []
    storage.append(2, backup=True)
    assert on_disk(path) == [1, 2]


def test_merge_saves_unless_told_not_to(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1], backup=False)
    assert on_disk(path) == []
    storage.merge([2])
    assert on_disk(path) == [1, 2]


def test_closing_saves_what_is_not_saved_yet(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1)
    storage.close()
    assert on_disk(path) == [1]
    storage.close()
    assert storage.data == [1]


def test_leaving_the_block_closes(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.append(1)
    assert on_disk(path) == [1]


def test_garbage_collection_closes(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1)
    del storage
    gc.collect()
    assert on_disk(path) == [1]


class Collecting(Dict[str, int]):
    """An entry that lets the garbage collection strike while it is being written."""

    written = 0

    def items(self) -> Any:
        self.written += 1
        if self.written == 2:  # the first time it is only checked
            gc.collect()
        return super().items()


def test_garbage_is_closed_also_while_the_same_file_is_being_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Storage("old", str(path))
    old.append(0)
    old.itself = old  # type: ignore[attr-defined]  # a cycle, as modules made anew leave behind
    gc.disable()
    try:
        del old
        new = Storage("new", str(path))
        entry = Collecting(a=1)
        new.append(entry)
        thread = threading.Thread(target=new.merge, args=([],), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        gc.enable()
    assert entry.written == 2
    assert on_disk(path) == [{"a": 1}]
    (error,) = levels(caplog, logging.ERROR)
    assert "not closed" in error and "another storage" in error
    new.close()
    assert on_disk(path) == [{"a": 1}]


def test_a_backup_with_nothing_new_writes_nothing(path: Path) -> None:
    path.write_text('[\n    1,\n    {"a": 2}\n]\n')
    storage = Storage("s", str(path))
    before = identity(path)
    storage.merge([])
    storage.close()
    assert identity(path) == before


def test_a_backup_file_that_was_deleted_is_written_again(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    path.unlink()
    storage.merge([])
    assert on_disk(path) == [1]


@pytest.mark.parametrize("close", [True, False])
def test_changes_by_hand_are_saved_with_the_next_backup(path: Path, close: bool) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, {"a": 1}, 3])
    with storage.write_lock:
        storage.data[1]["a"] = 2  # neither another list nor another length
        storage.data[0] = 0
    if close:
        storage.close()
    else:
        storage.merge([])
    assert on_disk(path) == [0, {"a": 2}, 3]


def test_a_change_inside_of_an_entry_is_saved_when_it_is_closed(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, {"a": 1}, 3])
    storage.data[1]["a"] = 2
    storage.close()
    assert snapshot(path) == [1, {"a": 2}, 3]


def test_a_change_in_the_middle_is_saved_when_it_is_closed(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2, 3])
    storage.data[1] = 7
    storage.close()
    assert snapshot(path) == [1, 7, 3]


def test_an_assigned_list_is_saved_with_the_next_backup(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2, 3])
    with storage.write_lock:
        storage.data = [2]
    storage.append(4, backup=True)
    assert on_disk(path) == [2, 4]


def test_the_file_keeps_its_mode(path: Path) -> None:
    path.write_text("[]")
    path.chmod(0o640)
    with Storage("s", str(path)) as storage:
        storage.append(1, backup=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_lock_file_is_private(path: Path) -> None:
    with Storage("s", str(path)):
        assert stat.S_IMODE(path.with_name("s.json.lock").stat().st_mode) == 0o600


# -- entries -------------------------------------------------------------------------------

circular: List[Any] = []
circular.append(circular)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (object(), TypeError),
        ({1, 2}, TypeError),
        (b"bytes", TypeError),
        ({(1, 2): 3}, TypeError),
        ({"deep": [{"down": object()}]}, TypeError),
        (math.nan, ValueError),
        ([math.inf], ValueError),
        ({"a": -math.inf}, ValueError),
        (circular, ValueError),
    ],
)
def test_what_is_no_json_is_refused_and_changes_nothing(
    path: Path, entry: Any, error: type
) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    before = identity(path)
    for backup in (False, True):
        with pytest.raises(error, match="cannot be stored"):
            storage.append(entry, backup=backup)
        with pytest.raises(error, match="entry 1 of 3 cannot be stored"):
            storage.merge([2, entry, 3], backup=backup)
    assert storage.data == [1]
    assert identity(path) == before


def test_an_error_tells_no_payload(path: Path) -> None:
    storage = Storage("s", str(path))
    for bad in ({"secret": math.nan}, {"secret": object()}):
        with pytest.raises((TypeError, ValueError)) as caught:
            storage.append(["secret", bad])
        assert "secret" not in str(caught.value)


def test_an_entry_is_whatever_json_takes(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append({1: "a", None: "b", False: "c"}, backup=True)
    assert on_disk(path) == [json.loads(json.dumps({1: "a", None: "b", False: "c"}))]


def test_an_entry_changed_to_no_json_is_saved_as_text_and_does_not_block_the_others(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, {"a": 1}, 3])
    with storage.write_lock:
        storage.data[1]["a"] = {"secret"}
        storage.data = storage.data  # another list, so that the change is seen at once
    storage.append(4, backup=True)
    assert on_disk(path) == [1, {"a": "{'secret'}"}, 3, 4]
    assert len(storage) == 4
    storage.append(5, backup=True)
    assert on_disk(path) == [1, {"a": "{'secret'}"}, 3, 4, 5]
    (error,) = levels(caplog, logging.ERROR)
    assert "position 1" in error and str(path) in error and "secret" not in caplog.text
    with storage.write_lock:
        storage.data[1]["a"] = 2
        storage.data = storage.data
    storage.merge([6])
    assert on_disk(path) == [1, {"a": 2}, 3, 4, 5, 6]


def test_a_sender_that_turns_entries_into_no_json_loses_none(path: Path) -> None:
    import datetime

    storage = Storage("s", str(path))
    storage.merge([{"t": "2020-01-01T00:00:00", "i": i} for i in range(3)])
    batch = storage.take()
    for entry in batch:
        entry["t"] = datetime.datetime.fromisoformat(entry["t"])
    storage.acknowledge(batch, batch.entries)
    assert on_disk(path) == [{"t": "2020-01-01 00:00:00", "i": i} for i in range(3)]
    storage.append("x" * 70_000, backup=True)  # more than the journal may hold
    storage.append(4, backup=True)
    assert [entry["i"] for entry in on_disk(path)[:3]] == [0, 1, 2]


class Moody(Dict[str, int]):
    """A dictionary of the user's own, which raises what it likes once it is stored."""

    good = True

    def items(self) -> Any:
        if not self.good:
            raise KeyError("not now")
        return super().items()


def test_an_entry_that_cannot_be_read_any_more_leaves_a_mark_and_blocks_nobody(path: Path) -> None:
    storage = Storage("s", str(path))
    entry = Moody(a=1)
    storage.append(entry)
    entry.good = False
    storage.append(2, backup=True)
    storage.close()
    assert snapshot(path) == ["<Moody that is no JSON>", 2]


# -- failures ------------------------------------------------------------------------------


def test_a_failed_backup_is_pending(tmp_path: Path) -> None:
    path = tmp_path / "directory" / "s.json"
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    os.rename(path.parent, tmp_path / "away")
    path.parent.write_text("no directory")
    with pytest.raises(StorageError) as caught:
        storage.append(2, backup=True)
    assert str(path) in str(caught.value)
    assert "stay in memory" in caught.value.problem
    assert "directory" in caught.value.remedy
    assert isinstance(caught.value.__cause__, OSError)
    assert storage.data == [1, 2]
    with pytest.raises(StorageError):
        storage.merge([3])
    path.parent.unlink()
    os.rename(tmp_path / "away", path.parent)
    assert on_disk(path) == [1]
    storage.merge([])
    assert on_disk(path) == [1, 2, 3]


def test_a_directory_that_is_gone_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "directory" / "s.json"
    storage = Storage("s", str(path))
    os.rename(path.parent, tmp_path / "away")
    storage.append(1, backup=True)
    assert on_disk(path) == [1]


def test_a_path_that_cannot_be_created_loads_and_fails_at_the_first_backup(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "s.json"
    storage = Storage("s", str(path))
    assert str(path) in levels(caplog, logging.WARNING)[0]
    assert storage.is_empty()
    storage.append(1)
    with pytest.raises(StorageError, match="s.json"):
        storage.append(2, backup=True)
    (tmp_path / "file").unlink()
    storage.append(3, backup=True)
    assert on_disk(path) == [1, 2, 3]


def test_what_came_while_the_file_could_not_be_locked_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "s.json"
    storage = Storage("s", str(path))
    (tmp_path / "file").unlink()
    path.parent.mkdir()
    path.write_text('["of another process"]')
    with pytest.raises(StorageError, match="changed since it was loaded"):
        storage.append(1, backup=True)
    with pytest.raises(StorageError, match="changed since it was loaded"):
        storage.close()
    storage.reopen()
    assert storage.data == ["of another process", 1]
    storage.close()
    assert on_disk(path) == ["of another process", 1]


# -- several storages on one file, closing, reopening --------------------------------------


def test_a_second_storage_loads_the_current_content(path: Path) -> None:
    first = Storage("first", str(path))
    first.append(1, backup=True)
    second = Storage("second", str(path))
    assert second.data == [1]


def test_the_one_that_is_behind_must_not_write(path: Path) -> None:
    first = Storage("first", str(path))
    second = Storage("second", str(path))
    second.append(2, backup=True)
    second.append(3, backup=True)
    with pytest.raises(StorageError, match="another storage of this process"):
        first.append(1, backup=True)
    assert first.data == [1]
    assert on_disk(path) == [2, 3]
    with pytest.raises(StorageError, match="another storage of this process"):
        first.close()
    first.reopen()
    assert first.data == [2, 3, 1]
    first.close()
    assert on_disk(path) == [2, 3, 1]


def test_the_one_that_is_behind_with_nothing_new_closes_quietly(path: Path) -> None:
    first = Storage("first", str(path))
    with Storage("second", str(path)) as second:
        second.append(2, backup=True)
    first.close()
    assert on_disk(path) == [2]


def test_a_backup_of_the_one_that_is_behind_is_never_taken_for_done(path: Path) -> None:
    first = Storage("first", str(path), maxlen=1)
    first.append(5, backup=True)
    second = Storage("second", str(path))
    second.empty()
    with pytest.raises(StorageError):  # though it has [5] again, as it had on the disk
        first.append(5, backup=True)


def test_a_closed_storage_can_be_read_and_not_backed_up(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.close()
    assert storage.data == [1]
    assert list(storage.take()) == [1]
    with pytest.raises(StorageError, match="closed"):
        storage.append(2, backup=True)
    with pytest.raises(StorageError, match="closed"):
        storage.merge([3])
    with pytest.raises(StorageError, match="closed"):
        storage.empty()


def test_a_closed_storage_lets_go_of_the_file(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.close()
    with Storage("other", str(path)) as other:
        other.append(1, backup=True)
    storage.close()
    assert on_disk(path) == [1]


def test_a_reopened_storage_goes_on(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.reopen()
    storage.close()
    storage.append(2)
    storage.reopen()
    assert storage.data == [1, 2]
    storage.append(3, backup=True)
    assert on_disk(path) == [1, 2, 3]


def test_a_reopened_storage_takes_over_what_others_did(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.close()
    path.write_text("[7, 8]")
    storage.reopen()
    assert storage.data == [7, 8]


def test_a_reopened_storage_keeps_its_entries_when_the_file_is_lost(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    for damage in (path.unlink, lambda: path.write_text("damaged")):
        storage.close()
        damage()
        storage.reopen()
        storage.append(3, backup=True)
        storage.data.pop()
        storage.merge([])
        assert on_disk(path) == [1, 2]


def test_a_reopened_storage_after_a_failed_close_has_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "directory" / "s.json"
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    storage.append(2)
    os.rename(path.parent, tmp_path / "away")
    path.parent.write_text("no directory")
    with pytest.raises(StorageError):
        storage.close()
    path.parent.unlink()
    os.rename(tmp_path / "away", path.parent)
    storage.reopen()
    assert storage.data == [1, 2]
    storage.close()
    assert on_disk(path) == [1, 2]


def lowest_free_descriptor() -> int:
    gc.collect()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def test_closing_many_storages_leaks_no_descriptor(path: Path) -> None:
    Storage("s", str(path)).close()
    before = lowest_free_descriptor()
    for _ in range(100):
        storage = Storage("s", str(path))
        storage.append(1, backup=True)
        storage.close()
    assert lowest_free_descriptor() == before
