"""Weaker and further promises: syncs at intervals, and entries that were set aside."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from uun_iot_core.clock import ManualClock

from .checker import Checker, Record
from .disk import BRIEF, State
from .faults import failing_syncs
from .recorder import Recorder
from .twin import FILE, Twin

# -- syncInterval --------------------------------------------------------------------------


@pytest.fixture
def at_intervals(scratch: Path) -> Record:
    clock = ManualClock()
    (scratch / "work").mkdir()
    with Recorder(scratch / "work") as recorder:
        twin = Twin(recorder, sync_interval=10.0, clock=clock)
        for number in range(3):
            for more in range(3):
                twin.append([number, more])
                clock.advance(2.0)
            twin.send(failed=[1, 2])
            clock.advance(5.0)
            twin.merge(["front"], new_data=False)
            clock.advance(15.0)
        twin.append("last")
    record = Record.of(recorder, twin)
    twin.storage.close()
    return record


def test_with_syncs_at_intervals_a_kill_loses_nothing(at_intervals: Record, scratch: Path) -> None:
    checker, unsynced = Checker(scratch), 0
    for moment in at_intervals.moments():
        assert checker.loads(moment.disk.kept()) in moment.allowed
        unsynced += len(moment.disk.kept().files) > 0 and len(list(moment.disk.states(BRIEF))) > 1
    assert unsynced > 10, "nothing was left unsynced; the test tells nothing"


def test_with_syncs_at_intervals_a_power_cut_leaves_what_was_there_at_the_last_one_or_later(
    at_intervals: Record, scratch: Path
) -> None:
    checker, synced, lost = Checker(scratch), 0, 0
    for moment in at_intervals.moments():
        states = list(moment.disk.states(BRIEF))
        for state in states:
            loaded = checker.loads(state)
            assert loaded in moment.so_far[synced:]
            lost += loaded not in moment.allowed
        if len(states) == 1:
            synced = len(moment.so_far) - len(moment.allowed)
    assert lost, "nothing was left unsynced; the test tells nothing"


# -- dead letters --------------------------------------------------------------------------

REFUSED = [{"bad": number} for number in range(4)]


def set_aside(twin: Twin) -> None:
    twin.merge(["good", REFUSED[0], REFUSED[1]])
    twin.refuse([1, 2])
    twin.append("between")
    twin.merge([REFUSED[2]])
    twin.refuse([1])


def one_more(twin: Twin) -> None:
    twin.append(REFUSED[3])
    twin.refuse([n for n, entry in enumerate(twin.list) if entry in REFUSED])


def dead_letters(state: State) -> List[Any]:
    content = state.files.get(f"{FILE}.dead")
    entries = []
    for line in content.data.split(b"\n") if content else []:
        try:
            entries.append(json.loads(line)["entry"])
        except ValueError:
            pass  # torn: what it says is still in the storage
    return entries


def losses(record: Record, checker: Checker) -> Iterator[str]:
    """Yield what of the refused entries is neither stored nor set aside any more."""
    for moment in record.moments():
        acknowledged = moment.so_far[: len(moment.so_far) - len(moment.allowed) + 1]
        known = [each for each in REFUSED if any(each in entries for entries in acknowledged)]
        for state in moment.disk.states(BRIEF):
            found = checker.loads(state) + dead_letters(state)
            for entry in known:
                if entry not in found:
                    yield f"{entry} is lost after {moment.operation} from\n{state.describe()}"


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
def test_what_the_server_refuses_is_stored_or_set_aside_at_any_moment(scratch: Path) -> None:
    (scratch / "work").mkdir()
    with Recorder(scratch / "work") as recorder:
        twin = Twin(recorder, max_attempts=1)
        set_aside(twin)
    record = Record.of(recorder, twin)
    twin.storage.close()
    assert list(losses(record, Checker(scratch))) == []


@pytest.mark.usefixtures("quiet")
def test_it_stays_so_when_a_killed_process_has_begun_the_file(scratch: Path) -> None:
    (scratch / "work").mkdir()
    with Recorder(scratch / "work") as recorder:
        twin = Twin(recorder, max_attempts=1)
        set_aside(twin)
    record, checker = Record.of(recorder, twin), Checker(scratch)
    twin.storage.close()
    for number, moment in enumerate(record.moments()):
        if number % 5:
            continue
        resumed = checker.resume(record, moment.disk, moment.allowed, one_more, max_attempts=1)
        assert list(losses(resumed, checker)) == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("failing", [1, 2, 3, 5])
def test_it_stays_so_when_a_sync_fails(failing: int, scratch: Path) -> None:
    (scratch / "work").mkdir()
    with failing_syncs(lambda call: call == 3 + failing), Recorder(scratch / "work") as recorder:
        twin = Twin(recorder, max_attempts=1)
        twin.merge(["good", REFUSED[0]])
        refuse_as_long_as_it_takes(twin)
        twin.merge([REFUSED[1], "between"])
        refuse_as_long_as_it_takes(twin)
    assert list(losses(Record.of(recorder, twin), Checker(scratch))) == []
    twin.storage.close()


def refuse_as_long_as_it_takes(twin: Twin) -> None:
    """What could not be set aside stays, and is offered again."""
    for _ in range(3):
        batch = twin.storage.take()
        failed = [entry for entry in batch if entry in REFUSED]
        twin.storage.acknowledge(batch, failed, refused=failed)
    twin.list = []
    twin.merge([])
