"""How long a call may take: time-outs of its parts, and the deadline of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from uun_iot_core.clock import Clock

__all__ = ["Deadline", "Timeouts"]


@dataclass(frozen=True)
class Timeouts:
    """Seconds that a call may take.

    A time-out bounds one part: a reply that comes byte by byte meets none of them, which is
    what the deadline is for.

    Attributes:
        connect: until a connection to the server is made.
        read: until each next part of a reply comes, or each part of a body is taken.
        deadline: until the call has ended, with its token, repetitions and pauses; infinity
            for no such bound.
    """

    connect: float = 10.0
    read: float = 30.0
    deadline: float = 300.0


class Deadline:
    """The moment when a call must have ended.

    Args:
        clock: measures it.
        seconds: from now; infinity for never.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        #: seconds that there were at first
        self.seconds = seconds
        self._ends = clock.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, 0 if it has passed, infinity if it never does."""
        return max(0.0, self._ends - self._clock.monotonic())

    def sooner(self, share: float, at_most: Optional[float] = None) -> Deadline:
        """Return a deadline for a part of the call that must leave time for the rest.

        Args:
            share: of what is left, from 0 to 1.
            at_most: seconds that the part may take.
        """
        return Deadline(
            self._clock, min(self.left() * share, math.inf if at_most is None else at_most)
        )
