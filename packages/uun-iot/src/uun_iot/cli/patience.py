"""Telling whoever has typed Ctrl-C what the stop of a gateway waits for."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Callable, Iterator

if TYPE_CHECKING:
    from uun_iot import Gateway

__all__ = ["telling_what_is_awaited"]

#: seconds that a stop may take without a word
_SILENT = 1.0
_NAMED = 3


@contextlib.contextmanager
def telling_what_is_awaited(gateway: Gateway, tell: Callable[[str], None]) -> Iterator[None]:
    """Say in one line what keeps the gateway from ending, and how to end it at once.

    Args:
        gateway: started and stopped within.
        tell: is given the line, in another thread, once a stop has taken a second.
    """
    ended = threading.Event()

    def watch() -> None:
        gateway.stopev.wait()
        if not ended.wait(_SILENT):
            tell(_awaited(gateway))

    thread = threading.Thread(target=watch, name="uun_iot patience", daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread to be had: then without a word
        thread.start()
    try:
        yield
    finally:
        ended.set()


def _awaited(gateway: Gateway) -> str:
    names = [name[len("uun_iot ") :] for name, _ in gateway._sources.busy()]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    what = ", ".join(names[:_NAMED] + more) or "requests under way and the backup files"
    once = "once more" if gateway._exit.requested else "twice"
    return f"stopping waits for {what}; Ctrl-C {once} ends it at once, without what is not stored"
