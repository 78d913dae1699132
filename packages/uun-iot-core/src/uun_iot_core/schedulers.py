"""`scheduler_of`: the one scheduler that each clock has."""

from __future__ import annotations

import os
import threading
import weakref

from .clock import Clock
from .scheduler import Scheduler

__all__ = ["scheduler_of"]

_schedulers: "weakref.WeakSet[Scheduler]" = weakref.WeakSet()
_making = threading.Lock()
_forks_watched = False


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
            _watch_forks(clock._scheduler)
        return clock._scheduler


def _watch_forks(scheduler: Scheduler) -> None:
    """Have the scheduler start anew in forked children."""
    global _forks_watched
    _schedulers.add(scheduler)
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        _forks_watched = True


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for scheduler in list(_schedulers):
        scheduler.after_fork()
