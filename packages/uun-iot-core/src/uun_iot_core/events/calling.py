"""Calling handlers: what they raise is logged, and each thread knows which it is running."""

from __future__ import annotations

import threading
from enum import Enum
from types import CoroutineType, GeneratorType
from typing import Any, List, Optional, Tuple, Type

from ..logs import get_logger
from ..signals import is_ctrl_c
from .base import EventType, Handler, HandlerInfo

logger = get_logger(__name__)

_calls = threading.local()


def current_event() -> Optional[EventType]:
    """Return the event whose handler this thread is running, or None outside handlers."""
    running = running_here()
    return running[-1].event_type if running else None


def running_here() -> List[HandlerInfo]:
    """Return whose handlers this thread is running, the innermost last."""
    stack: List[HandlerInfo] = getattr(_calls, "stack", [])
    return stack


def call_handler(handler: Handler, info: HandlerInfo, *args: Any) -> Optional[Type[BaseException]]:
    """Call a handler; log what it raises, whatever that is, and return its class."""
    exc = outcome(handler, info, *args)[1]
    return None if exc is None else type(exc)


def outcome(handler: Handler, info: HandlerInfo, *args: Any) -> Tuple[Any, Optional[BaseException]]:
    """Call a handler; return what it returned, and what it raised, which is logged."""
    if not hasattr(_calls, "stack"):
        _calls.stack = []
    _calls.stack.append(info)
    try:
        result = handler(*args)
        if isinstance(result, (CoroutineType, GeneratorType)):
            result.close()
            what = "an async function" if isinstance(result, CoroutineType) else "a generator"
            raise TypeError(f"{what} cannot be a handler, since nobody goes on with it")
        return result, None
    except BaseException as exc:  # also SystemExit: one handler must not end another's thread
        if is_ctrl_c(exc):
            raise
        logger.error(
            "%s handler of module `%s` failed (%s)",
            _event_name(info),
            info.owner_id,
            _name_of(handler),
            exc_info=True,
        )
        return None, exc
    finally:
        _calls.stack.pop()


def _name_of(handler: Handler) -> str:
    try:
        return str(handler.__qualname__)
    except Exception:  # it is an object with a __call__, and whatever it has in __getattr__
        return type(handler).__name__


def _event_name(info: HandlerInfo) -> str:
    kind = info.event_type.value if isinstance(info.event_type, Enum) else info.event_type
    return ":".join(str(part) for part in (kind, *info.args))
