"""`Feed`: wakes the streams of the console when something has changed, from any thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Optional, Set

__all__ = ["Feed"]


class Feed:
    """Connects the threads of the sandbox with the event loop of the console."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._waiting: Set[asyncio.Event] = set()
        self.closed = False

    def open(self) -> None:
        """Begin, in the event loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self.closed = False

    def notify(self) -> None:
        """Wake all streams; from any thread."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """End all streams; from any thread."""
        self.closed = True
        self.notify()

    def leave(self) -> None:
        """The event loop ends."""
        with self._lock:
            self._loop = None

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set at each change, in the event loop."""
        event = asyncio.Event()
        event.set()  # a first look is due
        self._waiting.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Forget an event of `subscribe`."""
        self._waiting.discard(event)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
