"""The documented API: every name, parameter, default, value and import path."""

from __future__ import annotations

import enum
import importlib
import inspect
import itertools
import logging
import subprocess
import sys
import threading
from typing import Any, Dict, List, Tuple

import pytest

import uun_iot

NO = inspect.Parameter.empty

#: qualified name -> documented parameters (without self) with their defaults
SIGNATURES: Dict[str, List[Tuple[str, Any]]] = {
    "Gateway.Config": [("gateway_instance", NO), ("config_file", NO)],
    "Gateway.Config.on_tick": [],
    "Gateway.Config.register_callbacks": [("modules", NO)],
    "Gateway.Gateway": [("config_file", None), ("module_init", None), ("event_init", None)],
    "Gateway.Gateway.signal_handler": [
        ("sig", NO),
        ("frame", NO),
        ("additional_cleanup", None),
    ],
    "Gateway.Gateway.start": [],
    "Gateway.Gateway.stop": [],
    "Gateway.ModuleTimer": [("module_instance", NO), ("f", NO), ("period", NO)],
    "UuAppClient.UuAppClient": [
        ("config", NO),
        ("fn_token_request", ...),  # a stand-in for requests.post, looked at below
        ("refresh_token_on_init", True),
        ("token_leeway", 60),
    ],
    "UuAppClient.UuAppClient.custom_request": [
        ("custom_send_f", NO),
        ("dto_in", None),
        ("label", None),
        ("log_level", logging.WARNING),
    ],
    "UuAppClient.UuAppClient.get": [("uucmd", NO), ("dto_in", None), ("log_level", 30)],
    "UuAppClient.UuAppClient.get_auth_headers": [("content_type", "application/json")],
    "UuAppClient.UuAppClient.get_ignore_http_err": [
        ("uucmd", NO),
        ("dto_in", None),
        ("log_level", 30),
    ],
    "UuAppClient.UuAppClient.get_uucmd_url": [("uucmd", NO)],
    "UuAppClient.UuAppClient.is_token_expired": [],
    "UuAppClient.UuAppClient.multipart": [("uucmd", NO), ("dto_in", None), ("log_level", 30)],
    "UuAppClient.UuAppClient.post": [("uucmd", NO), ("dto_in", None), ("log_level", 30)],
    "UuAppClient.UuAppClient.post_ignore_http_err": [
        ("uucmd", NO),
        ("dto_in", None),
        ("log_level", 30),
    ],
    "UuAppClient.UuAppClient.refresh_token": [],
    "UuAppClient.UuCmdSession": [("uuclient", NO), ("uucmd", NO), ("log_level", 30)],
    "UuAppClient.UuCmdSession.get": [("data", None), ("log_level", 30)],
    "UuAppClient.UuCmdSession.post": [("data", None), ("log_level", 30)],
    "UuAppClient.UuCmdSession.update_headers": [],
    "decorators.on": [("outer_args", NO)],
    "utils.LoggingSystemdHandler": [("stream", None)],
    "utils.LoggingSystemdHandler.emit": [("record", NO)],
    "utils.RepeatTimer": [
        ("period", NO),
        ("f", NO),
        ("args", []),
        ("kwargs", {}),
        ("runonstart", True),
    ],
    "utils.RepeatTimer.start": [],
    "utils.RepeatTimer.stop": [("block", True)],
    "utils.Storage": [("storage_id", NO), ("backup_path", NO), ("maxlen", 0)],
    "utils.Storage.append": [("data", NO), ("backup", False)],
    "utils.Storage.empty": [],
    "utils.Storage.is_empty": [],
    "utils.Storage.merge": [("data", NO), ("new_data", True), ("backup", True)],
    "utils.Storage.trim": [],
    "utils.file_save": [("path", NO), ("data", NO)],
    "utils.get_datetime_from_iso_timestamp": [("iso_timestamp", NO)],
    "utils.get_iso_timestamp": [("dt", NO)],
    "utils.module_id": [("module", NO)],
    "utils.module_id_from_str": [("module_name", NO)],
    "modules.Module": [("config", None), ("uucmd", None)],
    "modules.Module._config_manager": [("key", None), ("scope", ...), ("must_exist", True)],
    "modules.Module._c": [("key", None), ("scope", ...), ("must_exist", True)],
    "modules.Module._send_data": [("data", NO), ("usecase", None)],
    "modules.Module._send_storage": [("usecase", None)],
    "modules.Heartbeat": [("uucmd", NO)],
    "modules.BaseHealthCheck": [("gconfig", NO), ("on_stop", True), ("on_update", True)],
    "modules.BaseHealthCheck.notifier": [("mid", NO)],
    "modules.BaseHealthCheck.start_diagnostic": [("mid", NO)],
    "modules.BaseHealthCheck.save_diagnostic": [("mid", NO)],
    "modules.BaseHealthCheck.save_all_diagnostics": [],
    "modules.BaseHealthCheck._act_if_data_not_sent": [
        ("mid", NO),
        ("send_leeway", NO),
        ("now", ...),
    ],
}


