"""The start event: the gateway starts."""

from __future__ import annotations

import threading
from typing import Any, Dict, Optional, Tuple

from ..wakeful import WAKE_EVERY
from .base import EventType, F, HandlerInfo, Register
from .calling import running_here
from .threads import ThreadedEvent

__all__ = ["EvStart"]


class EvStart(ThreadedEvent):
    """Calls each start handler in a thread of its own; `stop` waits for them.

    A handler is given ``(runev, stopev)``: events that are set while the gateway runs, and
    when it stops.

    Args:
        config: the whole configuration.
    """

    event_type = EventType.START

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config)
        self._evs: Tuple[threading.Event, threading.Event] = threading.Event(), threading.Event()
        self._own_evs = True

    @classmethod
    def subscribe(cls, function: F) -> Register[F]:
        """Register a handler ``(self, (runev, stopev))`` that nobody waits for but the stop."""
        return Register(HandlerInfo(cls.event_type), function)

    @classmethod
    def subscribe_blocking(cls, function: F) -> Register[F]:
        """Register a handler ``(self, (runev, stopev))`` that `start` waits for."""
        return Register(HandlerInfo(cls.event_type, (), {"block": True}), function)

    def _join_gateway(self, gateway: Any) -> None:
        super()._join_gateway(gateway)
        self._evs, self._own_evs = (gateway.runev, gateway.stopev), False

    def start(self) -> None:
        """Call the handlers; return when the blocking ones have ended."""
        if self._own_evs:
            self._evs[0].set()
            self._evs[1].clear()
        blocking = []
        for handler, info in self._handlers:
            thread = self.spawn(handler, info, self._evs)
            if thread is not None and info.kwargs.get("block"):
                blocking.append(thread)
        for thread in blocking:
            while thread.is_alive():
                thread.join(WAKE_EVERY)  # in parts, so that a waiting main thread sees signals

    def is_waited_for(self) -> bool:
        """Return whether this thread is one that `start` waits for."""
        waited_for = [info for _, info in self._handlers if info.kwargs.get("block")]
        return any(info is one for info in running_here() for one in waited_for)

    def stop(self) -> None:
        """Return when the handlers have ended."""
        if self._own_evs:
            self._evs[0].clear()
            self._evs[1].set()
        self.join()
