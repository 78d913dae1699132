"""The end of the main thread by Ctrl-C, in a block of a gateway whose end has not begun.

A second Ctrl-C may meet ``__exit__`` before the first instruction of that. Nothing in the
``with`` statement can catch it there, and the timers' threads would keep the process alive.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, List

from .logs import get_logger

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["entered", "is_stopping", "stopped"]

logger = get_logger(__name__)

_entered: List[Gateway] = []  # the one table of gateways; each is here until it is stopped
_registered = _stopping = False


def entered(gateway: Gateway) -> None:
    """Have a gateway stopped if Ctrl-C ends the main thread before `stopped` is called.

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


def stopped(gateway: Gateway) -> None:
    """Forget a gateway that has been stopped.

    Args:
        gateway: perhaps one that `entered` was never called for.
    """
    while gateway in _entered:
        _entered.remove(gateway)


def is_stopping() -> bool:
    """Return whether the main thread, at its end, stops the gateways that are left."""
    return _stopping


def _stop_all() -> None:
    global _stopping
    # what was entered by hand, and goes on when the main thread ends, is left alone
    if not isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
        return
    _stopping = True
    for gateway in list(_entered):
        try:
            gateway.stop()
            gateway._exit.finish()
        except KeyboardInterrupt:  # it ends waiting, and no more
            pass
        except BaseException:
            logger.error("stopping at the end of the main thread failed", exc_info=True)
