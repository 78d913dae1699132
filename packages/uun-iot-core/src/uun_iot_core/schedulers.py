"""`scheduler_of`: the one scheduler that each clock has."""

from __future__ import annotations

import threading

from .clock import Clock
from .forks import in_children, watch_forks
from .scheduler import Scheduler

__all__ = ["scheduler_of"]

_making = threading.Lock()


def scheduler_of(clock: Clock) -> Scheduler:
    """Return the clock's one scheduler; it is made at the first call.

    Args:
        clock: the clock.
    """
    scheduler = clock._scheduler
    if scheduler is not None:
        return scheduler
    with _making:
        if clock._scheduler is None:
            clock._scheduler = Scheduler(clock)
            in_children(_make_anew)
            watch_forks(clock._scheduler)
        return clock._scheduler


def _make_anew() -> None:
    global _making
    _making = threading.Lock()
