"""How much a storage may hold, and what the limits have cost so far."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

from uun_iot_core.clock import Clock
from uun_iot_core.logs import get_logger

from .encoding import size_of
from .entries import Entries
from .stats import Rate

__all__ = ["Bounds"]

logger = get_logger(__name__)

#: seconds between two warnings about dropped entries
_WARNING_INTERVAL = 60.0


class Bounds:
    """The limits of a storage: number of entries, and their bytes as JSON text.

    Args:
        storage_id: name of the storage in log messages.
        maxlen: number of entries; 0 for no limit.
        max_bytes: size of all entries; 0 for no limit.
        clock: spaces the warnings, and measures how fast entries come in.

    Raises:
        TypeError, ValueError: a limit is no whole number of 0 or more.
    """

    def __init__(self, storage_id: str, maxlen: int, max_bytes: int, clock: Clock) -> None:
        _check(storage_id, "maxlen", maxlen)
        _check(storage_id, "max_bytes", max_bytes)
        self._storage_id = storage_id
        self.maxlen = maxlen
        self.max_bytes = max_bytes
        #: is there any?
        self.are_set = maxlen > 0 or max_bytes > 0
        #: how many entries the limits have dropped
        self.dropped = 0
        self._unreported = 0
        self._reported_at: Optional[float] = None
        self._clock = clock
        self._entries_rate = Rate(clock)
        self._bytes_rate = Rate(clock)

    def refuse(self, stamps: Sequence[int]) -> None:
        """Refuse an entry that alone is too large.

        Raises:
            ValueError: there is one.
        """
        for stamp in stamps:
            if self.max_bytes and size_of(stamp) > self.max_bytes:
                raise ValueError(
                    f"an entry of {size_of(stamp)} bytes cannot be stored in `{self._storage_id}`, "
                    f"which may hold {self.max_bytes} bytes in all; raise its limit (limitBytes)"
                )

    def came_in(self, stamps: Optional[Sequence[int]], count: int) -> None:
        """Note that entries came in.

        Args:
            stamps: of each, where they are known.
            count: how many.
        """
        self._entries_rate.add(count)
        if self.max_bytes and stamps is not None:
            self._bytes_rate.add(sum(map(size_of, stamps)))

    def trim(self, entries: Entries) -> None:
        """Drop the oldest entries that are too many."""
        surplus = max(0, len(entries) - self.maxlen) if self.maxlen else 0
        if self.max_bytes:
            surplus = max(surplus, entries.surplus(self.max_bytes))
        if surplus:
            entries.drop_oldest(surplus)
            self.count_dropped(surplus)

    def trim_by_hand(self, data: List[Any]) -> None:
        """Do the same for the list alone, whose lock the caller holds; the number only."""
        surplus = max(0, len(data) - self.maxlen) if self.maxlen else 0
        if surplus:
            del data[:surplus]
            self.count_dropped(surplus)

    def count_dropped(self, count: int) -> None:
        """Count entries that were dropped, and say so once a minute at most."""
        self.dropped += count
        self._unreported += count
        now = self._clock.monotonic()
        if self._reported_at is not None and now - self._reported_at < _WARNING_INTERVAL:
            return
        limits = [f"limit {self.maxlen}"] if self.maxlen else []
        limits += [f"limit {self.max_bytes} bytes"] if self.max_bytes else []
        logger.warning(
            "storage `%s` is full (%s): dropped %d of the oldest entries, %d in all",
            self._storage_id,
            ", ".join(limits),
            self._unreported,
            self.dropped,
        )
        self._unreported, self._reported_at = 0, now

    def autonomy_hours(self, entries: Entries) -> Optional[float]:
        """Return in how many hours a limit will drop entries, if nothing is sent from now on."""
        left = []
        rate = self._entries_rate.per_second()
        if self.maxlen and rate > 0:
            left.append((self.maxlen - len(entries)) / rate)
        rate = self._bytes_rate.per_second()
        if self.max_bytes and rate > 0:
            left.append((self.max_bytes - entries.size) / rate)
        return max(0.0, min(left)) / 3600 if left else None


def _check(storage_id: str, name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} of storage `{storage_id}` must be an integer, got {type(value).__name__}"
        )
    if value < 0:
        raise ValueError(
            f"{name} of storage `{storage_id}` must be 0 (no limit) or more, got {value}"
        )
