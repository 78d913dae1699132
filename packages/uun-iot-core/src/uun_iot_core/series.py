"""`Series` and `Slot`: the calls of a timer, and the place in which one of them runs at a time."""

from __future__ import annotations

import threading
from typing import Callable, Optional, Sequence, Type

from .timer_stats import Record

__all__ = ["Call", "SHORTEST_PERIOD", "Series", "Slot", "nothing"]

#: what a timer calls; where it deals with exceptions by itself, it returns their class
Call = Callable[[], Optional[Type[BaseException]]]
#: seconds of the shortest period; below it, moments years after the start cannot be told apart
SHORTEST_PERIOD = 1e-6


def nothing() -> None:
    """The call of a cancelled series."""


class Slot:
    """What one timer may run: one call at a time, whichever series of it that belongs to."""

    __slots__ = ("ended", "record", "running", "thread", "waiting")

    def __init__(self) -> None:
        self.record = Record()
        self.running: Optional[Series] = None
        self.thread: Optional[int] = None
        self.waiting: Optional[Series] = None
        self.ended: Sequence[threading.Lock] = ()  # each released where the call ends


class Series:
    """The calls between one start of a timer and its stop: due at origin + k × period."""

    __slots__ = (
        "call",
        "cancelled",
        "entry",
        "k",
        "missed",
        "name",
        "origin",
        "period",
        "slot",
        "thread_name",
    )

    def __init__(self, slot: Slot, call: Call, period: float, name: str) -> None:
        self.slot = slot
        self.call = call
        self.period = max(period, SHORTEST_PERIOD)
        self.name = name
        self.thread_name = f"uun_iot {name}"
        self.origin = 0.0
        self.k = 0
        self.missed = 0
        self.cancelled = False
        self.entry: Optional[int] = None  # number of its valid heap entry

    @property
    def due(self) -> float:
        """When the next call is due, in the clock's monotonic seconds."""
        return self.origin + self.k * self.period

    def due_after(self, now: float, busy: bool) -> float:
        """Return when the next call is due that has not begun; only a late one before now."""
        if not busy:
            return self.due
        return self.origin + max(self.k + 1, (now - self.origin) // self.period + 1) * self.period

    def step(self, now: float) -> float:
        """Go on to the next due moment and return it; those passed meanwhile are missed."""
        following = self.k + 1
        due = self.origin + following * self.period
        if due >= now:
            self.k = following
            return due
        self.k = max(following, int((now - self.origin) // self.period))
        while self.due < now:
            self.k += 1
        self.missed += self.k - following
        return self.due
