"""Event sources: one file an event; each finds its handlers, starts and stops."""

from .base import Event, EventType, HandlerInfo, current_event
from .decorators import on
from .start import EvStart
from .stop import EvStop
from .tick import EvTick
from .update import EvConfUpdate

__all__ = [
    "EvConfUpdate",
    "EvStart",
    "EvStop",
    "EvTick",
    "Event",
    "EventType",
    "HandlerInfo",
    "current_event",
    "on",
]
