"""The stop event: the gateway stops."""

from __future__ import annotations

from .base import EventType, F, HandlerInfo, Register
from .threads import ThreadedEvent

__all__ = ["EvStop"]


class EvStop(ThreadedEvent):
    """Calls all stop handlers together when it stops, and waits for them."""

    event_type = EventType.STOP

    @classmethod
    def subscribe(cls, function: F) -> Register[F]:
        """Register a handler ``(self)``."""
        return Register(HandlerInfo(cls.event_type), function)

    def stop(self) -> None:
        """Call the handlers, each in a thread of its own; return when they have ended."""
        for handler, info in self._handlers:
            self.spawn(handler, info, or_here=True)
        self.join()
