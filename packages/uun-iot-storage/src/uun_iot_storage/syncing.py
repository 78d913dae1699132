"""Syncing at most so often: what is written between two syncs waits for the next."""

from __future__ import annotations

import math
import threading
import weakref
from typing import Callable, Optional

from uun_iot_core.clock import Clock
from uun_iot_core.timers import RepeatTimer

__all__ = ["DelayedSync", "check_interval"]


def check_interval(storage_id: str, interval: float) -> None:
    """Refuse what is no number of seconds, 0 or more.

    Raises:
        TypeError, ValueError: it is not.
    """
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise TypeError(
            f"sync_interval of storage `{storage_id}` must be a number of seconds, "
            f"got {type(interval).__name__}"
        )
    if not (math.isfinite(interval) and interval >= 0):
        raise ValueError(
            f"sync_interval of storage `{storage_id}` must be 0 (sync each backup) or more, "
            f"got {interval}"
        )


class DelayedSync:
    """Decides when a write is synced: at once if the last sync is long ago, else later.

    Args:
        interval: seconds between two syncs.
        sync: a method that syncs; called in a timer's thread. Its object is not kept alive.
        name: of the storage, for the name of the thread.
        clock: measures the time.
    """

    def __init__(
        self, interval: float, sync: Callable[[], object], name: str, clock: Clock
    ) -> None:
        method = weakref.WeakMethod(sync)

        def tick() -> None:
            self._timer.stop(block=False)
            found = method()
            if found is not None:
                found()

        _pending.add(self)
        _watch_exit()
        self._interval = interval
        self._clock = clock
        self._synced_at = -math.inf
        self._timer = RepeatTimer(
            interval, tick, runonstart=False, clock=clock, name=f"sync {name}"
        )

    def is_due(self) -> bool:
        """May a write be synced at once?"""
        return self._clock.monotonic() - self._synced_at >= self._interval

    def note(self, is_unsynced: bool) -> None:
        """Take note of a write.

        Args:
            is_unsynced: its sync was left for later.
        """
        if not is_unsynced:
            self._synced_at = self._clock.monotonic()
        elif not self._timer.running:
            self._timer.start()

    def cancel(self) -> None:
        """Sync no more."""
        self._timer.stop(block=False)


_pending: "weakref.WeakSet[DelayedSync]" = weakref.WeakSet()
_exit_watched = False


def _watch_exit() -> None:
    """Let no waiting timer keep the interpreter from ending: the storage is closed then."""
    global _exit_watched
    # what concurrent.futures uses; without it, the end waits for the last sync
    register: Optional[Callable[..., object]] = getattr(threading, "_register_atexit", None)
    if not _exit_watched and register is not None:
        _exit_watched = True
        try:
            register(_cancel_all)
        except RuntimeError:
            pass  # it is ending already


def _cancel_all() -> None:
    for delayed in list(_pending):
        delayed.cancel()
