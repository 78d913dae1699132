"""The time by the server's clock, learnt from the ``Date`` of its replies."""

from __future__ import annotations

import math
from typing import Optional

from uun_iot_core.clock import Clock

__all__ = ["ServerTime", "parse_date"]

# Seconds; clocks drift by less than a second in that time, and `Date` has no finer steps.
_ENOUGH = 60.0


def parse_date(text: str) -> Optional[float]:
    """Return the seconds since 1970 of a date as HTTP writes it, None if it is none.

    Args:
        text: for example ``Tue, 24 Nov 2026 13:29:00 GMT``.
    """
    from email.utils import parsedate_to_datetime  # comes with requests, and is large

    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


class ServerTime:
    """What time it is at the server, whatever the device's wall clock was set to.

    Args:
        clock: its monotonic time says how long ago a reply came.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: Optional[float] = None  # the server's time less our monotonic time
        self._noted = -math.inf

    def note(self, date: Optional[str]) -> None:
        """Take note of the ``Date`` of a reply that has just come over verified HTTPS.

        Args:
            date: the header; None and damaged ones are passed over.
        """
        now = self._clock.monotonic()
        if date is None or now - self._noted < _ENOUGH:
            return
        seconds = parse_date(date)
        if seconds is not None:
            self._offset, self._noted = seconds - now, now

    def monotonic_of(self, moment: float) -> Optional[float]:
        """Return when a moment of the server's time is, in our monotonic seconds.

        Args:
            moment: seconds since 1970.

        Returns:
            None while no ``Date`` was seen.
        """
        return None if self._offset is None else moment - self._offset

    def ahead(self) -> Optional[float]:
        """Return how many seconds the server is ahead of the wall clock, None if unknown."""
        if self._offset is None:
            return None
        return self._offset + self._clock.monotonic() - self._clock.time()
