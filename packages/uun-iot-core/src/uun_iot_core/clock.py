"""Clocks: what timers, token life, back-offs and statistics read the time from."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING, Optional

from .forks import watch_forks

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["Clock", "ManualClock", "SYSTEM_CLOCK"]


class Clock:
    """The system's clock: monotonic time for durations, wall time for dates.

    Pass one to a `Gateway`, a `RepeatTimer` or a client as ``clock=``. A subclass may read
    another source (``CLOCK_BOOTTIME``, say) by overriding `monotonic`.
    """

    #: set by the scheduler of this clock, which is made when the first timer needs it
    _scheduler: Optional["Scheduler"] = None

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never set back."""
        return time.monotonic()

    def time(self) -> float:
        """Return wall-clock seconds since 1970-01-01 UTC; may jump either way."""
        return time.time()


class ManualClock(Clock):
    """A clock that stands still until it is told to advance; for tests.

    Timers on it have no threads: their handlers run inside `advance`, one after another in
    the order in which they are due. A handler that calls `advance` itself takes that long.

    >>> clock = ManualClock()
    >>> clock.advance(2.5)
    >>> clock.monotonic()
    2.5

    Args:
        wall: wall-clock seconds since 1970-01-01 UTC at the start.
    """

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._wall_offset = wall
        self._turn = threading.RLock()
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread that is no more may be in `advance`."""
        self._turn = threading.RLock()

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._now

    def time(self) -> float:
        """Return the wall clock's seconds since 1970-01-01 UTC."""
        return self._wall_offset + self._now

    def set_time(self, wall: float) -> None:
        """Set the wall clock, as a user or NTP would; monotonic time goes on as it was.

        Args:
            wall: seconds since 1970-01-01 UTC.
        """
        self._wall_offset = wall - self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; return when the handlers that came due have ended.

        Args:
            seconds: how far; 0 runs what is due right now.

        Raises:
            ValueError: ``seconds`` is negative, or not finite.
        """
        _check(seconds)
        with self._turn:
            end = self._now + seconds
            while self._scheduler is not None:
                due = self._scheduler.next_due()
                if due is None or due > end:
                    break
                self._now = max(self._now, due)
                self._scheduler.run_one_due()
            self._now = max(self._now, end)

    def jump(self, seconds: float) -> None:
        """Let time pass at one stroke, as a suspended device sees it, then run what is due.

        Args:
            seconds: how far.

        Raises:
            ValueError: ``seconds`` is negative, or not finite.
        """
        _check(seconds)
        with self._turn:
            self._now += seconds
            self.advance(0)


def _check(seconds: float) -> None:
    if not 0 <= seconds < inf:
        raise ValueError(f"a clock advances by finite seconds >= 0, got {seconds!r}")


SYSTEM_CLOCK = Clock()
