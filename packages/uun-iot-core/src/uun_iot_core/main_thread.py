"""The end of the main thread while a gateway that it has entered still runs.

A second Ctrl-C may meet ``__exit__`` before the first instruction of that. Nothing in the
``with`` statement can catch it there, and the timers' threads would keep the process alive.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, List

from .logs import get_logger

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["entered", "left"]

logger = get_logger(__name__)

_entered: List[Gateway] = []  # the one table of gateways; each is here for its block's time only
_registered = False


def entered(gateway: Gateway) -> None:
    """Have a gateway stopped if the main thread ends before `left` is called.

    Does nothing in other threads.

    Args:
        gateway: whose block begins.
    """
    global _registered
    if threading.current_thread() is not threading.main_thread():
        return
    if not _registered:
        # What `concurrent.futures` uses, since Python 3.9: `atexit` waits for all threads first.
        register = getattr(threading, "_register_atexit", None)
        if register is None:
            return
        try:
            register(_stop_all)
        except RuntimeError:  # the interpreter is shutting down
            return
        _registered = True
    _entered.append(gateway)


def left(gateway: Gateway) -> None:
    """Forget a gateway that has been stopped.

    Args:
        gateway: whose block has ended.
    """
    _entered[:] = [one for one in _entered if one is not gateway]


def _stop_all() -> None:
    while _entered:
        try:
            _entered.pop().stop()
        except KeyboardInterrupt:  # it ends waiting, and no more
            pass
        except BaseException:
            logger.error("stopping at the end of the main thread failed", exc_info=True)
