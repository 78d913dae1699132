"""A journal that is cut anywhere, or damaged anywhere, leaves a prefix and never an error."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import pytest

from .checker import Checker
from .disk import Content, State
from .recorder import Recorder
from .twin import FILE, Twin, opened
from .workloads import bounded, reading, send

JOURNAL = FILE + ".journal"


class Left(NamedTuple):
    """What a killed process has left.

    Args:
        snapshot: the backup file.
        journal: beside it.
        states: the list after each of the journal's lines; first that of the snapshot.
        maxlen: the storage's limit.
    """

    snapshot: bytes
    journal: bytes
    states: List[List[Any]]
    maxlen: int


def left_by(directory: Path, name: str) -> Left:
    """Do some work, and be killed after it."""
    directory.mkdir()
    maxlen = 4 if name == "bounded" else 0
    logging.disable(logging.WARNING)
    try:
        with Recorder(directory) as recorder:
            twin = Twin(recorder, maxlen=maxlen)
            if name == "on a snapshot":
                twin.merge([reading(n) for n in range(3)])
                twin.close()
                twin.reopen()
            begin = len(twin.states) - 1
            twin.append(reading(100))
            {"bounded": bounded, "send": send}.get(name, small_append)(twin)
        files = recorder.replay().kept().files
        snapshot, journal = files[FILE], files[JOURNAL]
        twin.storage.close()
    finally:
        logging.disable(logging.NOTSET)
    assert snapshot is not None and journal is not None
    states = [twin.states[begin]]
    for state in twin.states[begin + 1 :]:  # what changes nothing writes nothing
        if state != states[-1]:
            states.append(state)
    assert journal.data.count(b"\n") == len(states), "a header, and a line each backup"
    return Left(snapshot.data, journal.data, states, maxlen)


def small_append(twin: Twin) -> None:
    for entry in ("a", [1.5, None], {"ě": "š"}, ""):
        twin.append(entry)
    twin.send(failed=[1])


@pytest.fixture(scope="module", params=["send", "bounded", "on a snapshot"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Left:
    return left_by(tmp_path_factory.mktemp("work") / "work", request.param)


class Loader:
    """Loads a backup file with a journal, in a scratch directory."""

    def __init__(self, scratch: Path, left: Left) -> None:
        self._scratch = scratch
        self._left = left
        self._made = 0
        self.bad: Dict[str, bytes] = {}

    def load(self, journal: Optional[bytes], snapshot: Optional[bytes] = None) -> List[Any]:
        """Return what is loaded, having gone on from it; ``bad`` holds what was set aside."""
        self._made += 1
        directory = self._scratch / str(self._made)
        directory.mkdir()
        path = directory / FILE
        path.write_bytes(self._left.snapshot if snapshot is None else snapshot)
        if journal is not None:
            path.with_name(JOURNAL).write_bytes(journal)
        storage = opened(directory, self._left.maxlen)
        loaded = list(storage.data)
        storage.append("afterwards", backup=True)
        storage.close()
        self.bad = {each.name: each.read_bytes() for each in directory.glob("*.bad*")}
        with opened(directory, self._left.maxlen) as again:
            assert again.data == [*loaded, "afterwards"][-self._left.maxlen :]
        return loaded


@pytest.fixture
def loader(scratch: Path, left: Left) -> Iterator[Loader]:
    logging.disable(logging.CRITICAL)
    yield Loader(scratch, left)
    logging.disable(logging.NOTSET)


def test_a_journal_cut_at_any_byte_loads_all_backups_before(left: Left, loader: Loader) -> None:
    for size in range(len(left.journal) + 1):
        cut = left.journal[:size]
        whole = max(0, cut.count(b"\n") - 1)
        allowed = left.states[whole : whole + 2]  # the next may be whole but for its line break
        if cut.endswith(b"\n") or not cut:
            allowed = allowed[:1]
        assert loader.load(cut) in allowed, f"cut after {size} bytes: {cut!r}"
        assert not loader.bad, f"cut after {size} bytes: a torn write is no damage"


def test_a_journal_that_ends_in_zeros_loads_all_backups_before(left: Left, loader: Loader) -> None:
    for size in range(0, len(left.journal), 9):
        cut = left.journal[:size]
        whole = max(0, cut.count(b"\n") - 1)
        loaded = loader.load(cut.ljust(len(left.journal), b"\0"))
        assert loaded in left.states[whole : whole + 2], f"zeros after {size} bytes: {cut!r}"


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param(1, id="one bit"),
        pytest.param(8, marks=pytest.mark.long, id="each bit"),
    ],
)
def test_a_bit_flipped_anywhere_in_the_journal_loads_all_backups_before(
    left: Left, loader: Loader, bits: int
) -> None:
    journal = left.journal
    lines = journal.splitlines(keepends=True)
    begins = [sum(map(len, lines[:n])) for n in range(len(lines))]
    for place in range(len(journal)):
        damaged_line = max(n for n, begin in enumerate(begins) if begin <= place)
        for bit in range(8) if bits == 8 else [place % 8]:
            damaged = bytearray(journal)
            damaged[place] ^= 1 << bit
            loaded = loader.load(bytes(damaged))
            expected = left.states[max(0, damaged_line - 1)]
            assert loaded == expected, f"bit {bit} of byte {place} flipped: {bytes(damaged)!r}"
            if damaged_line + 1 < len(lines):
                # what comes after is not lost, though it does not count
                rest = b"".join(lines[damaged_line + 1 :])
                assert any(rest in content for content in loader.bad.values()), f"byte {place}"


def test_a_block_of_the_journal_that_is_zero_loads_all_backups_before(
    left: Left, loader: Loader
) -> None:
    for place in range(0, len(left.journal) - 40, 7):
        damaged = left.journal[:place] + bytes(40) + left.journal[place + 40 :]
        whole = max(0, left.journal[:place].count(b"\n") - 1)
        assert loader.load(damaged) == left.states[whole], f"zeros at {place}"


def test_lines_in_another_order_or_twice_do_not_count(left: Left, loader: Loader) -> None:
    header, *lines = left.journal.splitlines(keepends=True)
    for n in range(len(lines) - 1):
        begin = header + b"".join(lines[:n])
        for wrong in (
            [lines[n + 1], lines[n], *lines[n + 2 :]],
            [*lines[n + 1 :]],
        ):
            assert loader.load(begin + b"".join(wrong)) == left.states[n]
        assert loader.load(begin + lines[n] + lines[n]) == left.states[n + 1]
    assert loader.load(header + header + b"".join(lines)) == left.states[0]


def test_damage_of_the_snapshot_is_no_error_and_loses_no_byte(left: Left, loader: Loader) -> None:
    """What a damaged snapshot held cannot be told; what its journal added, can."""
    added = [entry for entry in left.states[-1] if entry not in left.states[0]]
    white_space = left.snapshot.index(b"\n")  # behind the list; a scratch there is no loss
    for place in range(len(left.snapshot)):
        damaged = bytearray(left.snapshot)
        damaged[place] ^= 1 << place % 8
        for snapshot in (bytes(damaged), left.snapshot[:place]):
            loaded = loader.load(left.journal, snapshot)
            assert all(entry in loaded for entry in added), f"at byte {place}"
            if place < white_space and not is_json_list(snapshot):
                assert snapshot in loader.bad.values(), f"at byte {place}"


def is_json_list(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), list)
    except ValueError:
        return False


def test_a_missing_journal_or_snapshot_is_no_error(
    left: Left, loader: Loader, scratch: Path
) -> None:
    assert loader.load(None) == left.states[0]
    checker = Checker(scratch / "states")
    (scratch / "states").mkdir()
    added = [entry for entry in left.states[-1] if entry not in left.states[0]]
    only = State({JOURNAL: Content(left.journal)})
    assert checker.loads(only, left.maxlen) == added
