"""Taking entries for sending and acknowledging them: exactly what was sent leaves."""

from __future__ import annotations

import copy
import logging
import math
import os
import threading
from pathlib import Path
from typing import Any, List

import pytest

from uun_iot_storage import Batch, Storage

from .support import identity, on_disk


@pytest.fixture
def storage() -> Storage:
    storage = Storage("s", None)
    storage.merge([1, 2, 3, 4])
    return storage


def test_taken_entries_stay_until_they_are_acknowledged(storage: Storage) -> None:
    batch = storage.take()
    assert isinstance(batch, Batch)
    assert list(batch) == batch.entries == [1, 2, 3, 4]
    assert len(batch) == 4
    assert storage.data == [1, 2, 3, 4]
    storage.acknowledge(batch, [])
    assert storage.is_empty()


def test_what_failed_stays_in_front_in_order(storage: Storage) -> None:
    batch = storage.take()
    storage.append(5)
    storage.acknowledge(batch, [4, 2])
    assert storage.data == [2, 4, 5]


def test_a_batch_has_a_limit(storage: Storage) -> None:
    batch = storage.take(3)
    assert batch.entries == [1, 2, 3]
    storage.acknowledge(batch, [2])
    assert storage.data == [2, 4]
    assert storage.take(limit=100).entries == [2, 4]


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)]
)
def test_a_limit_of_a_batch_is_a_whole_number(storage: Storage, limit: Any, error: type) -> None:
    with pytest.raises(error, match="limit must be"):
        storage.take(limit)


def test_changing_the_list_of_a_batch_changes_nothing(storage: Storage) -> None:
    batch = storage.take()
    batch.entries.clear()
    assert len(batch.entries) == len(storage) == 4


@pytest.mark.parametrize("failed", [None, (1,), "1", {1: 1}, iter([1])])
def test_failed_must_be_a_list(storage: Storage, failed: Any) -> None:
    with pytest.raises(TypeError, match="failed must be a list"):
        storage.acknowledge(storage.take(), failed)
    assert storage.data == [1, 2, 3, 4]


def test_a_batch_belongs_to_its_storage(storage: Storage) -> None:
    other = Storage("other", None)
    other.append(1)
    with pytest.raises(ValueError, match="not taken from storage `s`"):
        storage.acknowledge(other.take(), [])
    with pytest.raises(TypeError, match=r"take\(\)"):
        storage.acknowledge([1], [])  # type: ignore[arg-type]  # the wrong type is the test
    assert storage.data == [1, 2, 3, 4]


def test_failed_entries_are_matched_by_identity_first() -> None:
    storage = Storage("s", None)
    twins = [{"a": 1}, {"a": 1}, {"a": 1}]
    storage.merge(twins)
    storage.acknowledge(storage.take(), [twins[1]])
    assert len(storage) == 1
    assert storage.data[0] is twins[1]


def test_failed_entries_are_matched_by_equality_then_left_to_right() -> None:
    storage = Storage("s", None)
    twins = [{"a": [1]}, {"b": 2}, {"a": [1]}]
    storage.merge(twins)
    storage.acknowledge(storage.take(), [{"a": [1.0]}])
    assert len(storage) == 1
    assert storage.data[0] is twins[0]


def test_each_failed_entry_stands_for_one(storage: Storage) -> None:
    storage.merge([1, 1])
    storage.acknowledge(storage.take(), [1, 1])
    assert storage.data == [1, 1]


def test_what_matches_nothing_goes_in_front(storage: Storage) -> None:
    batch = storage.take()
    storage.append(5)
    storage.acknowledge(batch, [3, "changed", 1, 1])
    assert storage.data == ["changed", 1, 1, 3, 5]


def test_entries_without_usable_equality_are_matched_by_identity() -> None:
    class Array:
        __hash__ = None  # type: ignore[assignment]  # as arrays are

        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

    storage, arrays = Storage("s", None), [Array(), Array()]
    storage.merge(list(arrays))
    storage.acknowledge(storage.take(), [arrays[1]])
    assert len(storage) == 1 and storage.data[0] is arrays[1]
    fresh = Array()
    storage.acknowledge(storage.take(), [fresh])
    assert len(storage) == 1 and storage.data[0] is fresh


