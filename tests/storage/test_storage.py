"""What the documentation says of Storage: a bounded list, shared by threads."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, List

import pytest

from uun_iot_core.clock import ManualClock
from uun_iot_storage import Storage

from .support import on_disk


def test_a_new_storage_without_a_file_is_empty() -> None:
    storage = Storage("s", None)
    assert storage.data == []
    assert storage.is_empty()
    assert len(storage) == 0


def test_appended_entries_stand_at_the_end() -> None:
    storage = Storage("s", None)
    storage.append("old")
    storage.append("new", backup=True)
    assert storage.data == ["old", "new"]
    assert not storage.is_empty()
    assert len(storage) == 2


def test_without_a_file_anything_may_be_stored() -> None:
    storage = Storage("s", None)
    thing = object()
    storage.append(thing)
    storage.merge([float("nan"), {thing: 1}])
    assert storage.data[0] is thing


def test_merge_puts_new_data_at_the_end_by_default() -> None:
    storage = Storage("s", None)
    storage.append(1)
    storage.merge([2, 3])
    assert storage.data == [1, 2, 3]


def test_merge_puts_old_data_in_front() -> None:
    storage = Storage("s", None)
    storage.append(3)
    storage.merge([1, 2], new_data=False)
    assert storage.data == [1, 2, 3]


def test_merge_copies_the_list() -> None:
    storage, given = Storage("s", None), [1]
    storage.merge(given)
    storage.append(2)
    given.append(9)
    assert storage.data == [1, 2]
    storage.merge(storage.data)
    assert storage.data == [1, 2, 1, 2]


@pytest.mark.parametrize("wrong", [None, "text", (1, 2), {"a": 1}, iter([1])])
def test_merge_takes_lists_only(wrong: Any) -> None:
    storage = Storage("s", None)
    with pytest.raises(TypeError, match="must be a list"):
        storage.merge(wrong)
    assert storage.is_empty()


def test_empty_empties_list_and_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    storage.empty()
    assert storage.is_empty()
    assert on_disk(path) == []


def test_a_full_storage_drops_the_oldest() -> None:
    storage = Storage("s", None, 3)
    for number in range(5):
        storage.append(number)
    assert storage.data == [2, 3, 4]
    storage.merge([5, 6])
    assert storage.data == [4, 5, 6]
    assert storage.dropped == 4


def test_old_data_that_do_not_fit_are_dropped() -> None:
    storage = Storage("s", None, maxlen=3)
    storage.merge([4, 5])
    storage.merge([1, 2, 3], new_data=False)
    assert storage.data == [3, 4, 5]


def test_a_limit_of_zero_is_none() -> None:
    storage = Storage("s", None, maxlen=0)
    storage.merge(list(range(1000)))
    storage.trim()
    assert len(storage) == 1000


def test_trim_keeps_the_newest() -> None:
    storage = Storage("s", None, maxlen=2)
    storage.data.extend([1, 2, 3, 4])
    storage.trim()
    assert storage.data == [3, 4]
    assert storage.dropped == 2


def test_trim_may_be_called_under_the_write_lock() -> None:
    storage = Storage("s", None, maxlen=2)
    with storage.write_lock:
        storage.data.extend([1, 2, 3, 4])
        storage.trim()
        assert storage.data == [3, 4]
    storage.append(5)
    assert storage.data == [4, 5]
    assert storage.dropped == 3


@pytest.mark.parametrize(
    ("maxlen", "error"),
    [(-1, ValueError), (True, TypeError), (1.0, TypeError), ("3", TypeError), (None, TypeError)],
)
def test_a_limit_is_a_whole_number(maxlen: Any, error: type) -> None:
    with pytest.raises(error, match="maxlen of storage `weather`"):
        Storage("weather", None, maxlen)


@pytest.mark.parametrize(("path", "error"), [("", ValueError), (3, TypeError), (b"x", TypeError)])
def test_a_backup_path_is_a_path(path: Any, error: type) -> None:
    with pytest.raises(error, match="backup_path"):
        Storage("s", path)


def test_drops_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    storage = Storage("weather", None, 1, clock=clock)

    def warnings() -> List[str]:
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    storage.merge(["secret"] * 3)
    assert len(warnings()) == 1
    assert "weather" in warnings()[0] and "dropped 2" in warnings()[0]
    for _ in range(59):
        clock.advance(1)
        storage.append("secret")
    assert len(warnings()) == 1
    clock.advance(1)
    storage.append("secret")
    assert len(warnings()) == 2
    assert "dropped 60" in warnings()[1] and "62 in all" in warnings()[1]
    assert storage.dropped == 62
    assert "secret" not in caplog.text
    assert all(record.name.startswith("uun_iot.") for record in caplog.records)


def test_data_may_be_assigned_and_is_copied() -> None:
    storage, given = Storage("s", None), [1, 2]
    with storage.write_lock:
        storage.data = given
    storage.append(3)
    assert storage.data == [1, 2, 3]
    assert given == [1, 2]
    with pytest.raises(TypeError, match="data must be a list"):
        storage.data = (1,)  # type: ignore[assignment]  # the wrong type is the test


def test_data_can_be_read_while_the_lock_is_held() -> None:
    storage = Storage("s", None)
    storage.append(1)
    with storage.write_lock:
        assert storage.data == [1]
        assert len(storage) == 1
        assert not storage.is_empty()


def test_the_way_old_code_sends_loses_nothing() -> None:
    storage = Storage("s", None)
    storage.merge([1, 2, 3])
    failed = storage.data  # a usecase that returns the very list it was given
    storage.empty()
    storage.append(4)
    storage.merge(failed, new_data=False)
    assert storage.data == [1, 2, 3, 4]


def test_threads_append_and_merge_without_losing_entries() -> None:
    storage = Storage("s", None)
    start = threading.Barrier(4)

    def work(name: int) -> None:
        start.wait()
        for number in range(500):
            if number % 2:
                storage.append((name, number))
            else:
                storage.merge([(name, number)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [n for who, n in storage.data if who == name] == list(range(500))


def test_appending_waits_for_the_write_lock() -> None:
    storage = Storage("s", None)
    done = threading.Event()

    def append() -> None:
        storage.append(2)
        done.set()

    with storage.write_lock:
        thread = threading.Thread(target=append)
        thread.start()
        assert not done.wait(0.05)
        storage.data.append(1)
    thread.join()
    assert storage.data == [1, 2]


def test_repr_tells_no_payload() -> None:
    storage = Storage("weather", None)
    storage.append("secret")
    assert repr(storage) == "<Storage 'weather': 1 entries, backup file None>"
    assert "secret" not in repr(storage.take())


def test_emptying_works_under_the_write_lock(tmp_path: Path) -> None:
    with Storage("weather", str(tmp_path / "w.json")) as storage:
        storage.merge([1, 2])
        with storage.write_lock:
            sent = list(storage.data)
            storage.empty()
        assert sent == [1, 2]
        assert storage.is_empty() and on_disk(tmp_path / "w.json") == []
        storage.append(3, backup=True)
        assert on_disk(tmp_path / "w.json") == [3]


def test_emptying_waits_for_what_another_thread_does_with_the_storage(tmp_path: Path) -> None:
    saving, go_on = threading.Event(), threading.Event()

    class Slow(Storage):
        def _Storage__backup(self, newest: Any = None) -> None:  # within append
            saving.set()
            assert go_on.wait(10)
            parent: Any = super()
            parent._Storage__backup(newest)

    with Slow("weather", str(tmp_path / "w.json")) as storage:
        adding = threading.Thread(target=storage.append, args=(1, True))
        adding.start()
        assert saving.wait(10)
        emptying = threading.Thread(target=storage.empty)
        emptying.start()
        emptying.join(0.3)  # several looks at who holds the lock
        assert len(storage) == 1
        go_on.set()
        adding.join(10)
        emptying.join(10)
        assert storage.is_empty() and on_disk(tmp_path / "w.json") == []


def test_a_derived_storage_may_have_names_of_its_own(tmp_path: Path) -> None:
    class Own(Storage):
        def __init__(self, path: str) -> None:
            super().__init__("own", path)
            self._journal = self._entries = self._bounds = self._clock = self._pid = None
            self._sent: List[Any] = []

        def _save(self) -> None:
            raise AssertionError("called by the library")

        _backup = _add = _exclusive = _check = _settle = _save

    with Own(str(tmp_path / "w.json")) as storage:
        storage.append(1, backup=True)
        storage.merge([2])
        assert on_disk(tmp_path / "w.json") == [1, 2]
        storage.acknowledge(storage.take(), [])
        assert on_disk(tmp_path / "w.json") == []
