"""Handlers that run in threads of their own, and waiting for their end."""

from __future__ import annotations

import itertools
import threading
from math import inf
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..clock import SYSTEM_CLOCK, Clock
from ..forks import watch_forks
from ..supervision import Overdue
from .base import Event, Handler, HandlerInfo
from .calling import call_handler

__all__ = ["Busy", "Calls", "ThreadedEvent"]

#: what still runs: its name, and the identity of its thread
Busy = Tuple[str, Optional[int]]


class Calls:
    """Which calls of handlers run right now, and since when."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._running: Dict[int, Tuple[str, HandlerInfo, float]] = {}

    def begin(self, name: str, info: HandlerInfo, clock: Clock) -> int:
        """Note that a call begins; return the number to give to `end`."""
        number = next(self._numbers)
        try:
            now = clock.monotonic()
        except Exception:  # one of the application's own: the handler is called all the same
            now = inf
        self._running[number] = name, info, now
        return number

    def end(self, number: int) -> None:
        """Note that a call has ended."""
        self._running.pop(number, None)

    def overdue(self, limits: Mapping[str, Any], now: float) -> List[Overdue]:
        """Return which run for longer than they may.

        Args:
            limits: seconds by module id; those by timer are of ticks only.
            now: by the clock that `begin` was given.
        """
        found = []
        for number, (name, info, began) in list(self._running.items()):
            limit = limits.get(str(info.owner_id))
            if isinstance(limit, (int, float)) and now - began > limit:
                found.append(Overdue(name, number, now - began, limit))
        return found


class ThreadedEvent(Event):
    """An event that calls each of its handlers in a thread of its own."""

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config)
        self._threads: List[threading.Thread] = []
        self._calls = Calls()
        self._clock: Clock = SYSTEM_CLOCK
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: no handler runs there."""
        self._calls = Calls()

    def _join_gateway(self, gateway: Any) -> None:
        self._clock = gateway._clock

    def spawn(
        self,
        handler: Handler,
        info: HandlerInfo,
        *args: Any,
        after: Optional[Callable[[], None]] = None,
        or_here: bool = False,
    ) -> Optional[threading.Thread]:
        """Call a handler in a new thread.

        Args:
            handler: the bound function.
            info: what it handles, and whose it is.
            args: what it is given.
            after: called in the same thread when the handler has ended.
            or_here: call it in this thread where no other can be started.

        Returns:
            The thread, or None if the handler was called here.

        Raises:
            RuntimeError: no thread can be started.
        """
        event = getattr(info.event_type, "value", info.event_type)
        name = f"{event} {info.owner_id}"

        def run() -> None:
            number = self._calls.begin(name, info, self._clock)
            try:
                call_handler(handler, info, *args)
            finally:
                self._calls.end(number)
            if after is not None:
                after()

        thread = threading.Thread(target=run, name=f"uun_iot {name}", daemon=False)
        self._threads = [old for old in self._threads if old.is_alive()]
        try:
            thread.start()
        except RuntimeError:  # a limit, or (since Python 3.12) the interpreter is shutting down
            if not or_here:
                raise
            run()
            return None
        self._threads.append(thread)
        return thread

    def join(self) -> None:
        """Return when all handlers have ended; one that asks does not wait for itself."""
        own = threading.current_thread()
        while True:  # an ending handler may be called once more
            others = [thread for thread in self._threads if thread.is_alive() and thread is not own]
            if not others:
                return
            for thread in others:
                thread.join()

    def overdue(self, limits: Mapping[str, Any]) -> List[Overdue]:
        """Return which calls run for longer than they may.

        Args:
            limits: seconds by module id; valid already.
        """
        return self._calls.overdue(limits, self._clock.monotonic())

    def busy(self) -> List[Busy]:
        """Return which handlers still run."""
        return [(thread.name, thread.ident) for thread in self._threads if thread.is_alive()]
