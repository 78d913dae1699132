"""`DueQueue`: which series is due next."""

from __future__ import annotations

import heapq
import itertools
from math import inf
from typing import List, Optional, Tuple

from .series import Series

__all__ = ["DueQueue"]

#: so many entries that no longer count are kept at least, before they are swept out
FEW = 64
#: seconds by which one call may wait for the next, so that both cost one wake-up
SHARED = 0.0015
#: and the part of its period
SHARED_PART = 0.002


class DueQueue:
    """Series in the order in which they are due, those of one moment as they came.

    What is withdrawn stays in the heap until it comes up, or until such entries are most of it.
    """

    __slots__ = ("_heap", "_numbers", "_stale")

    def __init__(self) -> None:
        self._heap: List[Tuple[float, int, Series]] = []
        self._numbers = itertools.count()
        self._stale = 0  # heap entries that no longer count

    def push(self, series: Series, due: float) -> bool:
        """Queue a series that is not queued; return whether it is the next.

        Args:
            series: which.
            due: when it is to come up.
        """
        number = series.entry = next(self._numbers)
        entry = (due, number, series)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def withdraw(self, series: Series) -> None:
        """Take a series out, if it is queued."""
        if series.entry is None:
            return
        series.entry = None
        self._stale += 1
        if self._stale > FEW and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].entry == entry[1]]
            heapq.heapify(self._heap)
            self._stale = 0

    def next_due(self) -> float:
        """Return when the next series comes up; infinity where there is none."""
        heap = self._heap
        while heap:
            due, number, series = heap[0]
            if series.entry == number:
                return due
            heapq.heappop(heap)
            self._stale -= 1
        return inf

    def wake_at(self) -> float:
        """Return when to wake up for the next series; right after `next_due`.

        Where another one is due a moment after it, they share the wake-up: with a thousand
        timers, to wake up is most of what a tick costs.
        """
        if not self._heap:
            return inf
        due, _, series = self._heap[0]
        return _shared(due, self._second_due(), series.period)

    def due_if_stuck(self) -> float:
        """Return when somebody is needed, were the next call never to end; after `next_due`.

        That is where another series comes up, or where this one should again. Where what comes up
        has been withdrawn, it is too soon.
        """
        if not self._heap:
            return inf
        due, _, series = self._heap[0]
        again, second = due + series.period, self._second_due()
        if again < second:
            return _shared(again, second, series.period)
        return _shared(second, again, series.period)

    def _second_due(self) -> float:
        heap = self._heap
        if len(heap) > 2:
            return min(heap[1][0], heap[2][0])
        return heap[1][0] if len(heap) == 2 else inf

    def pop(self, now: float = inf) -> Optional[Series]:
        """Take the next series, if it is due by now; right after `next_due`.

        None where there is none, since garbage collection has withdrawn it in between.
        """
        heap = self._heap
        if not heap or heap[0][0] > now or heap[0][2].entry != heap[0][1]:
            return None
        series = heapq.heappop(heap)[2]
        series.entry = None
        return series


def _shared(due: float, following: float, period: float) -> float:
    """Return when to wake up for what is due, and perhaps for what follows it."""
    apart = following - due
    return following if apart <= SHARED and apart <= period * SHARED_PART else due
