"""Going on from what a crash has left, and crashing again."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple

import pytest

from .checker import Checker, Record, Report
from .disk import BRIEF, LONG, SHORT, Disk, Effort
from .twin import Twin
from .workloads import WORKLOADS, append, drain, grow, merge, random_work, reopen, second, send

SECOND: List[Callable[[Twin], object]] = [append, merge, drain, send, reopen, second, grow]


class Crash(NamedTuple):
    """What is left of a workload, and what may be loaded."""

    disk: Disk
    allowed: List[List[Any]]


def crashes(record: Record, effort: Effort, count: int) -> Iterator[Crash]:
    """Yield some kills and some power cuts amid a workload, drawn with a fixed seed."""
    chance = random.Random(count)
    length = sum(1 for _ in record.moments())
    chosen = {chance.randrange(length) for _ in range(count)}
    for number, moment in enumerate(record.moments()):
        if number in chosen:
            allowed = list(moment.allowed)
            yield Crash(moment.disk.copy(), allowed)  # a kill: what is not durable, still is not
            states = list(moment.disk.states(effort))
            yield Crash(Disk(chance.choice(states)), allowed)


def crash_twice(name: str, scratch: Path, effort: Effort, count: int) -> Report:
    record, checker, report = WORKLOADS[name].record(scratch), Checker(scratch), Report()
    for number, crash in enumerate(crashes(record, effort, count)):
        work = SECOND[number % len(SECOND)] if number % 3 else random_work(number, 6)
        resumed = checker.resume(record, crash.disk, crash.allowed, work)
        report += checker.check(resumed, effort)
    return report


@pytest.mark.parametrize("name", ["append", "send", "drain", "second storage"])
def test_a_storage_that_crashes_goes_on_and_may_crash_again(name: str, scratch: Path) -> None:
    report = crash_twice(name, scratch, SHORT, 2)
    assert report.states > 50
    assert not report.violations, report.smallest()


@pytest.mark.long
@pytest.mark.parametrize("name", WORKLOADS)
def test_many_storages_that_crash_go_on_and_crash_again(name: str, scratch: Path) -> None:
    report = crash_twice(name, scratch, LONG._replace(states=100), 5)
    print(f"\n{name + ', and then another':56}{report}", end="")
    assert not report.violations, report.smallest()


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("append", lambda twin: twin.merge([])),
        ("send", lambda twin: twin.merge([])),
        ("by hand", lambda twin: twin.close()),
        ("a published file, emptied", lambda twin: twin.close()),
    ],
)
def test_what_a_killed_process_left_is_durable_once_a_backup_has_returned(
    name: str, work: Callable[[Twin], object], scratch: Path
) -> None:
    """The kernel still has it and nothing is new; but it may never have reached the disk."""
    record, checker, report = WORKLOADS[name].record(scratch), Checker(scratch), Report()
    for moment in record.moments():
        resumed = checker.resume(record, moment.disk, moment.allowed, work)
        report += checker.check(resumed, BRIEF)
    assert not report.violations, report.smallest()


def test_crashing_ten_times_in_a_row_loses_nothing(scratch: Path) -> None:
    record, checker = WORKLOADS["append"].record(scratch), Checker(scratch)
    chance = random.Random(3)
    for _ in range(10):
        crash = chance.choice(list(crashes(record, SHORT, 2)))
        work = random_work(chance.randrange(99), 3)
        record = checker.resume(record, crash.disk, crash.allowed, work)
        report = checker.check(record, SHORT)
        assert not report.violations, report.smallest()


def test_directories_that_a_killed_process_has_made_are_made_durable(scratch: Path) -> None:
    record = WORKLOADS["in new directories"].record(scratch)
    checker, report = Checker(scratch), Report()
    for moment in itertools.islice(record.moments(), 6):
        resumed = checker.resume(record, moment.disk, moment.allowed)
        report += checker.check(resumed, BRIEF)
    assert not report.violations, report.smallest()
