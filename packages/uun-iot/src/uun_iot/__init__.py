"""Framework for IoT gateways in the Unicorn uuApp world.

Submodules are imported before the classes of the same names are, so that ``uun_iot.Gateway``
and ``uun_iot.UuAppClient`` are the classes whatever is imported first.
"""

from uun_iot_core import ManualClock, __version__

from . import decorators, diagnostic, events, exceptions, modules, typing, utils
from .decorators import on
from .diagnostic import DiagnosticEvent, GatewayDiagnosticEvent, GeneralDiagnosticEvent
from .events import (
    EvConfUpdate,
    EventRegister,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    attach_handlers,
)
from .Gateway import Config, Gateway, ModuleTimer
from .modules import BaseHealthCheck, ConfigScopeEnum, Heartbeat, Module
from .typing import IModule
from .utils import (
    LoggingSystemdHandler,
    RepeatTimer,
    Storage,
    file_save,
    get_datetime_from_iso_timestamp,
    get_iso_timestamp,
    module_id,
    module_id_from_str,
)
from .UuAppClient import RetryPolicy, UuAppClient, UuCmdSession

__all__ = [
    "BaseHealthCheck",
    "Config",
    "ConfigScopeEnum",
    "DiagnosticEvent",
    "EvConfUpdate",
    "EvExternal",
    "EvStart",
    "EvStop",
    "EvTick",
    "EventRegister",
    "Gateway",
    "GatewayDiagnosticEvent",
    "GeneralDiagnosticEvent",
    "Heartbeat",
    "IModule",
    "LoggingSystemdHandler",
    "ManualClock",
    "Module",
    "ModuleTimer",
    "RepeatTimer",
    "RetryPolicy",
    "Storage",
    "UuAppClient",
    "UuCmdSession",
    "__version__",
    "attach_handlers",
    "decorators",
    "diagnostic",
    "events",
    "exceptions",
    "file_save",
    "get_datetime_from_iso_timestamp",
    "get_iso_timestamp",
    "module_id",
    "module_id_from_str",
    "modules",
    "on",
    "typing",
    "utils",
]
