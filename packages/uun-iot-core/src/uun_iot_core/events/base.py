"""What all event sources share: marking functions, and finding handlers."""

from __future__ import annotations

import contextlib
from enum import Enum
from functools import WRAPPER_ASSIGNMENTS, partial, update_wrapper, wraps
from types import FunctionType, MemberDescriptorType, MethodType, TracebackType
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    Iterable,
    Iterator,
    List,
    Optional,
    Set,
    Tuple,
    Type,
    TypeVar,
    cast,
)

from ..exceptions import json_type
from ..naming import module_id_of

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[..., Any]
_MARKS = "__uun_iot_events__"
_SUBMODULE = "__uun_iot_submodule__"
#: on a module, its methods that were marked when they were bound already, with their marks
_BOUND = "__uun_iot_bound__"
#: on an event source, the modules whose handlers `attach_handlers` gave it
OWNERS = "__uun_iot_owners__"
#: on a function of a class, the `Register` that subscribed it
_TAKEN = "__uun_iot_taken__"


class EventType(Enum):
    """The kinds of events that the gateway knows."""

    START = "start"
    STOP = "stop"
    CONF_UPDATE = "update"
    TICK = "tick"
    EXTERNAL = "external"


class HandlerInfo:
    """For which event a function is a handler, and whose.

    Args:
        event_type: the event.
        args: positional arguments of the registration, for example the timer's id.
        kwargs: keyword arguments of the registration.
        owner_id: the id of the module it belongs to; None on a function not yet bound.
    """

    #: the module that the function was found in
    owner: Any = None

    # by hand: to make a dataclass takes a twentieth of the time that importing the library takes
    def __init__(
        self,
        event_type: Any,
        args: Tuple[Any, ...] = (),
        kwargs: Optional[Dict[str, Any]] = None,
        owner_id: Optional[str] = None,
    ) -> None:
        self.event_type = event_type
        self.args = args
        self.kwargs: Dict[str, Any] = {} if kwargs is None else kwargs
        self.owner_id = owner_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HandlerInfo) and self._told() == other._told()

    def __repr__(self) -> str:
        return f"HandlerInfo({', '.join(f'{name}={one!r}' for name, one in self._told().items())})"

    def _told(self) -> Dict[str, Any]:
        return {name: one for name, one in vars(self).items() if name != "owner"}


def mark(function: F, info: HandlerInfo) -> F:
    """Note on a function that it handles an event, and return it unchanged.

    What a bound method handles is noted on its object.
    """
    noted = own(own(function, "__self__"), "__dict__") if type(function) is MethodType else None
    if isinstance(noted, dict):
        noted.setdefault(_BOUND, []).append((function, info))
        return function
    return _with_marks(function, (*marks(function), info))


def _with_marks(function: F, infos: Tuple[HandlerInfo, ...]) -> F:
    try:
        setattr(function, _MARKS, infos)
    except AttributeError:
        raise TypeError(
            f"{function!r} cannot be a handler; decorate the function in the class instead"
        ) from None
    return function


def marks(candidate: Any) -> Tuple[HandlerInfo, ...]:
    """Return what `mark` noted on a function (also within a static or class method)."""
    for place in (candidate, own(candidate, "__func__", candidate)):
        found = own(place, "__dict__", {}).get(_MARKS)
        if isinstance(found, tuple):
            return found
    return ()


