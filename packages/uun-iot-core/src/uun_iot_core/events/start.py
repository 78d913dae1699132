"""The start event: the gateway starts."""

from __future__ import annotations

import threading

from .base import EventType
from .threads import ThreadedEvent

__all__ = ["EvStart"]


class EvStart(ThreadedEvent):
    """Calls each start handler in a thread of its own; `stop` waits for them.

    Args:
        runev: set while the gateway runs; handed to the handlers.
        stopev: set when the gateway stops; handed to the handlers.
    """

    event_type = EventType.START

    def __init__(self, runev: threading.Event, stopev: threading.Event) -> None:
        super().__init__()
        self._evs = (runev, stopev)

    def start(self) -> None:
        """Call the handlers with ``(runev, stopev)``; do not wait for them."""
        for handler, info in self._handlers:
            self.spawn(handler, info, self._evs)

    def stop(self) -> None:
        """Return when the handlers have ended."""
        self.join()