def test_what_was_appended_meanwhile_stays(storage: Storage) -> None:
    batch = storage.take()
    storage.merge([5, 6])
    storage.acknowledge(batch, [])
    assert storage.data == [5, 6]


def test_what_was_merged_in_front_meanwhile_stays(storage: Storage) -> None:
    batch = storage.take()
    storage.merge([0, 1], new_data=False)
    storage.acknowledge(batch, [3])
    assert storage.data == [0, 1, 3]


def test_an_equal_entry_appended_meanwhile_stays() -> None:
    storage = Storage("s", None, maxlen=1)
    storage.append(5)
    batch = storage.take()
    storage.append(5)  # the first one is dropped; the number 5 is one object
    storage.acknowledge(batch, [])
    assert storage.data == [5]


def test_what_the_limit_dropped_meanwhile_does_not_come_back() -> None:
    storage = Storage("s", None, maxlen=3)
    storage.merge([1, 2, 3])
    batch = storage.take()
    storage.append(4)
    storage.acknowledge(batch, [1, 3])
    assert storage.data == [3, 4]


def test_what_was_emptied_meanwhile_does_not_come_back(storage: Storage) -> None:
    batch = storage.take()
    storage.empty()
    storage.append(1)
    storage.acknowledge(batch, [1, 2])
    assert storage.data == [1]


def test_two_batches_of_the_same_entries(storage: Storage) -> None:
    first, second = storage.take(3), storage.take()
    storage.acknowledge(first, [2])
    storage.acknowledge(second, [1, 2])
    assert storage.data == [2]
    storage.acknowledge(second, [])
    assert storage.is_empty()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda data: data.append(5), [2, 5]),
        (lambda data: data.insert(0, 0), [0, 2]),
        (lambda data: data.pop(0), [2]),
        (lambda data: data.__setitem__(0, "new"), ["new", 2]),
        (lambda data: data.__setitem__(2, "new"), [2, "new"]),
        (lambda data: data.__setitem__(slice(None), ["new", 4, 3]), ["new"]),
        (lambda data: data.reverse(), [2]),
        (lambda data: data.clear(), []),
    ],
)
def test_changes_by_hand_meanwhile_are_respected(
    storage: Storage, change: Any, left: List[Any]
) -> None:
    batch = storage.take()
    with storage.write_lock:
        change(storage.data)
    storage.acknowledge(batch, [2])
    assert storage.data == left


def test_the_reader_of_the_list_is_not_disturbed(storage: Storage) -> None:
    batch = storage.take()
    reader = iter(storage.data)
    assert next(reader) == 1
    storage.acknowledge(batch, [])
    assert list(reader) == [2, 3, 4]


def test_ten_thousand_copies_are_matched_quickly() -> None:
    storage = Storage("s", None)
    storage.merge([{"number": number, "values": [1, 2]} for number in range(10_000)])
    batch = storage.take()
    failed = copy.deepcopy(batch.entries[::2])
    for entry in failed[::2]:
        entry["attempts"] = 1
    done = threading.Event()

    def acknowledge() -> None:
        storage.acknowledge(batch, failed)
        done.set()

    threading.Thread(target=acknowledge, daemon=True).start()
    assert done.wait(20)  # comparing each with each takes far longer
    assert len(storage) == 5000
    assert storage.data[0] == {"number": 0, "values": [1, 2], "attempts": 1}
    assert storage.data[2500] == {"number": 2, "values": [1, 2]}


# -- with a backup file --------------------------------------------------------------------


def test_what_was_sent_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, 2, 3])
    storage.acknowledge(storage.take(), [2])
    assert on_disk(path) == [2]


def test_an_outage_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, {"a": 2}, 3])
    before = identity(path)
    for _ in range(3):
        batch = storage.take()
        storage.acknowledge(batch, copy.deepcopy(batch.entries))
    assert identity(path) == before


