"""The ways to register handlers, the newer and `on`; all of it comes from uun-iot-core."""

from uun_iot_core.events import (
    EvConfUpdate,
    Event,
    EventRegister,
    EventType,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    HandlerInfo,
    Register,
    attach_handlers,
    extract_event_handlers_from_object,
    get_event_class,
    merge_events,
    on,
    registered_event_submodule,
)

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