def documented(path: str) -> Any:
    module, *names = path.split(".")
    found: Any = importlib.import_module(f"uun_iot.{module}")
    if module in ("Gateway", "UuAppClient"):  # the attribute is the class, the module is here
        found = sys.modules[f"uun_iot.{module}"]
    for name in names:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_documented_signature_holds(path: str) -> None:
    parameters = list(inspect.signature(documented(path)).parameters.values())
    if parameters and parameters[0].name == "self":
        del parameters[0]
    # what was added may only be given by keyword, and never must be
    ours = [one for one in parameters if one.kind is not one.KEYWORD_ONLY]
    for extra in parameters[len(ours) :]:
        assert extra.default is not NO, extra
    expected = SIGNATURES[path]
    assert [one.name for one in ours] == [name for name, _ in expected]
    for parameter, (_, default) in zip(ours, expected):
        if default is not ...:
            assert parameter.default == default
            assert type(parameter.default) is type(default) or isinstance(
                parameter.default, type(default)
            )


def test_the_default_token_request_is_a_function_named_post() -> None:
    default = inspect.signature(uun_iot.UuAppClient).parameters["fn_token_request"].default
    assert default.__name__ == "post"
    assert list(inspect.signature(default).parameters)[0] == "url"


def test_the_default_scope_of_configuration_keys_is_the_module_itself() -> None:
    parameters = inspect.signature(uun_iot.Module._config_manager).parameters
    assert parameters["scope"].default is uun_iot.ConfigScopeEnum.BASED  # as SELF without a base
    assert {one.name for one in uun_iot.ConfigScopeEnum} >= {"GATEWAY", "SELF"}


