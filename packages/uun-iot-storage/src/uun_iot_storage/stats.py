"""Figures of a storage: how much there is, what became of it, how long it will do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from uun_iot_core.clock import Clock

__all__ = ["Rate", "StorageStats"]

#: seconds after which what came in counts for a third (1/e) in the present rate
_MEMORY = 3600.0


@dataclass(frozen=True)
class StorageStats:
    """Figures of a storage, from `Storage.stats`.

    Those in the past tense count since the storage was made, in this process.

    Args:
        entries: how many entries are stored.
        bytes: of all of them as JSON text.
        oldest_age: seconds since the oldest entry was added, or loaded at the start; None
            if there is none.
        appended: entries that were added.
        sent: entries that were acknowledged as sent.
        failed: entries that a sender returned as not sent; each time counts.
        dropped: oldest entries that went because of a limit.
        set_aside: entries that the server kept refusing, now in the file of dead letters.
        bytes_written: to the disk, backup file and journal.
        autonomy_hours: hours until a limit drops entries, if nothing can be sent from now
            on and as much comes in as during the last hours; None without a limit, or if
            nothing came in.
    """

    entries: int
    bytes: int
    oldest_age: Optional[float]
    appended: int
    sent: int
    failed: int
    dropped: int
    set_aside: int
    bytes_written: int
    autonomy_hours: Optional[float]


class Rate:
    """How much comes in a second, lately: older amounts count less and less.

    Args:
        clock: measures the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._amount = 0.0
        self._begin: Optional[float] = None  # of the first amount
        self._last = 0.0

    def add(self, amount: float) -> None:
        """Count an amount that has just come in."""
        now = self._clock.monotonic()
        if self._begin is None:
            # its own time of arrival is not known: measuring begins with it
            self._begin = self._last = now
            return
        if now - self._last > 1.0:
            self._decay(now)
        self._amount += amount

    def _decay(self, now: float) -> None:
        self._amount *= math.exp((self._last - now) / _MEMORY)
        self._last = now

    def per_second(self) -> float:
        """Return the rate; 0 as long as there is too little to tell it from."""
        if self._begin is None:
            return 0.0
        now = self._clock.monotonic()
        self._decay(now)
        # what a steady rate of 1 would have left in `_amount` by now
        weight = _MEMORY * -math.expm1((self._begin - now) / _MEMORY)
        return self._amount / weight if weight > 0 else 0.0
