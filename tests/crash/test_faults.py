"""A disk that is full, takes a part, or does not sync: what was acknowledged is safe anyhow.

The calls fail in this process; the crash states then include that of a sync that failed the
kernel may have dropped all that was written before it. Real full disks are in `test_places`.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from .checker import Checker, Record
from .disk import BRIEF, SHORT
from .faults import failing_syncs, full_disk, short_writes
from .operations import FailedSync, Operation, Sync, Write
from .twin import Twin
from .workloads import WORKLOADS, Workload, reading


def syncs_of(name: str, scratch: Path) -> int:
    """Return how many syncs a workload makes when none fails."""
    calls = 0

    def none_fails(call: int) -> bool:
        nonlocal calls
        calls += 1
        return False

    WORKLOADS[name].record(scratch, failing_syncs(none_fails))
    (scratch / "work").rename(scratch / "without faults")
    return calls


def assert_nobody_trusts_what_failed(record: Record) -> None:
    """A file whose sync failed is given up: no write to it, no sync, no rename into place."""
    failed = set()
    for operation in record.log:
        if isinstance(operation, FailedSync):
            failed.add(operation.file)
        elif isinstance(operation, (Sync, Write)):
            assert operation.file not in failed, f"{operation} after its sync has failed"


@pytest.mark.parametrize(("name", "times"), [("send", 4), ("bounded", 1)])
def test_a_sync_that_fails_loses_nothing_acknowledged(name: str, times: int, scratch: Path) -> None:
    checker = Checker(scratch)
    count = syncs_of(name, scratch)
    assert count > 5
    for first in range(3, count, 1 + count // 3):  # the first are of the opening
        faults = failing_syncs(lambda call: first <= call < first + times)  # noqa: B023
        record = WORKLOADS[name].record(scratch, faults)
        (scratch / "work").rename(scratch / f"failing {first}")
        assert_nobody_trusts_what_failed(record)
        report = checker.check(record, BRIEF)
        assert report.states
        assert not report.violations, f"syncs failing from {first} on: {report.smallest()}"


@pytest.mark.parametrize(
    "first",
    [
        0,
        1,
        2,
    ],
)
def test_a_sync_that_fails_while_it_is_opened_is_made_up_for(first: int, scratch: Path) -> None:
    faults = failing_syncs(lambda call: call == first)
    record = WORKLOADS["empty"].record(scratch, faults)
    report = Checker(scratch).check(record, SHORT)
    assert not report.violations, report.smallest()


@pytest.mark.parametrize("first", [0, 1])
def test_a_new_directory_whose_sync_fails_is_synced_later(first: int, scratch: Path) -> None:
    faults = failing_syncs(lambda call: call == first)
    record = WORKLOADS["in new directories"].record(scratch, faults)
    report = Checker(scratch).check(record, BRIEF)
    assert not report.violations, report.smallest()


@pytest.mark.long
# those two close in the middle, and a close that fails is an error: tests.storage.test_backup
@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"reopen", "second storage"}))
def test_whichever_sync_fails_nothing_acknowledged_is_lost(name: str, scratch: Path) -> None:
    checker = Checker(scratch)
    made = 2 if name == "in new directories" else 0  # of these see the test above
    for first in range(made, syncs_of(name, scratch)):
        faults = failing_syncs(lambda call: call == first)  # noqa: B023
        record = WORKLOADS[name].record(scratch, faults)
        (scratch / "work").rename(scratch / f"failing {first}")
        assert_nobody_trusts_what_failed(record)
        report = checker.check(record, BRIEF)
        assert not report.violations, f"sync {first} failing: {report.smallest()}"


def test_syncing_the_same_file_again_would_be_found(scratch: Path) -> None:
    """The test of the test: a failed sync that is simply repeated leaves violations."""
    record = WORKLOADS["send"].record(scratch)
    log: List[Operation] = []
    for operation in record.log:
        if isinstance(operation, Sync):
            log.append(FailedSync(operation.file))
        log.append(operation)
    repeated = record._replace(log=log)
    with pytest.raises(AssertionError, match="after its sync has failed"):
        assert_nobody_trusts_what_failed(repeated)
    assert Checker(scratch).check(repeated, SHORT, first_only=True).violations


@pytest.mark.parametrize(
    "length", [lambda call, size: 30, lambda call, size: size // 2, lambda call, size: size - 1],
    ids=["thirty bytes", "half", "all but one"],
)  # fmt: skip
def test_writes_that_write_a_part_only_are_gone_on_with(
    length: Callable[[int, int], int], scratch: Path
) -> None:
    record = Workload(small).record(scratch, short_writes(length))
    assert sum(isinstance(each, Write) for each in record.log) > 8
    report = Checker(scratch).check(record, BRIEF)
    assert not report.violations, report.smallest()


def small(twin: Twin) -> None:
    twin.append("a")
    twin.merge([1, 2])
    twin.send(failed=[1])


@contextmanager
def full_from(room: int, until_operation: int) -> Iterator[Callable[[Twin], None]]:
    """A disk with so much room, until somebody makes more."""
    with full_disk(None) as make_room:

        def work(twin: Twin) -> None:
            twin.append("before")
            make_room(room)
            twin.append({"n": 1, "raw": "x" * 40})
            twin.append("y", backup=False)
            if until_operation > 1:
                twin.send(failed=[0])
                twin.merge(["z", "z"], new_data=False)
            make_room(None)
            twin.append("after")
            twin.send(failed=[1])

        yield work


@pytest.mark.parametrize("until", [1, 2])
def test_a_disk_that_is_full_at_any_byte_loses_nothing_acknowledged(
    until: int, scratch: Path
) -> None:
    checker = Checker(scratch)
    for room in range(0, 400, 45):
        with full_from(room, until) as work:
            record = Workload(work).record(scratch)
        (scratch / "work").rename(scratch / f"room for {room}")
        assert record.states[-1], "in the end it is as if nothing had happened"
        report = checker.check(record, BRIEF)
        assert not report.violations, f"room for {room} bytes: {report.smallest()}"


@pytest.mark.long
def test_a_disk_that_is_full_at_each_byte_loses_nothing_acknowledged(scratch: Path) -> None:
    checker = Checker(scratch)
    for until in (1, 2):
        for room in range(0, 420, 2):
            with full_from(room, until) as work:
                record = Workload(work).record(scratch)
            (scratch / "work").rename(scratch / f"room for {room}, {until}")
            report = checker.check(record, BRIEF)
            assert not report.violations, f"room for {room} bytes: {report.smallest()}"


def test_a_full_disk_amid_a_compaction_loses_nothing_acknowledged(scratch: Path) -> None:
    for number, room in enumerate([100, 30_000]):
        with full_disk(None) as make_room:

            def work(twin: Twin) -> None:
                for n in range(5):
                    twin.append(reading(n, 12_000))
                make_room(room)  # noqa: B023
                twin.append(reading(5, 12_000))
                twin.append(reading(6, 12_000))
                make_room(None)
                twin.append("after")

            record = Workload(work).record(scratch)
        (scratch / "work").rename(scratch / f"full {number}")
        report = Checker(scratch).check(record, BRIEF)
        assert not report.violations, f"room for {room} bytes: {report.smallest()}"
