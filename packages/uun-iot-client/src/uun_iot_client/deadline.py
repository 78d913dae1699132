"""How long a call may take: time-outs of its parts, and the deadline of the whole."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from uun_iot_core.clock import Clock

__all__ = ["Deadline", "Timeouts", "check_seconds", "check_whole", "chosen_timeouts"]


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


def check_seconds(name: str, value: Any, limit: float = threading.TIMEOUT_MAX) -> float:
    """Return a number of seconds over 0.

    Args:
        name: of the argument.
        value: the argument.
        limit: the longest that there may be.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= limit:
        raise ValueError(f"{name} must be seconds, over 0, got {value!r}")
    return float(value)


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number.

    Args:
        name: of the argument.
        value: the argument.
        least: the smallest that there may be.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, got {value!r}")


def chosen_timeouts(
    network: Mapping[str, Any],
    connect: Optional[float],
    read: Optional[float],
    deadline: Optional[float],
) -> Timeouts:
    """Return what arguments say, else the configuration, else the defaults.

    Args:
        network: ``uuApp.network`` of the configuration, checked.
        connect: the argument ``connect_timeout``.
        read: the argument ``read_timeout``.
        deadline: the argument ``deadline``.

    Raises:
        ValueError: an argument is no number of seconds.
    """
    usual = Timeouts(
        network.get("connectTimeout", Timeouts.connect),
        network.get("readTimeout", Timeouts.read),
        network.get("deadline", Timeouts.deadline),
    )
    return Timeouts(
        usual.connect if connect is None else check_seconds("connect_timeout", connect),
        usual.read if read is None else check_seconds("read_timeout", read),
        usual.deadline if deadline is None else check_seconds("deadline", deadline, math.inf),
    )
