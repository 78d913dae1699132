"""`TimerStats`: how a timer fares, and the record that the scheduler keeps for it."""

# without postponed annotations, each of which a NamedTuple would compile when it is imported

import sys
import traceback
from math import inf
from typing import NamedTuple, Optional, Type

from .clock import Clock

__all__ = ["Record", "TimerStats", "stack_of"]

#: a call is warned of when it has taken longer than so many periods; each once a timer
WARN_AT = (1, 10)
#: seconds that it must have taken at least: with periods of milliseconds, the system's own
#: scheduling makes every handler overrun now and then (`TimerStats.overruns` counts that)
WARN_NOT_BEFORE = 0.05
#: unless so many calls in a row have overrun, which is no accident
WARN_AT_ROW = 10
#: a call that takes no longer than so many seconds is short
SHORT = 0.001
#: how many short calls in a row show, after a long one, that the next will be short
SHORT_CALLS = 10


class TimerStats(NamedTuple):
    """Figures of one timer, since it was made; all of one moment.

    Durations are seconds of the timer's monotonic clock, moments are wall-clock seconds
    since 1970-01-01 UTC as the clock counts them now: setting the wall clock moves them too.
    """

    name: str
    """What logs call the timer, for example ``tick weather:send``."""
    period: float
    """Seconds between two ticks."""
    running: bool
    """Whether the timer is started."""
    calls: int
    """How many calls have begun."""
    last_start: Optional[float]
    """When the last call began; None before the first."""
    running_for: Optional[float]
    """For how long the present call has run; None while there is none."""
    duration: Optional[float]
    """How long the last finished call took."""
    max_duration: float
    """How long the longest call took, also the present one."""
    lateness: Optional[float]
    """How much later than due the last call began."""
    max_lateness: float
    """How much later than due a call began at most."""
    overruns: int
    """How many calls took longer than the period, also the present one."""
    missed: int
    """How many ticks were dropped because a call still ran or the device slept."""
    failures: int
    """How many calls raised an exception."""
    last_exception: Optional[str]
    """The class of the last exception; its text is in the log, and nowhere else."""
    last_failure: Optional[float]
    """When that call had begun."""
    next_start: Optional[float] = None
    """When the next tick is due; None while the timer is not started."""


class Record:
    """What has happened to one timer; kept under the scheduler's lock."""

    __slots__ = (
        "began",
        "busy",
        "calls",
        "duration",
        "exception",
        "failed",
        "failures",
        "lateness",
        "max_duration",
        "max_lateness",
        "missed",
        "overruns",
        "row",
        "warned",
        "wary",
    )

    def __init__(self) -> None:
        self.began: Optional[float] = None
        self.busy = False
        self.calls = 0
        self.duration: Optional[float] = None
        self.max_duration = 0.0
        self.lateness: Optional[float] = None
        self.max_lateness = 0.0
        self.missed = 0  # of the starts before the present one
        self.overruns = 0
        self.row = 0  # how many calls in a row have overrun, up to the last one
        self.failures = 0
        self.exception: Optional[str] = None  # not the object, whose frames hold the module
        self.failed: Optional[float] = None
        self.warned = 0  # how many of WARN_AT have been said
        self.wary = 1  # how many more short calls show that the next one will be short

    def begin(self, due: float, now: float) -> None:
        """Note that a call begins."""
        self.began = now
        self.busy = True
        self.calls += 1
        late = self.lateness = now - due if now > due else 0.0
        if late > self.max_lateness:
            self.max_lateness = late

    def end(self, now: float, period: float, failure: Optional[Type[BaseException]]) -> bool:
        """Note that the call has ended, and what it raised; return whether it overran."""
        self.busy = False
        duration = self.duration = now - (self.began or 0.0)
        if duration > self.max_duration:
            self.max_duration = duration
        if duration > SHORT:
            self.wary = SHORT_CALLS
        elif self.wary:
            self.wary -= 1
        if failure is not None:
            self.failures += 1
            self.failed = self.began
            self.exception = failure.__name__
        if duration > period:
            self.overruns += 1
            self.row += 1
            return True
        self.row = 0
        return False

    def warn_when(self, period: float) -> float:
        """Return when the present call is to be warned of; infinity where all has been said."""
        if self.warned == len(WARN_AT):
            return inf
        least = WARN_NOT_BEFORE if self.row < WARN_AT_ROW else 0.0
        return (self.began or 0.0) + max(WARN_AT[self.warned] * period, least)

    def warning(self, name: str, period: float, now: float) -> Optional[str]:
        """Return what is to be said of the present or just ended call; each thing once."""
        warned = self.warned
        while self.warn_when(period) < now:
            self.warned += 1
        if self.warned == warned:
            return None
        reached, taken = self.warned, now - (self.began or 0.0)
        longer = "longer than" if reached == 1 else f"more than {WARN_AT[reached - 1]} times"
        return (
            f"{name} has run for {taken:.3g} s, {longer} its period of {period:.3g} s; "
            "ticks that come due meanwhile are dropped"
        )

    def stats(
        self, name: str, period: float, running: bool, missed: int, clock: Clock
    ) -> TimerStats:
        """Return the figures of this moment."""
        now = clock.monotonic()
        shift = clock.time() - now
        taken = now - (self.began or 0.0) if self.busy else None
        return TimerStats(
            name=name,
            period=period,
            running=running,
            calls=self.calls,
            last_start=None if self.began is None else self.began + shift,
            running_for=taken,
            duration=self.duration,
            max_duration=max(self.max_duration, taken or 0.0),
            lateness=self.lateness,
            max_lateness=self.max_lateness,
            overruns=self.overruns + (taken is not None and taken > period),
            missed=missed,
            failures=self.failures,
            last_exception=self.exception,
            last_failure=None if self.failed is None else self.failed + shift,
        )


def stack_of(thread: Optional[int]) -> str:
    """Return where a thread is right now, as a stack trace.

    Args:
        thread: its identity.
    """
    frame = sys._current_frames().get(thread or 0)
    return "".join(traceback.format_stack(frame)) if frame else "(ended meanwhile)"
