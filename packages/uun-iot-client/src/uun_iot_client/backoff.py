"""The pause after a failure."""

from __future__ import annotations

import math
import random

from uun_iot_core.clock import Clock

__all__ = ["Backoff"]


class Backoff:
    """A pause that doubles from failure to failure, with jitter: 1, 2, 4 … 60 seconds.

    Args:
        clock: measures it.
        first: the pause after the first failure, seconds.
        longest: what it does not grow beyond, seconds.
    """

    def __init__(self, clock: Clock, first: float = 1.0, longest: float = 60.0) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._failures = 0
        self._ends = -math.inf

    def failed(self, at_least: float = 0.0) -> None:
        """Begin a pause, longer than the one before.

        Args:
            at_least: seconds that it lasts, whatever its turn.
        """
        pause = min(self._longest, self._first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        # so that devices that failed together do not come back together
        pause = max(pause * random.uniform(0.75, 1.0), at_least)
        self._ends = self._clock.monotonic() + pause

    def succeeded(self) -> None:
        """Begin anew with the shortest pause after the next failure."""
        self._failures, self._ends = 0, -math.inf

    def left(self) -> float:
        """Return the seconds left of the pause, 0 if there is none."""
        return max(0.0, self._ends - self._clock.monotonic())
