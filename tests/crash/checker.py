"""Every state of every moment, loaded: is it what the workload may expect?"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .disk import Disk, Effort, State
from .operations import Mark, Operation, summary
from .recorder import Recorder
from .twin import FILE, Twin, opened

__all__ = ["Checker", "Record", "Report", "Violation", "scratch_directory"]

_Lists = Sequence[List[Any]]


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory, in memory if the system has such a place, and remove it."""
    memory = "/dev/shm"
    within = memory if os.path.isdir(memory) and os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="uun-iot-crash-", dir=within))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


class Record(NamedTuple):
    """What a workload did, and what may be loaded after each of its operations.

    Args:
        start: the disk before.
        log: what happened to it.
        states: the lists that the marks of the log count.
        maxlen: the storage's limit.
        file: the backup file, below the root.
        keeps: bytes that must be in some file at any time: a damaged file, set aside.
    """

    start: Disk
    log: Sequence[Operation]
    states: _Lists
    maxlen: int = 0
    file: str = FILE
    keeps: bytes = b""

    @classmethod
    def of(cls, recorder: Recorder, twin: Twin, keeps: bytes = b"") -> Record:
        return cls(recorder.start, recorder.log, twin.states, twin.maxlen, twin.file, keeps)

    def moments(self, syncs: bool = True, directory_syncs: bool = True) -> Iterator[Moment]:
        """Yield each moment at which there is something new to be found.

        Args:
            syncs, directory_syncs: False leaves them out, see `Disk.apply`.
        """
        disk = self.start.copy()
        begun = returned = 0
        for position, operation in enumerate(self.log):
            disk.apply(operation, syncs, directory_syncs)
            if isinstance(operation, Mark):
                more = operation.returned > returned
                begun, returned = operation
                if not more:
                    continue  # more is allowed than at the moment before
            allowed, so_far = self.states[returned : begun + 1], self.states[: begun + 1]
            yield Moment(position, operation, disk, allowed, so_far)


class Moment(NamedTuple):
    """A place in a log.

    Args:
        position: how many operations the log has before.
        operation: the last one that was done.
        disk: as it is then; it changes when the next moment is asked for.
        allowed: what may be loaded.
        so_far: the list after each operation, up to the one that has begun.
    """

    position: int
    operation: Operation
    disk: Disk
    allowed: _Lists
    so_far: _Lists


class Violation(NamedTuple):
    """A state that loads as something else than it may."""

    moment: str
    state: State
    allowed: _Lists
    problem: str

    def describe(self) -> str:
        allowed = "\n  or ".join(f"{each!r:.300}" for each in self.allowed)
        return (
            f"after {self.moment}\nfrom\n{self.state.describe()}\n"
            f"came {self.problem}\nallowed: {allowed}"
        )


class Report:
    """Counts of what was tried, and what was wrong.

    Attributes:
        states: how many, counting each again at each moment.
        distinct: how many different ones were loaded.
        violations: what was wrong.
    """

    def __init__(self) -> None:
        self.states = 0
        self.distinct = 0
        self.violations: List[Violation] = []

    def __iadd__(self, other: Report) -> Report:
        self.states += other.states
        self.distinct += other.distinct
        self.violations += other.violations
        return self

    def __str__(self) -> str:
        return (
            f"{self.states:8} states {self.distinct:8} distinct {len(self.violations):5} violations"
        )

    def smallest(self) -> str:
        """Describe the violation that is the easiest to read."""
        if not self.violations:
            return "no violations"
        smallest = min(self.violations, key=lambda each: len(each.state.describe()))
        return f"{len(self.violations)} violations, the smallest {smallest.describe()}"


class _Outcome(NamedTuple):
    data: Optional[List[Any]]
    problem: str


