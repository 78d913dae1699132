"""Entries that the server keeps refusing: set aside, so that they block nobody."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any, Dict, List

import pytest

from uun_iot_storage import Module, Storage

from .support import on_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


def letters(path: Path) -> List[Dict[str, Any]]:
    dead = path.with_name(path.name + ".dead")
    if not dead.exists():
        return []
    return [json.loads(line) for line in dead.read_text().splitlines()]


class Server:
    """Takes numbers, all but those that it refuses; may be unreachable, may take all or none."""

    def __init__(self, refused: List[int], whole: bool = False) -> None:
        self.refused = refused
        self.whole = whole
        self.is_there = True
        self.taken: List[int] = []
        self.calls: List[int] = []

    def __call__(self, entries: List[int]) -> List[int]:
        self.calls.append(len(entries))
        bad = [one for one in entries if one in self.refused]
        if not self.is_there or (self.whole and bad):
            return entries
        self.taken += [one for one in entries if one not in bad]
        return bad


class Sender(Module):
    id = "s"


def sender(path: Path, server: Server, attempts: int = 3) -> Sender:
    storages = {"s": {"path": str(path), "maxAttempts": attempts}}
    return Sender({"moduleBackupStorage": storages}, server)


# -- by hand ---------------------------------------------------------------------------------


def test_what_is_refused_too_often_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage("s", str(path), max_attempts=2)
    storage.merge(["bad", "good", "bad"])
    for attempt in (1, 2):
        batch = storage.take()
        storage.acknowledge(batch, ["bad", "bad"], refused=["bad"])
        assert letters(path) == [] if attempt == 1 else storage.data == ["bad"]
    (letter,) = letters(path)
    assert letter["entry"] == "bad" and letter["attempts"] == 2
    assert letter["time"].endswith("Z")
    assert on_disk(path) == storage.data == ["bad"]
    assert storage.stats().set_aside == 1
    assert storage.stats().sent == 1
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "refused 1 entries 2 times" in warning and str(path) + ".dead" in warning
    assert stat.S_IMODE(os.stat(f"{path}.dead").st_mode) == 0o600


def test_a_failure_that_is_no_refusal_counts_for_nothing(path: Path) -> None:
    storage = Storage("s", str(path), max_attempts=1)
    storage.append(1, backup=True)
    for _ in range(5):
        batch = storage.take()
        storage.acknowledge(batch, batch.entries)
        storage.acknowledge(batch, batch.entries, refused=[])
    assert storage.data == [1]


def test_by_default_nothing_is_set_aside(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.append(1, backup=True)
    for _ in range(50):
        batch = storage.take()
        storage.acknowledge(batch, batch.entries, refused=batch.entries)
    assert storage.data == [1] and letters(path) == []


def test_dead_letters_are_added_behind_a_line_that_a_crash_cut_off(path: Path) -> None:
    path.with_name("s.json.dead").write_text('{"entry": "old"}\n{"ent')
    storage = Storage("s", str(path), max_attempts=1)
    storage.append("new", backup=True)
    batch = storage.take()
    storage.acknowledge(batch, ["new"], refused=["new"])
    lines = path.with_name("s.json.dead").read_text().splitlines()
    assert lines[:2] == ['{"entry": "old"}', '{"ent']
    assert json.loads(lines[2])["entry"] == "new"


def test_what_cannot_be_set_aside_stays(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage("s", str(path), max_attempts=1)
    path.with_name("s.json.dead").mkdir()
    storage.append("bad", backup=True)
    batch = storage.take()
    storage.acknowledge(batch, ["bad"], refused=["bad"])
    assert storage.data == ["bad"] and storage.stats().set_aside == 0
    assert "cannot be set aside" in caplog.text


def test_setting_aside_needs_a_file() -> None:
    with pytest.raises(ValueError, match="max_attempts of storage `s` .* needs a file"):
        Storage("s", None, max_attempts=3)


# -- by a module -----------------------------------------------------------------------------


def test_a_bad_entry_leaves_after_some_attempts_and_the_others_are_sent(path: Path) -> None:
    server = Server(refused=[3])
    module = sender(path, server)
    for cycle in range(4):
        module._storage.merge([cycle * 10 + number for number in range(1, 5)])
        module._send_storage()
        assert (3 in module._storage.data) == (cycle < 2)
    assert [letter["entry"] for letter in letters(path)] == [3]
    assert len(server.taken) == 15


def test_a_batch_that_is_refused_as_a_whole_is_searched_for_the_bad_ones(path: Path) -> None:
    server = Server(refused=[5, 21], whole=True)
    module = sender(path, server, attempts=2)
    module._storage.merge(list(range(1, 41)))
    module._send_storage()
    assert module._storage.data == [5, 21]
    assert sorted(server.taken) == [n for n in range(1, 41) if n not in (5, 21)]
    assert len(server.calls) < 40
    module._storage.merge([41, 42])
    module._send_storage()
    assert module._storage.is_empty()
    assert [letter["entry"] for letter in letters(path)] == [5, 21]


@pytest.mark.parametrize("whole", [True, False])
def test_an_outage_sets_nothing_aside_and_costs_two_calls_more(path: Path, whole: bool) -> None:
    server = Server(refused=[], whole=whole)
    server.is_there = False
    module = sender(path, server, attempts=1)
    module._storage.merge(list(range(100)))
    for _ in range(10):
        server.calls.clear()
        module._send_storage()
        assert server.calls == [100, 1, 1]
    assert letters(path) == []
    server.is_there = True
    module._send_storage()
    assert module._storage.is_empty() and server.taken == list(range(100))


def test_an_outage_in_the_middle_of_a_batch_sets_nothing_aside(path: Path) -> None:
    server = Server(refused=[])

    def until_50(entries: List[int]) -> List[int]:
        server.taken += [one for one in entries if one < 50]
        return [one for one in entries if one >= 50]

    module = sender(path, server, attempts=1)
    module._storage.merge(list(range(100)))
    module._send_storage(until_50)
    assert letters(path) == []
    assert module._storage.data == list(range(50, 100))


def test_a_single_entry_alone_is_never_taken_for_refused(path: Path) -> None:
    server = Server(refused=[1])
    module = sender(path, server, attempts=1)
    module._storage.append(1, backup=True)
    for _ in range(5):
        module._send_storage()
    assert module._storage.data == [1]
    module._storage.append(2, backup=True)
    module._send_storage()
    assert module._storage.is_empty() and letters(path)[0]["entry"] == 1


def test_the_search_is_bounded_and_goes_on_the_next_time(path: Path) -> None:
    server = Server(refused=list(range(1, 500)), whole=True)
    module = sender(path, server, attempts=1)
    module._storage.merge(list(range(501)))
    module._send_storage()
    assert len(server.calls) <= 130
    for number in range(600, 640, 2):
        module._storage.merge([number, number + 1])
        module._send_storage()
        assert number in server.taken and number + 1 in server.taken
    assert len(letters(path)) == 499
    assert module._storage.is_empty()


def test_without_max_attempts_there_is_one_call(path: Path) -> None:
    server = Server(refused=[5], whole=True)
    module = sender(path, server, attempts=0)
    module._storage.merge(list(range(10)))
    module._send_storage()
    assert server.calls == [10]
    assert module._storage.data == list(range(10))


def test_what_the_usecase_raises_in_the_search_goes_through_and_loses_nothing(path: Path) -> None:
    calls: List[List[int]] = []

    def usecase(entries: List[int]) -> List[int]:
        calls.append(entries)
        if len(calls) == 3:
            raise RuntimeError("boom")
        return [] if len(entries) == 1 else entries

    module = sender(path, Server([]))
    module._storage.merge([1, 2, 3, 4])
    with pytest.raises(RuntimeError, match="boom"):
        module._send_storage(usecase)
    assert module._storage.data == [2, 3, 4]  # 1 was sent, alone


def test_what_the_usecase_changes_in_a_bad_entry_stays(path: Path) -> None:
    def usecase(entries: List[Any]) -> List[Any]:
        if len(entries) > 1:
            return entries
        if entries[0]["number"] == 1:
            return [{**entries[0], "tried": True}]
        return []

    module = sender(path, Server([]), attempts=5)
    module._storage.merge([{"number": 0}, {"number": 1}, {"number": 2}])
    module._send_storage(usecase)
    assert on_disk(path) == module._storage.data == [{"number": 1, "tried": True}]


def test_what_the_usecase_notes_in_entries_that_stay_is_on_the_disk(path: Path) -> None:
    def usecase(entries: List[Any]) -> List[Any]:
        for entry in entries:
            entry["seen"] = entry.get("seen", 0) + 1
        return [] if entries == [{"i": 0, "seen": 2}] else entries

    module = sender(path, Server([]), attempts=50)
    module._storage.merge([{"i": number} for number in range(300)])
    module._send_storage(usecase)
    assert on_disk(path) == module._storage.data
    assert len(module._storage) == 299
    assert module._storage.stats().failed == 299


def test_an_entry_is_set_aside_once_though_two_threads_say_so(path: Path) -> None:
    import threading

    storage = Storage("s", str(path), max_attempts=1)
    for number in range(50):
        storage.append({"bad": number}, backup=True)
        batch, barrier = storage.take(), threading.Barrier(2)

        def refuse(batch: Any = batch, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            storage.acknowledge(batch, batch.entries, refused=batch.entries)

        threads = [threading.Thread(target=refuse) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [letter["entry"]["bad"] for letter in letters(path)] == list(range(50))
    assert storage.stats().set_aside == 50
