"""The update event: the gateway has a new configuration."""

from __future__ import annotations

import threading
from typing import Callable, Set

from .base import EventType, Handler, HandlerInfo
from .threads import ThreadedEvent

__all__ = ["EvConfUpdate"]


class EvConfUpdate(ThreadedEvent):
    """Calls each update handler in a thread of its own.

    A handler may run for minutes. If there is another update meanwhile, it is called once
    more when it has ended, so it never overlaps itself and always sees the newest.
    """

    event_type = EventType.CONF_UPDATE

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._running: Set[Handler] = set()
        self._again: Set[Handler] = set()
        self._cancelled = False

    def start(self) -> None:
        """Let updates be announced."""
        self._cancelled = False

    def cancel(self) -> None:
        """Announce no more."""
        self._cancelled = True

    def announce(self, after: Callable[[], None]) -> None:
        """Call the handlers; do not wait for them.

        Args:
            after: called each time a handler has ended.
        """
        with self._lock:
            if self._cancelled:
                return
            for handler, info in self._handlers:
                if handler in self._running:
                    self._again.add(handler)
                else:
                    self._call(handler, info, after)

    def _call(self, handler: Handler, info: HandlerInfo, after: Callable[[], None]) -> None:
        def ended() -> None:
            after()
            with self._lock:
                self._running.discard(handler)
                again = handler in self._again
                self._again.discard(handler)
                if again and not self._cancelled:
                    self._call(handler, info, after)

        self._running.add(handler)
        try:
            self.spawn(handler, info, after=ended)
        except BaseException:  # no thread to be had
            self._running.discard(handler)
            raise

    def stop(self) -> None:
        """Return when the handlers have ended."""
        self.cancel()
        self.join()