def test_what_was_not_sent_is_on_the_disk_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.append(1)
    assert on_disk(path) == []
    batch = storage.take()
    storage.acknowledge(batch, batch.entries)
    assert on_disk(path) == [1]


def test_acknowledging_never_fails_because_of_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "directory" / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    batch = storage.take()
    os.rename(path.parent, tmp_path / "away")
    path.parent.write_text("no directory")
    storage.acknowledge(batch, [2])
    assert storage.data == [2]
    (error,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "storage `s`" in error and str(path) in error
    path.parent.unlink()
    os.rename(tmp_path / "away", path.parent)
    assert on_disk(path) == [1, 2]
    storage.merge([])
    assert on_disk(path) == [2]


def test_acknowledging_a_closed_storage_does_not_fail(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    batch = storage.take()
    storage.close()
    storage.acknowledge(batch, [2])
    storage.reopen()
    storage.close()
    assert on_disk(path) == [2]


def test_a_changed_entry_must_be_json(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    storage.merge([1, 2])
    with pytest.raises(TypeError, match="cannot be stored"):
        storage.acknowledge(storage.take(), [object()])
    assert storage.data == on_disk(path) == [1, 2]


def test_nan_from_the_file_does_not_block_sending(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("[[NaN], 2]")
    storage = Storage("s", str(path))
    batch = storage.take()
    storage.acknowledge(batch, [[float("nan")]])
    assert len(storage) == 1 and math.isnan(storage.data[0][0])
    assert path.read_text().strip() == "[[NaN]]"


def test_threads_append_while_others_send(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    storage = Storage("s", str(path))
    delivered: List[int] = []
    producing = threading.Event()
    producing.set()

    def produce(name: int) -> None:
        for number in range(150):
            storage.append(name * 1000 + number, backup=number % 3 == 0)

    def send() -> None:
        turn = 0
        while producing.is_set() or not storage.is_empty():
            batch = storage.take(20)
            turn += 1
            failed = [entry for entry in batch if (entry + turn) % 3 == 0]
            delivered.extend(entry for entry in batch if entry not in failed)
            storage.acknowledge(batch, failed)

    producers = [threading.Thread(target=produce, args=(name,)) for name in range(3)]
    sender = threading.Thread(target=send)
    for thread in (*producers, sender):
        thread.start()
    for thread in producers:
        thread.join()
    producing.clear()
    sender.join()
    assert sorted(delivered) == [n * 1000 + i for n in range(3) for i in range(150)]
    assert on_disk(path) == []


def test_changed_copies_do_not_count_as_sent(storage: Storage) -> None:
    batch = storage.take()
    storage.acknowledge(batch, [{"changed": entry} for entry in batch])
    assert storage.stats().sent == 0
    assert storage.stats().failed == 4
    batch = storage.take()
    storage.acknowledge(batch, [{"changed": 1}, "again"])
    assert storage.stats().sent == 2


def test_entries_that_came_in_meanwhile_are_not_doubled_when_they_are_returned() -> None:
    storage = Storage("s", None)
    storage.merge([{"number": 1}, {"number": 2}])
    batch = storage.take()
    storage.append({"number": 3})
    storage.acknowledge(batch, storage.data)
    assert [entry["number"] for entry in storage.data] == [1, 2, 3]


class Unhashable:
    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def test_entries_with_a_strange_hash_are_compared_one_by_one() -> None:
    storage = Storage("s", None)
    storage.merge([Unhashable(), 2])
    batch = storage.take()
    storage.acknowledge(batch, [Unhashable()])
    assert len(storage) == 1


def test_a_storage_without_a_file_remembers_nothing_of_what_left() -> None:
    storage = Storage("s", None)
    for _ in range(500):
        with storage.write_lock:
            storage.data.extend([1, 2, 3])
        storage.acknowledge(storage.take(), [2])
        storage.acknowledge(storage.take(), [])
    assert len(vars(storage)["_Storage__entries"].unsaved.removals) < 100
