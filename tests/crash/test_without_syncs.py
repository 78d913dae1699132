"""The test of the test: a storage that left a sync out would be found out."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence

import pytest

from .checker import Checker, Record
from .disk import SHORT
from .operations import MakeDirectory, Operation, Rename, Sync, SyncDirectory
from .twin import Twin
from .workloads import WORKLOADS

TELLING = ["append", "empty", "send", "drain", "grow, bounded", "reopen"]


@pytest.mark.parametrize("name", TELLING)
def test_without_syncs_of_files_there_are_violations(name: str, scratch: Path) -> None:
    record = WORKLOADS[name].record(scratch)
    assert Checker(scratch).check(record, SHORT, syncs=False, first_only=True).violations


@pytest.mark.parametrize("name", [*TELLING, "in new directories"])
def test_without_syncs_of_directories_there_are_violations(name: str, scratch: Path) -> None:
    record = WORKLOADS[name].record(scratch)
    assert Checker(scratch).check(record, SHORT, directory_syncs=False, first_only=True).violations


def without(record: Record, left_out: Callable[[Operation], bool]) -> Record:
    """Return a record as if the program had not done some of its operations."""
    return record._replace(log=[each for each in record.log if not left_out(each)])


@pytest.mark.parametrize("name", ["append", "by hand"])
def test_one_missing_sync_of_a_file_is_enough(name: str, scratch: Path) -> None:
    record = WORKLOADS[name].record(scratch)
    syncs = [each for each in record.log if isinstance(each, Sync)]
    renames = [n for n, each in enumerate(record.log) if isinstance(each, Rename)]
    last = max(n for n, each in enumerate(record.log[: renames[-1]]) if isinstance(each, Sync))
    assert len(syncs) > 1
    damaged = record._replace(log=[*record.log[:last], *record.log[last + 1 :]])
    assert Checker(scratch).check(damaged, SHORT, first_only=True).violations


def test_a_new_directory_must_be_synced_in_the_one_above(scratch: Path) -> None:
    record = WORKLOADS["in new directories"].record(scratch)
    assert sum(isinstance(each, MakeDirectory) for each in record.log) == 2
    for directory in ("", "not"):
        damaged = without(record, lambda each: each == SyncDirectory(directory))  # noqa: B023
        assert Checker(scratch).check(damaged, SHORT, first_only=True).violations


def test_a_rename_before_the_sync_of_its_file_is_found(scratch: Path) -> None:
    record = WORKLOADS["append"].record(scratch)
    log = list(record.log)
    place = max(n for n, each in enumerate(log) if isinstance(each, Rename))
    before = max(n for n, each in enumerate(log[:place]) if isinstance(each, Sync))
    log.insert(place, log.pop(before))
    assert isinstance(log[place - 1], Rename) and isinstance(log[place], Sync)
    assert Checker(scratch).check(record._replace(log=log), SHORT, first_only=True).violations


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_history_that_is_off_by_one_is_found(off_by: int, scratch: Path) -> None:
    """A list of other states than those of the workload does not fit either."""
    record = WORKLOADS["append"].record(scratch)
    states: Sequence[object] = record.states
    shifted = [states[max(0, min(len(states) - 1, n + off_by))] for n in range(len(states))]
    assert Checker(scratch).check(record._replace(states=shifted), SHORT).violations  # type: ignore[arg-type]  # lists all


def test_recovering_from_a_kill_makes_durable_what_it_builds_on(scratch: Path) -> None:
    """A kill leaves what is not synced; who goes on from that and does not sync it loses it."""
    checker, record = Checker(scratch), WORKLOADS["append"].record(scratch)
    violations = 0
    for moment in record.moments():
        if moment.position % 9 == 0:
            resumed = checker.resume(record, moment.disk, moment.allowed, two_more)
            assert not checker.check(resumed, SHORT).violations
            violations += len(checker.check(resumed, SHORT, syncs=False).violations)
    assert violations


def two_more(twin: Twin) -> None:
    twin.append("one")
    twin.append("two")
