"""Events, timers, gateway and configuration: the core of uun-iot, without dependencies."""

from ._version import __version__
from .class_property import classproperty
from .clock import SYSTEM_CLOCK, Clock, ManualClock
from .config import load_config, problems
from .diagnostic import DiagnosticEvent, GatewayDiagnosticEvent, GeneralDiagnosticEvent
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
