"""Event sources: one file an event; each finds its handlers, starts and stops."""

from .attach import (
    attach_handlers,
    extract_event_handlers_from_object,
    get_event_class,
    merge_events,
    registered_event_submodule,
)
from .base import Event, EventType, HandlerInfo, Register
from .decorators import EventRegister, on
from .external import EvExternal
from .start import EvStart
from .stop import EvStop
from .tick import EvTick
from .update import EvConfUpdate

__all__ = [
    "EvConfUpdate",
    "EvExternal",
    "EvStart",
    "EvStop",
    "EvTick",
    "Event",
    "EventRegister",
    "EventType",
    "HandlerInfo",
    "Register",
    "attach_handlers",
    "extract_event_handlers_from_object",
    "get_event_class",
    "merge_events",
    "on",
    "registered_event_submodule",
]
