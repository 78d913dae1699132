"""Building event sources from objects with handlers."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Type, TypeVar

from ..exceptions import ModuleError, UnsupportedEvent
from .base import OWNERS, Event, Handler, HandlerInfo, find_handlers, mark_submodule
from .external import EvExternal
from .start import EvStart
from .stop import EvStop
from .tick import EvTick
from .update import EvConfUpdate

__all__ = [
    "CLASSES",
    "attach_handlers",
    "completed",
    "extract_event_handlers_from_object",
    "get_event_class",
    "merge_events",
    "registered_event_submodule",
]

T = TypeVar("T")

#: the library's own, by what stands in marks
CLASSES: Dict[Any, Type[Event]] = {
    kind.event_type: kind for kind in (EvStart, EvStop, EvConfUpdate, EvTick, EvExternal)
}


def get_event_class(event_type: Any) -> Type[Event]:
    """Return the class of the library's sources of an event.

    Args:
        event_type: an `EventType`.

    Raises:
        UnsupportedEvent: the library has no such event; also a ValueError.
    """
    try:
        return CLASSES[event_type]
    except (KeyError, TypeError):
        raise UnsupportedEvent(
            f"the library has no event of type {event_type!r}; give `attach_handlers` an event "
            "of that type, or a `get_ev_class` that knows it"
        ) from None


def attach_handlers(
    config: Optional[Dict[str, Any]],
    objects: Iterable[Any],
    events: Optional[Iterable[Event]] = None,
    get_ev_class: Optional[Callable[[Any], Type[Event]]] = None,
) -> List[Event]:
    """Give the handlers of objects to event sources.

    Args:
        config: the whole configuration; sources that are made here get it.
        objects: modules, or anything else that has handlers.
        events: the sources that there are already; of several of an event, the last one gets
            the handlers.
        get_ev_class: returns the class of which a source of an event type is to be made,
            where there is none yet; by default `get_event_class`.

    Returns:
        The sources: those given, and those that were made.

    Raises:
        UnsupportedEvent: no class is known for an event.
        ModuleError: two objects handle the same command.
        TypeError: what must be an iterable is none.
    """
    given = list(_iterable(events or (), "events"))
    sources = {event.event_type: event for event in given}
    found: Dict[Any, List[Tuple[Handler, HandlerInfo]]] = {}
    owners: Dict[Any, List[Any]] = {}
    objects = _iterable(objects, "objects")
    for one in {id(one): one for one in objects}.values():  # each once
        for handler, info in find_handlers(one):
            found.setdefault(info.event_type, []).append((handler, info))
            owners.setdefault(info.event_type, []).append(one)
    for event_type, handlers in found.items():
        if event_type not in sources:
            sources[event_type] = (get_ev_class or get_event_class)(event_type)(config)
            given.append(sources[event_type])
        sources[event_type].add_handlers(handlers)
        # for the gateway, which tells them of its start and stop
        vars(sources[event_type]).setdefault(OWNERS, []).extend(owners[event_type])
    return given


def merge_events(old: Iterable[Event], new: Iterable[Event]) -> List[Event]:
    """Return event sources of which there is one for each event; the new one wins.

    Args:
        old: sources.
        new: sources that take the places of those of the same event.
    """
    kinds: Dict[Any, Event] = {}
    for event in (*old, *new):  # one without a type is of its class
        kinds[type(event) if event.event_type is None else event.event_type] = event
    return list(kinds.values())


def completed(own: Iterable[Event], given: Iterable[Event]) -> List[Event]:
    """Return the sources that an application gives, and the library's for what they leave out.

    Of each event of the library there is one then, with the handlers of all that were given.

    Raises:
        ModuleError: two that are given are of one event of the library, but of classes of the
            application; or two of their handlers are of one command.
    """
    sources: List[Event] = []
    each = {id(event): event for event in given}.values()
    # the library's come last: they give their handlers to one of the application's own class
    for event in sorted(each, key=lambda event: type(event) in CLASSES.values()):
        same = [one for one in sources if one.event_type == event.event_type in CLASSES]
        if not same:
            sources.append(event)
        elif type(event) in CLASSES.values():
            same[0].add_handlers(event._handlers)
            vars(same[0]).setdefault(OWNERS, []).extend(vars(event).get(OWNERS, ()))
        else:
            raise ModuleError(
                f"event_init returned two sources of {event.event_type}; give the handlers of "
                "both to one, by attach_handlers(config, objects, events)"
            )
    kinds = [event.event_type for event in sources]
    return [*(event for event in own if event.event_type not in kinds), *sources]


def extract_event_handlers_from_object(
    obj: Any, owner_id: Optional[str] = None
) -> Iterator[Tuple[Handler, HandlerInfo]]:
    """Yield the bound handlers of an object, each with what it handles.

    Args:
        obj: a module, or anything else that has handlers.
        owner_id: the id that they belong to; by default the object's own.
    """
    return find_handlers(obj, owner_id)


def registered_event_submodule(
    submodule: T, allowed_events: Optional[Iterable[Type[Event]]] = None
) -> T:
    """Let the handlers of an object belong to the module that it becomes an attribute of.

    Example::

        class Station(Module):
            def __init__(self, config):
                super().__init__(config)
                self.sensor = registered_event_submodule(Sensor(), [EvTick])

    Args:
        submodule: the object; it is returned.
        allowed_events: the events whose handlers count; None for all.

    Raises:
        TypeError: ``allowed_events`` is no iterable, or the object takes no attributes.
    """
    mark_submodule(submodule, _iterable(allowed_events, "allowed_events"))
    return submodule


def _iterable(given: T, what: str) -> T:
    if given is not None and not isinstance(given, Iterable):
        raise TypeError(f"{what}: expected an iterable, got {given!r}; put it in a list")
    return given