def own(one: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of anything, past a ``__getattr__`` of its class or of a proxy's."""
    try:
        return object.__getattribute__(one, name)
    except AttributeError:
        return default


class Register(Generic[F]):
    """A function that was subscribed to an event: what the decorators of `Event` classes make.

    In the body of a class it becomes the function itself, marked as `on` marks it. A handler
    may also be registered at run time, on one instance alone::

        self.handler = EvStart.subscribe(self._handler).extract()

    Args:
        info: for which event.
        function: the function, or a bound method.
    """

    def __init__(self, info: HandlerInfo, function: F) -> None:
        if not callable(getattr(function, "__func__", function)):
            raise TypeError(f"{json_type(function)} cannot be a handler; decorate a function")
        update_wrapper(self, function)
        self._function = function
        # what is bound, or in a class, is a handler by itself already, if it has marks
        apart = vars(self).pop(_TAKEN, False) or isinstance(function, MethodType)
        _with_marks(self, (*(() if apart else marks(function)), info))

    def __set_name__(self, owner: type, name: str) -> None:
        function: Any = self._function
        while isinstance(function, Register):
            function = function._function
        if own(function, "__dict__", {}).get(_TAKEN, self) is not self:
            function = self.extract()
        usual = {"_function", "__wrapped__", *WRAPPER_ASSIGNMENTS}
        # by decorators above, `abstractmethod` say
        noted = {key: one for key, one in vars(self).items() if key not in usual}
        setattr(owner, name, _with_marks(function, marks(self)))
        vars(function).update(noted, **{_TAKEN: self})
        self._function = function  # also for another name in the class

    def extract(self) -> F:
        """Return a new function that does the same and is marked; the first one stays as it is.

        It becomes a handler as an attribute of a module.
        """
        function = self._function

        @wraps(function)
        def handler(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return cast(F, _with_marks(handler, marks(self)))

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        # where it stands below a decorator, or was assigned to a class
        bind = getattr(self._function, "__get__", None)
        return self._function if bind is None else bind(instance, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)


def mark_submodule(submodule: Any, allowed: Optional[Iterable[Any]] = None) -> None:
    """Note on an object that its handlers belong to the module that it is an attribute of.

    Args:
        submodule: the object.
        allowed: the events whose handlers count; None for all.
    """
    kinds = None if allowed is None else {getattr(one, "event_type", one) for one in allowed}
    try:
        vars(submodule)[_SUBMODULE] = (kinds,)  # past a __setattr__, of a frozen dataclass say
    except TypeError:
        raise TypeError(
            f"{type(submodule).__name__} cannot be a submodule, since it takes no attributes; "
            "give its class a __dict__"
        ) from None


def find_handlers(
    module: Any, owner_id: Optional[str] = None
) -> Iterator[Tuple[Handler, HandlerInfo]]:
    """Yield the bound handlers of a module with their marks, in order of definition.

    The whole class hierarchy is searched; a method that overrides a handler counts only if
    it is marked itself. Properties are not evaluated. The handlers of submodules follow.

    Args:
        module: the object.
        owner_id: the id that the handlers belong to; by default the module's own.
    """
    id = module_id_of(module) if owner_id is None else owner_id
    for handler, info in _find(module, id, set()):
        info.owner = module
        yield handler, info


def _find(module: Any, owner_id: str, searched: Set[int]) -> Iterator[Tuple[Handler, HandlerInfo]]:
    searched.add(id(module))
    attributes = _of_class(module)
    for name, attribute in _of_instance(module).items():
        # a bound method kept under another name is no handler of its own
        if name in attributes or (type(attribute) is not MethodType and marks(attribute)):
            attributes[name] = attribute
    seen = set()
    for name, attribute in attributes.items():
        function = own(attribute, "__func__", attribute)
        infos = marks(attribute) or _marks_within(function, name)
        if not infos or id(function) in seen:
            continue  # an alias of a handler is not called a second time
        seen.add(id(function))
        bound = getattr(module, name)
        for info in infos:
            yield bound, HandlerInfo(info.event_type, info.args, info.kwargs, owner_id)
    for bound, info in own(module, "__dict__", {}).get(_BOUND, ()):
        yield bound, HandlerInfo(info.event_type, info.args, info.kwargs, owner_id)
    for submodule in _submodules(module):
        if id(submodule) not in searched:
            (kinds,) = vars(submodule)[_SUBMODULE]
            for handler, info in _find(submodule, owner_id, searched):
                if kinds is None or info.event_type in kinds:
                    yield handler, info


def _marks_within(function: Any, name: str) -> Tuple[HandlerInfo, ...]:
    """Return the marks of a function that a decorator without `functools.wraps` has hidden."""
    for cell in own(function, "__closure__") or () if type(function) is FunctionType else ():
        with contextlib.suppress(ValueError):  # it is empty
            hidden = cell.cell_contents
            if type(hidden) is FunctionType and hidden.__name__ == name and marks(hidden):
                return marks(hidden)
    return ()


def _of_class(module: Any) -> Dict[str, Any]:
    """Return what the classes of an object define, but for the descriptors of slots."""
    found: Dict[str, Any] = {}
    for cls in reversed(type(module).__mro__):
        found.update(vars(cls))
    return {name: one for name, one in found.items() if type(one) is not MemberDescriptorType}


def _of_instance(module: Any) -> Dict[str, Any]:
    """Return what an object has of its own, in its ``__dict__`` and its slots."""
    found = dict(getattr(module, "__dict__", {}))
    for cls in type(module).__mro__:
        for name, slot in vars(cls).items():
            if type(slot) is MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # nothing is in it
                    found.setdefault(name, slot.__get__(module))
    return found


def _submodules(module: Any) -> Iterator[Any]:
    for attribute in (*_of_class(module).values(), *_of_instance(module).values()):
        if _SUBMODULE in own(attribute, "__dict__", {}):
            yield attribute


def parts_of(module: Any) -> List[Any]:
    """Return a module and its submodules, and theirs, each once."""
    found: Dict[int, Any] = {}

    def add(part: Any) -> None:
        if id(part) not in found:
            found[id(part)] = part
            for submodule in _submodules(part):
                add(submodule)

    add(module)
    return list(found.values())


class Event:
    """One source of events: it has handlers, starts, stops.

    A context manager: entering starts it, leaving stops it. An application makes its own
    events by inheriting::

        class EvMqtt(Event):
            event_type = "mqtt"

            @classmethod
            def subscribe_topic(cls, topic):
                return cls._register(Register[Callable[[Any, bytes], None]], topic)

            def start(self):
                for handler, info in self._handlers:
                    client.subscribe(info.args[0], handler)

    Args:
        config: the whole configuration.
        requires_config: an event without one makes no sense.
    """

    event_type: Any = None

    def __init__(
        self, config: Optional[Dict[str, Any]] = None, *, requires_config: bool = False
    ) -> None:
        if requires_config and config is None:
            raise ValueError(f"{type(self).__name__} needs the configuration")
        self._config = config
        if not hasattr(self, "_handlers"):  # a subclass may keep them in another way
            self._handlers: List[Tuple[Handler, HandlerInfo]] = []

    @classmethod
    def _register(
        cls, signature: Optional[Type[Register[F]]] = None, *args: Any, **kwargs: Any
    ) -> Callable[[F], Register[F]]:
        """Return a decorator that registers a function for this event.

        Args:
            signature: ``Register[…]`` of the handlers' type, for type checkers.
            args: what the handler's `HandlerInfo` is to hold.
            kwargs: likewise.
        """
        return partial(Register, HandlerInfo(cls.event_type, args, kwargs))

    def _join_gateway(self, gateway: Any) -> None:
        """Become one of the sources of a gateway; called before it starts."""

    def add_handlers(self, handlers: Iterable[Tuple[Handler, HandlerInfo]]) -> None:
        """Take in handlers.

        Args:
            handlers: pairs of a bound function and what it handles.
        """
        self._handlers.extend(handlers)

    def clear_handlers(self) -> None:
        """Forget all handlers."""
        self._handlers = type(getattr(self, "_handlers", []))()

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
