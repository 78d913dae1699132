"""What all event sources share: marking functions, finding handlers, calling them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from types import FunctionType, TracebackType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Type, TypeVar

from ..exceptions import ModuleError
from ..logs import get_logger
from ..naming import module_id_from_str

logger = get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[..., Any]

_MARKS = "__uun_iot_events__"


class EventType(Enum):
    """The kinds of events that the gateway knows."""

    START = "start"
    STOP = "stop"
    CONF_UPDATE = "update"
    TICK = "tick"
    EXTERNAL = "external"


@dataclass(frozen=True)
class HandlerInfo:
    """For which event a function is a handler, and whose.

    Args:
        event_type: the event.
        args: positional arguments of the registration, for example the timer's id.
        kwargs: keyword arguments of the registration.
        owner_id: the id of the module it belongs to; None on a function not yet bound.
    """

    event_type: Any
    args: Tuple[Any, ...] = ()
    kwargs: Dict[str, Any] = field(default_factory=dict)
    owner_id: Optional[str] = None


def mark(function: F, info: HandlerInfo) -> F:
    """Note on a function that it handles an event, and return it unchanged."""
    try:
        setattr(function, _MARKS, (*marks(function), info))
    except AttributeError:
        raise TypeError(
            f"{function!r} cannot be a handler; decorate the function in the class instead"
        ) from None
    return function


def marks(candidate: Any) -> Tuple[HandlerInfo, ...]:
    """Return what `mark` noted on a function (also within a static or class method)."""
    function = getattr(candidate, "__func__", candidate)
    for place in (candidate, function):
        found = getattr(place, "__dict__", {}).get(_MARKS)
        if isinstance(found, tuple):
            return found
    return ()


def find_handlers(module: Any) -> Iterator[Tuple[Handler, HandlerInfo]]:
    """Yield the bound handlers of a module with their marks, in order of definition.

    The whole class hierarchy is searched; a method that overrides a handler counts only if
    it is marked itself. Properties are not evaluated.
    """
    attributes: Dict[str, Any] = {}
    for cls in reversed(type(module).__mro__):
        attributes.update(vars(cls))
    for name, attribute in getattr(module, "__dict__", {}).items():
        # a bound method kept under another name is no handler of its own
        if name in attributes or isinstance(attribute, FunctionType):
            attributes[name] = attribute
    owner_id = module_id_of(module)
    seen = set()
    for name, attribute in attributes.items():
        function = getattr(attribute, "__func__", attribute)
        if not marks(attribute) or id(function) in seen:
            continue  # an alias of a handler is not called a second time
        seen.add(id(function))
        bound = getattr(module, name)
        for info in marks(attribute):
            yield bound, HandlerInfo(info.event_type, info.args, info.kwargs, owner_id)


def module_id_of(module: Any) -> str:
    """Return a module's id: its ``id``, else its class name with the first letter lowered."""
    own = getattr(module, "id", None)
    if own is None:
        return module_id_from_str(type(module).__name__)
    if not isinstance(own, str) or not own:
        raise ModuleError(f"{type(module).__name__}.id must be a non-empty string, got {own!r}")
    return own


_calls = threading.local()


def current_event() -> Optional[EventType]:
    """Return the event whose handler this thread is running, or None outside handlers."""
    stack: List[EventType] = getattr(_calls, "stack", [])
    return stack[-1] if stack else None


def call_handler(handler: Handler, info: HandlerInfo, *args: Any) -> Optional[Type[BaseException]]:
    """Call a handler; log what it raises, whatever that is, and return its class."""
    if not hasattr(_calls, "stack"):
        _calls.stack = []
    _calls.stack.append(info.event_type)
    try:
        handler(*args)
        return None
    except BaseException as exc:  # also SystemExit: one handler must not end another's thread
        logger.error(
            "%s handler of module `%s` failed (%s)",
            _event_name(info),
            info.owner_id,
            getattr(handler, "__qualname__", type(handler).__name__),
            exc_info=True,
        )
        return type(exc)
    finally:
        _calls.stack.pop()


def _event_name(info: HandlerInfo) -> str:
    kind = info.event_type.value if isinstance(info.event_type, Enum) else info.event_type
    return ":".join(str(part) for part in (kind, *info.args))


class Event:
    """One source of events: it has handlers, starts, stops.

    A context manager: entering starts it, leaving stops it.
    """

    event_type: Any = None

    def __init__(self) -> None:
        self._handlers: List[Tuple[Handler, HandlerInfo]] = []

    def add_handlers(self, handlers: Iterable[Tuple[Handler, HandlerInfo]]) -> None:
        """Take in handlers.

        Args:
            handlers: pairs of a bound function and what it handles.
        """
        self._handlers.extend(handlers)

    def clear_handlers(self) -> None:
        """Forget all handlers."""
        self._handlers.clear()

    def number_of_handlers(self) -> int:
        """Return how many handlers there are."""
        return len(self._handlers)

    def start(self) -> None:
        """Begin to call handlers."""

    def cancel(self) -> None:
        """Begin no more calls; do not wait for those under way."""

    def stop(self) -> None:
        """Begin no more calls, and return when those under way have ended."""
        self.cancel()

    def __enter__(self) -> "Event":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()
