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
    """

    _LONGEST = 60.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._ends = -math.inf

    def failed(self) -> None:
        """Begin a pause, longer than the one before."""
        pause = min(self._LONGEST, 2.0 ** min(self._failures, 16))
        self._failures += 1
        # so that devices that failed together do not come back together
        self._ends = self._clock.monotonic() + pause * random.uniform(0.75, 1.0)

    def succeeded(self) -> None:
        """Begin anew with the shortest pause after the next failure."""
        self._failures, self._ends = 0, -math.inf

    def left(self) -> float:
        """Return the seconds left of the pause, 0 if there is none."""
        return max(0.0, self._ends - self._clock.monotonic())