def test_diagnostic_events_have_the_documented_values() -> None:
    assert {one.name: one.value for one in uun_iot.diagnostic.DiagnosticEvent} == {
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
    assert {one.name: one.value for one in uun_iot.diagnostic.GatewayDiagnosticEvent} == {
        "GATEWAY_START": 1,
        "GATEWAY_STOP": 2,
        "GATEWAY_SIGNAL": 3,
    }
    assert issubclass(uun_iot.diagnostic.GeneralDiagnosticEvent, enum.IntEnum)
    assert issubclass(uun_iot.DiagnosticEvent, uun_iot.diagnostic.GeneralDiagnosticEvent)

    class Own(uun_iot.diagnostic.GeneralDiagnosticEvent):
        DOOR_OPENED = 1

    assert int(Own.DOOR_OPENED) == 1


def test_bases_are_the_documented_ones() -> None:
    import contextlib
    from abc import ABC

    assert issubclass(uun_iot.Gateway, contextlib.AbstractContextManager)
    assert issubclass(uun_iot.Config, uun_iot.typing.IModule)
    assert issubclass(uun_iot.typing.IModule, ABC)
    assert inspect.isabstract(uun_iot.typing.IModule)
    assert issubclass(uun_iot.utils.LoggingSystemdHandler, logging.StreamHandler)
    assert uun_iot.Config.id == "config"
    prefix = {0: "<7>", 10: "<7>", 20: "<6>", 30: "<4>", 40: "<3>", 50: "<2>"}
    assert uun_iot.utils.LoggingSystemdHandler.PREFIX == prefix


def test_errors_form_the_documented_tree() -> None:
    from uun_iot.exceptions import TokenCommandError, TokenError, UnsupportedEvent

    assert issubclass(TokenCommandError, TokenError)
    assert issubclass(UnsupportedEvent, Exception)
    assert issubclass(uun_iot.exceptions.StorageError, uun_iot.exceptions.UunIotError)


@pytest.mark.parametrize("distribution", ["uun_iot_core", "uun_iot_client", "uun_iot_storage"])
def test_every_error_of_a_distribution_can_be_caught_from_here(distribution: str) -> None:
    module = importlib.import_module(distribution)
    errors = {
        name
        for name in module.__all__
        if inspect.isclass(getattr(module, name)) and issubclass(getattr(module, name), Exception)
    }
    assert errors and errors <= set(uun_iot.exceptions.__all__)
    for name in errors:
        assert getattr(uun_iot.exceptions, name) is getattr(module, name)


def test_policies_of_retries_can_be_made_from_here() -> None:
    from uun_iot.UuAppClient import ErrorEntry, RetryPolicy

    assert uun_iot.RetryPolicy is RetryPolicy and RetryPolicy(attempts=2).attempts == 2
    assert ErrorEntry("code", "error").is_error


def test_a_gateway_has_the_documented_attributes(tmp_path: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    gateway = uun_iot.Gateway(str(path))
    assert gateway.config == {"gateway": {}}
    assert isinstance(gateway.runev, threading.Event)
    assert isinstance(gateway.stopev, threading.Event)
    assert isinstance(gateway.uuapp_client, uun_iot.UuAppClient)


IMPORTS = [
    "uun_iot",
    "uun_iot.Gateway",
    "uun_iot.UuAppClient",
    "uun_iot.decorators",
    "uun_iot.diagnostic",
    "uun_iot.exceptions",
    "uun_iot.modules",
    "uun_iot.modules.BaseHealthCheck",
    "uun_iot.modules.Heartbeat",
    "uun_iot.modules.Module",
    "uun_iot.typing",
    "uun_iot.utils",
]

CHECK = """
import inspect
from uun_iot.modules import BaseHealthCheck, ConfigScopeEnum
from uun_iot.modules.Module import ConfigScopeEnum as theirs, Module
from uun_iot.Gateway import Config, Gateway, ModuleTimer
from uun_iot.UuAppClient import UuAppClient, UuCmdSession
from uun_iot import ConfigScopeEnum as ours
import uun_iot
assert inspect.isclass(uun_iot.Gateway) and uun_iot.Gateway is Gateway
assert inspect.isclass(uun_iot.UuAppClient) and uun_iot.UuAppClient is UuAppClient
assert inspect.isclass(uun_iot.Module) and uun_iot.Module is Module
assert uun_iot.modules.Module is Module and uun_iot.modules.BaseHealthCheck is BaseHealthCheck
assert inspect.isclass(uun_iot.modules.Heartbeat)
assert theirs is ours is ConfigScopeEnum
assert uun_iot.on is uun_iot.decorators.on
assert uun_iot.__version__
"""


@pytest.mark.parametrize("first", IMPORTS)
def test_names_are_classes_whatever_is_imported_first(first: str) -> None:
    """And whatever comes second: all orders of the modules that share a name with a class."""
    lines = [f"import {first}"]
    if first == "uun_iot.Gateway":
        shadowing = [name for name in IMPORTS if name.rsplit(".", 1)[-1][0].isupper()]
        lines = [f"import {', '.join(order)}" for order in itertools.permutations(shadowing, 2)]
    code = "\n".join([*lines, CHECK])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


#: a gateway without a uuApp, whose module measures once
STORES_ONE = """
import json, threading
from uun_iot import Gateway, Module, on

class Weather(Module):
    ticked = threading.Event()
    @on("tick")
    def tick(self):
        self._storage.append(1, backup=True)
        self.ticked.set()

config = {"moduleTimers": {"weather": 60}, "moduleBackupStorage": {"weather": "w.json"}}
with open("config.json", "w") as file:
    json.dump({"gateway": config}, file)
with Gateway("config.json", lambda config, uuclient: Weather(config["gateway"])):
    assert Weather.ticked.wait(10)
with open("w.json") as file:
    assert json.load(file) == [1]
"""


def test_importing_and_measuring_works_where_there_is_no_posix(tmp_path: Any) -> None:
    """As on Windows: no flock, no file modes, no fork, few signals."""
    code = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None  # what an import of a module that is not there does
for module, names in {
    os: ("fork", "register_at_fork", "fchmod", "fchown", "getuid", "O_NOFOLLOW", "O_DIRECTORY"),
    signal: ("SIGUSR1", "SIGUSR2", "SIGKILL", "pthread_kill", "pause"),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
    code += STORES_ONE
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_sorted_and_there() -> None:
    for module in (
        uun_iot,
        uun_iot.modules,
        uun_iot.utils,
        uun_iot.exceptions,
        uun_iot.diagnostic,
        importlib.import_module("uun_iot_core"),
        importlib.import_module("uun_iot_client"),
        importlib.import_module("uun_iot_storage"),
    ):
        names = list(module.__all__)
        assert names == sorted(names), module.__name__
        assert all(hasattr(module, name) for name in names)


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    for name in ("uun-iot", "uun-iot-core", "uun-iot-client", "uun-iot-storage"):
        assert version(name) == uun_iot.__version__


def test_a_gateway_without_a_uuapp_never_loads_requests_or_openssl(tmp_path: Any) -> None:
    code = STORES_ONE
    code += """
import sys
large = {"requests", "urllib3", "ssl", "_hashlib", "email.utils", "asyncio", "multiprocessing"}
print(sorted(large & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
