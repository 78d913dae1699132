"""The update event: the gateway has a new configuration."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..logs import get_logger
from .base import EventType, F, Handler, HandlerInfo, Register
from .calling import call_handler
from .threads import ThreadedEvent

__all__ = ["EvConfUpdate"]

logger = get_logger(__name__)


class EvConfUpdate(ThreadedEvent):
    """Calls each update handler in a thread of its own.

    A handler may run for minutes. If there is another update meanwhile, it is called once
    more when it has ended, so it never overlaps itself and always sees the newest. An update
    that a stop leaves no time for is announced by the next `start`.

    Args:
        config: the whole configuration; handlers are given its ``gateway`` part.
    """

    event_type = EventType.CONF_UPDATE

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config)
        self._lock = threading.RLock()  # a short handler may ask for the configuration
        self._running: Set[int] = set()  # of registrations: a callable may have no hash
        self._again: Set[int] = set()
        self._cancelled = False
        self._owed: Optional[Callable[[], None]] = None  # what comes after a call that is owed
        self._waiting: Set[int] = set()  # of registrations for which there was no thread

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread that is no more may hold the lock."""
        super().after_fork()
        self._lock = threading.RLock()
        self._running, self._again = set(), set()

    @classmethod
    def subscribe(cls, function: F) -> Register[F]:
        """Register a handler ``(self, new_config)``, given the new ``gateway`` part."""
        return Register(HandlerInfo(cls.event_type), function)

    @classmethod
    def subscribe_first(cls, function: F) -> Register[F]:
        """Register a short handler that is called before all others, with nobody beside it."""
        return Register(HandlerInfo(cls.event_type, (), {"first": True}), function)

    def _join_gateway(self, gateway: Any) -> None:
        super()._join_gateway(gateway)
        self._config = gateway.config

    def start(self) -> None:
        """Let updates be announced; first one that came while the last stop was under way."""
        self._cancelled = False
        owed, self._owed = self._owed, None
        if owed is not None:
            self.announce(owed)

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
                self._owed = after
                return
            for handler, info in sorted(self._handlers, key=_rank):
                if _rank((handler, info)) == 0:
                    call_handler(handler, info, *self._arguments(info))
                elif id(info) in self._running:
                    self._again.add(id(info))
                else:
                    self._call_or_wait(handler, info, after)

    def retry(self, after: Callable[[], None]) -> None:
        """Call the handlers for which there was no thread.

        Args:
            after: see `announce`.
        """
        with self._lock:
            for handler, info in self._handlers if self._waiting and not self._cancelled else ():
                if id(info) in self._waiting:
                    self._call_or_wait(handler, info, after)

    def _call_or_wait(self, handler: Handler, info: HandlerInfo, after: Callable[[], None]) -> None:
        self._waiting.discard(id(info))
        try:
            self._call(handler, info, after)
        except RuntimeError as exc:
            self._waiting.add(id(info))
            said = "update handler of module `%s`: %s; it is called at a later poll"
            logger.error(said, info.owner_id, exc)

    def _call(self, handler: Handler, info: HandlerInfo, after: Callable[[], None]) -> None:
        def ended() -> None:
            after()
            with self._lock:
                self._running.discard(id(info))
                again = id(info) in self._again
                self._again.discard(id(info))
                if again and self._cancelled:
                    self._owed = after
                elif again:
                    self._call_or_wait(handler, info, after)

        self._running.add(id(info))
        try:
            self.spawn(handler, info, *self._arguments(info), after=ended)
        except BaseException:  # no thread to be had
            self._running.discard(id(info))
            raise

    def _arguments(self, info: HandlerInfo) -> List[Any]:
        """Return what a handler is given: nothing in the documented style."""
        return [] if info.kwargs.get("bare") else [(self._config or {}).get("gateway", {})]

    def stop(self) -> None:
        """Return when the handlers have ended."""
        self.cancel()
        self.join()


def _rank(registered: Tuple[Handler, HandlerInfo]) -> int:
    return 0 if registered[1].kwargs.get("first") else 1
