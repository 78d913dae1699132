"""The documented names, parameters, their order and defaults."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from typing import Any, Callable, List, Tuple

import pytest

import uun_iot_core.exceptions
import uun_iot_core.files
import uun_iot_core.typing
import uun_iot_storage
from uun_iot_storage import ConfigScopeEnum, Module, Storage, StorageError, file_save

REQUIRED = inspect.Parameter.empty
CONFIG_MANAGER = [
    ("self", REQUIRED),
    ("key", None),
    ("scope", ConfigScopeEnum.BASED),
    ("must_exist", True),
]


def parameters(function: Callable[..., Any]) -> List[Tuple[str, Any]]:
    """Return the positional parameters with their defaults; others must be optional."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            assert parameter.default is not REQUIRED
        else:
            assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            found.append((parameter.name, parameter.default))
    return found


def test_the_package_exports_a_sorted_list_of_names() -> None:
    assert uun_iot_storage.__all__ == sorted(uun_iot_storage.__all__)
    assert set(uun_iot_storage.__all__) >= {
        "ConfigScopeEnum",
        "Module",
        "Storage",
        "StorageError",
        "file_save",
    }
    for name in uun_iot_storage.__all__:
        assert hasattr(uun_iot_storage, name)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Storage, [("storage_id", REQUIRED), ("backup_path", REQUIRED), ("maxlen", 0)]),
        (Storage.append, [("self", REQUIRED), ("data", REQUIRED), ("backup", False)]),
        (
            Storage.merge,
            [("self", REQUIRED), ("data", REQUIRED), ("new_data", True), ("backup", True)],
        ),
        (Storage.empty, [("self", REQUIRED)]),
        (Storage.is_empty, [("self", REQUIRED)]),
        (Storage.trim, [("self", REQUIRED)]),
        (Storage.close, [("self", REQUIRED)]),
        (Storage.take, [("self", REQUIRED), ("limit", None)]),
        (
            Storage.acknowledge,
            [("self", REQUIRED), ("batch", REQUIRED), ("failed", REQUIRED)],
        ),
        (Module, [("config", None), ("uucmd", None)]),
        (
            Module._config_manager,
            CONFIG_MANAGER,
        ),
        (Module._c, CONFIG_MANAGER),
        (Module._send_data, [("self", REQUIRED), ("data", REQUIRED), ("usecase", None)]),
        (Module._send_storage, [("self", REQUIRED), ("usecase", None)]),
        (file_save, [("path", REQUIRED), ("data", REQUIRED)]),
    ],
)
def test_signatures_are_as_documented(
    function: Callable[..., Any], expected: List[Tuple[str, Any]]
) -> None:
    assert parameters(function) == expected


def test_types_are_as_documented() -> None:
    storage = Storage("s", None)
    assert isinstance(storage.write_lock, type(threading.Lock()))
    assert isinstance(type(storage).data, property)
    assert type(storage.data) is list
    assert issubclass(StorageError, uun_iot_core.exceptions.UunIotError)
    assert issubclass(Module, uun_iot_core.typing.IModule)
    assert file_save is uun_iot_core.files.file_save
    assert {scope.name for scope in ConfigScopeEnum} == {"GATEWAY", "SELF", "BASED"}
    assert ConfigScopeEnum["MODULE"] is ConfigScopeEnum.SELF


def test_importing_starts_no_thread_and_needs_the_standard_library_only() -> None:
    script = (
        "import os, sys, threading\n"
        "calls = []\n"
        "os.register_at_fork = lambda **hooks: calls.append(hooks)\n"
        "import uun_iot_storage\n"
        "ours = [f for hooks in calls for f in hooks.values() if 'uun' in str(f.__module__)]\n"
        "assert not ours and threading.active_count() == 1\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "assert not tops & {'requests', 'urllib3', 'psutil', 'uun_iot', 'uun_iot_client'}\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