class Checker:
    """Loads states in a scratch directory; each distinct one once.

    Args:
        scratch: a directory of its own.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._outcomes: Dict[Tuple[Any, ...], _Outcome] = {}
        self._made = 0

    def check(
        self,
        record: Record,
        effort: Effort,
        recoveries: int = 0,
        syncs: bool = True,
        directory_syncs: bool = True,
        first_only: bool = False,
    ) -> Report:
        """Load every state that a crash amid a workload may leave.

        Args:
            record: of the workload.
            effort: how many states.
            recoveries: crash also in the recovery from every so many-th distinct state;
                0 for none.
            syncs, directory_syncs: False leaves them out, see `Disk.apply`.
            first_only: stop at the first violation.
        """
        report = Report()
        for moment in record.moments(syncs, directory_syncs):
            for state in moment.disk.states(effort, seed=moment.position):
                report.states += 1
                key = (state.key, record.maxlen, record.file)
                outcome = self._outcomes.get(key)
                if outcome is None:
                    outcome = self._outcomes[key] = self._outcome(state, record.maxlen, record.file)
                    report.distinct += 1
                    if recoveries and report.distinct % recoveries == 0 and not outcome.problem:
                        report += self._check_recoveries(record, moment, state, effort)
                problem = self._problem(outcome, state, record, moment.allowed)
                if problem:
                    report.violations.append(
                        Violation(
                            f"operation {moment.position} of the log, {summary(moment.operation)}",
                            state,
                            moment.allowed,
                            problem,
                        )
                    )
                    if first_only:
                        return report
        return report

    def _problem(self, outcome: _Outcome, state: State, record: Record, allowed: _Lists) -> str:
        if outcome.problem:
            return outcome.problem
        if outcome.data not in allowed:
            return f"{outcome.data!r:.300}"
        if record.keeps and not any(
            content is not None and record.keeps in content.data for content in state.files.values()
        ):
            return "the loss of a file that was set aside"
        return ""

    # -- loading ----------------------------------------------------------------------------

    def loads(self, state: State, maxlen: int = 0) -> List[Any]:
        """Load a state, see that it can be gone on from, and return what was loaded."""
        outcome = self._outcome(state, maxlen, FILE)
        assert not outcome.problem and outcome.data is not None, outcome.problem
        return outcome.data

    def _directory(self, state: Optional[State] = None) -> Path:
        self._made += 1
        directory = self._scratch / str(self._made)
        directory.mkdir()
        if state is not None:
            state.materialise(directory)
        return directory

    def _outcome(self, state: State, maxlen: int, file: str) -> _Outcome:
        """Load a state; add an entry, and load that; close, and load again."""
        made, data = [self._directory(state)], None
        logging.disable(logging.CRITICAL)
        try:
            storage = opened(made[0], maxlen, file)
            data = list(storage.data)
            storage.append("afterwards", backup=True)
            made.append(self._directory())
            shutil.copytree(made[0], made[1], dirs_exist_ok=True)
            more = [*data, "afterwards"][-maxlen:]
            for directory, close in ((made[1], False), (made[0], True)):
                if close:
                    storage.close()
                with opened(directory, maxlen, file) as again:
                    if again.data != more:
                        where = "it was closed" if close else "an entry was added"
                        return _Outcome(data, f"{again.data!r:.300} after {where} to {data!r:.300}")
            return _Outcome(data, "")
        except Exception as exc:
            return _Outcome(data, f"{exc!r:.300}, having loaded {data!r:.300}")
        finally:
            logging.disable(logging.NOTSET)
            for directory in made:
                shutil.rmtree(directory)

    # -- crashes after crashes --------------------------------------------------------------

    def _check_recoveries(
        self, record: Record, moment: Moment, state: State, effort: Effort
    ) -> Report:
        """Recover from a power cut and from a kill at a moment, and crash in that."""
        report = Report()
        loaded = self._outcomes[state.key, record.maxlen, record.file].data
        assert loaded is not None
        for disk, lists in ((Disk(state), [loaded]), (moment.disk, moment.allowed)):
            report += self.check(self.resume(record, disk, lists), effort)
        return report

    def resume(
        self,
        record: Record,
        disk: Disk,
        states: _Lists,
        work: Callable[[Twin], object] = lambda twin: twin.append("recovered"),
        **options: Any,
    ) -> Record:
        """Go on with another workload from a disk that a crash has left.

        Args:
            record: of the workload that crashed.
            disk: as it was then; what is not durable, still is not.
            states: what may be loaded from it.
            work: the other workload.
            options: of the storage.
        """
        directory = self._directory(disk.kept())
        logging.disable(logging.CRITICAL)
        try:
            with Recorder(directory, disk) as recorder:
                twin = Twin(recorder, states, record.maxlen, record.file, **options)
                work(twin)
            resumed = Record.of(recorder, twin, record.keeps)
            twin.storage.close()
            return resumed
        finally:
            logging.disable(logging.NOTSET)
            shutil.rmtree(directory)
