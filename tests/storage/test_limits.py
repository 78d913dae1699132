"""Limits in entries and bytes, figures, group commit."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any, List

import pytest

from uun_iot_core.clock import ManualClock
from uun_iot_storage import Storage

from .support import on_disk, run_python, snapshot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


def entry(number: int) -> str:
    return f"{number:08d}"  # 12 bytes in a JSON list: with quotes, comma and space


# -- bytes -----------------------------------------------------------------------------------


def test_a_limit_in_bytes_drops_the_oldest(path: Path) -> None:
    storage = Storage("s", str(path), max_bytes=37)
    for number in range(5):
        storage.append(entry(number), backup=True)
    assert storage.data == [entry(2), entry(3), entry(4)]
    assert storage.dropped == 2
    assert on_disk(path) == storage.data
    storage.merge([entry(5), entry(6)])
    assert storage.data == [entry(4), entry(5), entry(6)]
    storage.merge([entry(0)], new_data=False)
    assert storage.data == [entry(4), entry(5), entry(6)]


def test_the_limit_holds_for_what_is_loaded(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.merge([entry(number) for number in range(10)])
    with Storage("s", str(path), max_bytes=37) as storage:
        assert storage.data == [entry(7), entry(8), entry(9)]


def test_both_limits_hold() -> None:
    storage = Storage("s", None, maxlen=2, max_bytes=37)
    storage.merge([entry(number) for number in range(4)])
    assert len(storage) == 2
    storage.merge(["x" * 20])
    assert storage.data == [entry(3), "x" * 20]


def test_an_entry_that_alone_is_too_large_is_refused_and_drops_nothing() -> None:
    storage = Storage("s", None, max_bytes=37)
    storage.merge([entry(1), entry(2)])
    with pytest.raises(ValueError, match="an entry of 54 bytes .* 37 bytes .*limitBytes"):
        storage.append("x" * 50)
    with pytest.raises(ValueError, match="limitBytes"):
        storage.merge([1, "x" * 50])
    assert storage.data == [entry(1), entry(2)]


def test_with_a_limit_in_bytes_entries_are_json_also_without_a_file() -> None:
    storage = Storage("s", None, max_bytes=37)
    with pytest.raises(TypeError, match="use what json.dumps takes"):
        storage.append({1, 2})


def test_changes_by_hand_are_measured_too(path: Path) -> None:
    storage = Storage("s", str(path), max_bytes=37)
    with storage.write_lock:
        storage.data.extend(entry(number) for number in range(9))
    storage.trim()
    assert storage.data == [entry(6), entry(7), entry(8)]
    assert storage.stats().bytes == 36


@pytest.mark.parametrize("large", [True, False], ids=["large entries", "entries of a byte"])
def test_files_stay_within_a_few_times_the_limit(path: Path, large: bool) -> None:
    limit = 100_000
    storage = Storage("s", str(path), max_bytes=limit)
    for number in range(4000):
        if large:
            storage.append({"number": number, "filler": "x" * 150}, backup=number % 10 == 0)
        else:
            storage.merge([number % 10] * 50)
        if number % 20 == 0:
            used = sum(file.stat().st_size for file in path.parent.iterdir())
            assert used <= 2 * limit + 64 * 1024 + 10_000
    assert storage.stats().bytes <= limit


@pytest.mark.parametrize("name", ["maxlen", "max_bytes", "max_attempts"])
@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_limits_are_whole_numbers(path: Path, name: str, value: Any, error: type) -> None:
    arguments: Any = {name: value}
    with pytest.raises(error, match=name):
        Storage("s", str(path), **arguments)


def test_drops_are_logged_once_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    storage = Storage("s", None, max_bytes=12, clock=clock)
    for number in range(4):
        storage.append(entry(number))
    clock.advance(61)
    storage.append(entry(4))
    first, second = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "`s` is full (limit 12 bytes): dropped 1 of" in first
    assert "dropped 3 of the oldest entries, 4 in all" in second


# -- figures ---------------------------------------------------------------------------------


def test_the_figures_of_a_storage(path: Path) -> None:
    clock = ManualClock()
    storage = Storage("s", str(path), maxlen=5, clock=clock)
    assert storage.stats().entries == storage.stats().bytes == 0
    assert storage.stats().oldest_age is None and storage.stats().autonomy_hours is None
    storage.merge([entry(number) for number in range(4)])
    clock.advance(10)
    storage.merge([entry(4), entry(5)])
    batch = storage.take(3)
    storage.acknowledge(batch, [entry(2)])
    clock.advance(5)
    found = storage.stats()
    assert (found.entries, found.bytes) == (3, 36)
    assert found.oldest_age == 15
    assert (found.appended, found.sent, found.failed) == (6, 2, 1)
    assert (found.dropped, found.set_aside) == (1, 0)
    assert found.bytes_written >= path.stat().st_size


def test_bytes_follow_all_changes(path: Path) -> None:
    storage = Storage("s", str(path), maxlen=50)
    assert storage.stats().bytes == 0
    for number in range(60):
        storage.merge([number, str(number)], new_data=number % 3 != 0)
        if number % 5 == 0:
            batch = storage.take(4)
            storage.acknowledge(batch, [*batch.entries[1:2], "changed"])
        assert storage.stats().bytes == sum(len(repr(one)) + 2 for one in storage.data)
    storage.empty()
    assert storage.stats().bytes == 0


def test_what_is_no_json_counts_as_its_text() -> None:
    storage = Storage("s", None)
    storage.merge([{1}, "four"])
    assert storage.stats().bytes == len('"{1}", ') + len('"four", ') - 2 + 2


@pytest.mark.parametrize("limits", [{"maxlen": 1000}, {"max_bytes": 12_000}])
def test_autonomy_is_the_time_until_the_limit_drops_entries(limits: Any) -> None:
    clock = ManualClock()
    storage = Storage("s", None, clock=clock, **limits)
    for number in range(100):  # one each minute, 12 bytes each
        storage.append(entry(number))
        clock.advance(60)
    hours = storage.stats().autonomy_hours
    assert hours is not None and hours == pytest.approx(900 / 60, rel=0.05)
    storage.acknowledge(storage.take(), [])
    hours = storage.stats().autonomy_hours
    assert hours is not None and hours == pytest.approx(1000 / 60, rel=0.05)


def test_autonomy_follows_the_present_rate() -> None:
    clock = ManualClock()
    storage = Storage("s", None, maxlen=100_000, clock=clock)
    rates = []
    for pause in (60.0, 1.0):
        for number in range(int(6 * 3600 / pause)):
            storage.append(number)
            clock.advance(pause)
        hours = storage.stats().autonomy_hours
        assert hours is not None
        rates.append((100_000 - len(storage)) / hours)
    assert rates == [pytest.approx(60, rel=0.05), pytest.approx(3600, rel=0.05)]


def test_without_a_limit_there_is_no_autonomy() -> None:
    storage = Storage("s", None)
    storage.merge([1, 2, 3])
    assert storage.stats().autonomy_hours is None


# -- group commit ----------------------------------------------------------------------------


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    import uun_iot_storage.journalfile as journalfile

    made: List[int] = []
    original = journalfile._sync

    def sync(fd: int) -> None:
        made.append(fd)
        original(fd)

    monkeypatch.setattr(journalfile, "_sync", sync)
    return made


def test_with_an_interval_what_comes_in_between_waits_for_the_next_sync(
    path: Path, syncs: List[int]
) -> None:
    clock = ManualClock()
    storage = Storage("s", str(path), sync_interval=10, clock=clock)
    storage.append(0, backup=True)  # makes the journal
    syncs.clear()
    for number in range(1, 6):
        storage.append(number, backup=True)
        assert on_disk(path) == storage.data  # written at once: a kill loses nothing
    assert syncs == []
    clock.advance(10)
    assert len(syncs) == 1
    clock.advance(60)
    assert len(syncs) == 1, "with nothing written there is nothing to sync"
    storage.append(6, backup=True)  # the last sync is long ago
    assert len(syncs) == 2
    storage.append(7, backup=True)
    storage.close()
    assert snapshot(path) == list(range(8))
    clock.advance(60)
    assert len(syncs) == 2


def test_a_delayed_sync_that_fails_writes_a_new_snapshot(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import uun_iot_storage.journalfile as journalfile

    clock = ManualClock()
    storage = Storage("s", str(path), sync_interval=10, clock=clock)
    storage.append(0, backup=True)
    storage.append(1, backup=True)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(journalfile, "_sync", fail)
        clock.advance(10)
    assert snapshot(path) == [0, 1]
    assert "syncing failed" in caplog.text


def test_the_delayed_sync_comes_by_itself_in_real_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uun_iot_storage.journalfile as journalfile

    synced = threading.Event()
    original = journalfile._sync

    def sync(fd: int) -> None:
        original(fd)
        if threading.current_thread() is not threading.main_thread():
            synced.set()

    monkeypatch.setattr(journalfile, "_sync", sync)
    with Storage("s", str(path), sync_interval=0.05) as storage:
        storage.append(0, backup=True)
        storage.append(1, backup=True)
        storage.append(2, backup=True)
        assert synced.wait(10)


def test_a_program_that_forgets_to_close_ends_at_once(path: Path) -> None:
    run_python(  # waits a minute at most
        """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1], sync_interval=3600)
        storage.append(0, backup=True)
        storage.append(1, backup=True)
        """,
        str(path),
    )
    assert snapshot(path) == [0, 1]
    assert not os.path.exists(f"{path}.journal")


@pytest.mark.parametrize(
    ("interval", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)]
)
def test_an_interval_is_a_number_of_seconds(path: Path, interval: Any, error: type) -> None:
    with pytest.raises(error, match="sync_interval of storage `s`"):
        Storage("s", str(path), sync_interval=interval)
