"""Handlers that run in threads of their own, and waiting for their end."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from .base import Event, Handler, HandlerInfo
from .calling import call_handler

__all__ = ["Busy", "ThreadedEvent"]

#: what still runs: its name, and the identity of its thread
Busy = Tuple[str, Optional[int]]


class ThreadedEvent(Event):
    """An event that calls each of its handlers in a thread of its own."""

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config)
        self._threads: List[threading.Thread] = []

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

        def run() -> None:
            call_handler(handler, info, *args)
            if after is not None:
                after()

        event = getattr(info.event_type, "value", info.event_type)
        name = f"uun_iot {event} {info.owner_id}"
        thread = threading.Thread(target=run, name=name, daemon=False)
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

    def busy(self) -> List[Busy]:
        """Return which handlers still run."""
        return [(thread.name, thread.ident) for thread in self._threads if thread.is_alive()]
