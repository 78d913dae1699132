"""The documented names, parameters, defaults and values."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import pkgutil
from enum import IntEnum
from typing import Any, Dict, List, Tuple

import pytest

import uun_iot_core
from tests.support.processes import Child
from uun_iot_core import (
    Config,
    DiagnosticEvent,
    Gateway,
    GatewayDiagnosticEvent,
    GeneralDiagnosticEvent,
    IModule,
    LoggingSystemdHandler,
    ModuleTimer,
    RepeatTimer,
    file_save,
    get_datetime_from_iso_timestamp,
    get_iso_timestamp,
    module_id,
    module_id_from_str,
    on,
)

REQUIRED = inspect.Parameter.empty

DOCUMENTED: List[Tuple[Any, Dict[str, Any]]] = [
    (Config, {"gateway_instance": REQUIRED, "config_file": REQUIRED}),
    (Config.on_tick, {"self": REQUIRED}),
    (Config.register_callbacks, {"self": REQUIRED, "modules": REQUIRED}),
    (Gateway, {"config_file": None, "module_init": None, "event_init": None}),
    (
        Gateway.signal_handler,
        {"self": REQUIRED, "sig": REQUIRED, "frame": REQUIRED, "additional_cleanup": None},
    ),
    (Gateway.start, {"self": REQUIRED}),
    (Gateway.stop, {"self": REQUIRED}),
    (ModuleTimer, {"module_instance": REQUIRED, "f": REQUIRED, "period": REQUIRED}),
    (LoggingSystemdHandler, {"stream": None}),
    (LoggingSystemdHandler.emit, {"self": REQUIRED, "record": REQUIRED}),
    (
        RepeatTimer,
        {"period": REQUIRED, "f": REQUIRED, "args": [], "kwargs": {}, "runonstart": True},
    ),
    (RepeatTimer.start, {"self": REQUIRED}),
    (RepeatTimer.stop, {"self": REQUIRED, "block": True}),
    (file_save, {"path": REQUIRED, "data": REQUIRED}),
    (get_datetime_from_iso_timestamp, {"iso_timestamp": REQUIRED}),
    (get_iso_timestamp, {"dt": REQUIRED}),
    (module_id, {"module": REQUIRED}),
    (module_id_from_str, {"module_name": REQUIRED}),
]


@pytest.mark.parametrize(
    ("function", "documented"), DOCUMENTED, ids=[one.__qualname__ for one, _ in DOCUMENTED]
)
def test_parameters_have_the_documented_names_order_and_defaults(
    function: Any, documented: Dict[str, Any]
) -> None:
    parameters = inspect.signature(function).parameters.values()
    positional = {
        one.name: one.default for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == list(documented.items())


@pytest.mark.parametrize("function", [one for one, _ in DOCUMENTED])
def test_parameters_beyond_the_documented_ones_are_optional_and_keyword_only(function: Any) -> None:
    for one in inspect.signature(function).parameters.values():
        assert one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        assert one.kind is one.POSITIONAL_OR_KEYWORD or one.default is not REQUIRED


def test_on_takes_its_arguments_by_position() -> None:
    (parameter,) = inspect.signature(on).parameters.values()
    assert (parameter.name, parameter.kind) == ("outer_args", parameter.VAR_POSITIONAL)


def test_the_bases_are_the_documented_ones() -> None:
    assert issubclass(Config, IModule)
    assert issubclass(Gateway, contextlib.AbstractContextManager)
    assert issubclass(LoggingSystemdHandler, logging.StreamHandler)
    assert issubclass(GeneralDiagnosticEvent, IntEnum)
    assert issubclass(DiagnosticEvent, GeneralDiagnosticEvent)
    assert issubclass(GatewayDiagnosticEvent, GeneralDiagnosticEvent)


def test_period_and_runonstart_are_properties() -> None:
    assert isinstance(RepeatTimer.period, property)
    assert isinstance(RepeatTimer.runonstart, property)


def test_the_id_of_the_configuration_module_is_config() -> None:
    assert Config.id == "config"


def test_the_diagnostic_events_have_the_documented_values() -> None:
    assert {one.name: one.value for one in DiagnosticEvent} == {
        "DIAGNOSTICS_START": 1,
        "DIAGNOSTICS_STOP": 2,
        "TIMER_CALL": 3,
        "ON_START_CALL": 4,
        "ON_STOP_CALL": 5,
        "ON_UPDATE_CALL": 6,
        "DATA_RECEIVED": 7,
        "DATA_SEND_IMMINENT": 8,
        "DATA_SEND_OK": 9,
        "DATA_SEND_PARTIAL": 10,
        "DATA_SEND_FAIL": 11,
        "DATA_SEND_ATTEMPTED": 12,
    }
    assert {one.name: one.value for one in GatewayDiagnosticEvent} == {
        "GATEWAY_START": 1,
        "GATEWAY_STOP": 2,
        "GATEWAY_SIGNAL": 3,
    }


def test_an_application_adds_diagnostic_events_by_inheriting() -> None:
    class Own(GeneralDiagnosticEvent):
        CAMERA_LOST = 100

    assert int(Own.CAMERA_LOST) == 100
    assert isinstance(Own.CAMERA_LOST, GeneralDiagnosticEvent)


def test_the_public_names_are_these() -> None:
    assert uun_iot_core.__all__ == sorted(uun_iot_core.__all__)
    assert set(uun_iot_core.__all__) == {
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
    }


MODULES = [one.name for one in pkgutil.walk_packages(uun_iot_core.__path__, prefix="uun_iot_core.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_names_that_a_module_lists_exist_and_are_sorted(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert listed == sorted(listed)
    assert [one for one in listed if not hasattr(module, one)] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported_first(name: str) -> None:
    with Child.python(f"import {name}; print('fine')") as child:
        assert child.wait() == 0, child.errors
        assert child.lines == ["fine"]


def test_the_import_costs_no_thread_no_handler_and_nothing_outside_the_standard_library() -> None:
    script = """
import importlib.machinery, logging, signal, sys, sysconfig, threading
before = set(sys.modules)
signals = {one: signal.getsignal(one) for one in signal.valid_signals()}
import uun_iot_core
foreign = {"site-packages", "dist-packages"}
for name in set(sys.modules) - before:
    module = sys.modules[name]
    if name.split(".")[0] == "uun_iot_core":
        continue
    file = getattr(module, "__file__", None) or ""
    assert not foreign & set(file.replace("\\\\", "/").split("/")), (name, file)
assert threading.active_count() == 1, threading.enumerate()
assert signals == {one: signal.getsignal(one) for one in signal.valid_signals()}
assert not logging.getLogger().handlers and not logging.getLogger("uun_iot").handlers
heavy = ["requests", "urllib.request", "http.client", "ssl", "asyncio", "multiprocessing"]
for name in [*heavy, "hashlib"]:
    assert name not in set(sys.modules) - before, name
print("fine")
"""
    with Child.python(script) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == ["fine"]


def test_all_loggers_live_below_uun_iot() -> None:
    for name in MODULES:
        logger = getattr(importlib.import_module(name), "logger", None)
        if logger is not None:
            assert logger.name.startswith("uun_iot."), name
