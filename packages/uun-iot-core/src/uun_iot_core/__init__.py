"""Events, timers, gateway and configuration: the core of uun-iot, without dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .class_property import classproperty
from .clock import SYSTEM_CLOCK, Clock, ManualClock
from .config import load_config, problems
from .events import (
    EvConfUpdate,
    Event,
    EventRegister,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    attach_handlers,
    on,
)
from .exceptions import ConfigError, ModuleError, UnsupportedEvent, UunIotError
from .files import atomic_write, file_save
from .gateway import Gateway
from .logs import LoggingSystemdHandler
from .naming import module_id, module_id_from_str
from .timer_stats import TimerStats
from .timers import ModuleTimer, RepeatTimer
from .timestamps import get_datetime_from_iso_timestamp, get_iso_timestamp
from .typing import IModule
from .updates import Config

if TYPE_CHECKING:
    from .diagnostic import DiagnosticEvent, GatewayDiagnosticEvent, GeneralDiagnosticEvent

__all__ = [
    "Clock",
    "Config",
    "ConfigError",
    "DiagnosticEvent",
    "EvConfUpdate",
    "EvExternal",
    "EvStart",
    "EvStop",
    "EvTick",
    "Event",
    "EventRegister",
    "Gateway",
    "GatewayDiagnosticEvent",
    "GeneralDiagnosticEvent",
    "IModule",
    "LoggingSystemdHandler",
    "ManualClock",
    "ModuleError",
    "ModuleTimer",
    "RepeatTimer",
    "SYSTEM_CLOCK",
    "TimerStats",
    "UnsupportedEvent",
    "UunIotError",
    "__version__",
    "atomic_write",
    "attach_handlers",
    "classproperty",
    "file_save",
    "get_datetime_from_iso_timestamp",
    "get_iso_timestamp",
    "load_config",
    "module_id",
    "module_id_from_str",
    "on",
    "problems",
]


def __getattr__(name: str) -> Any:
    # loaded when they are asked for: most gateways have no health check
    if name in ("DiagnosticEvent", "GatewayDiagnosticEvent", "GeneralDiagnosticEvent"):
        from . import diagnostic

        return getattr(diagnostic, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
