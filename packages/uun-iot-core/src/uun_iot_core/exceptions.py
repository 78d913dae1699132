"""Errors of the core.

::

    UunIotError
     ├── UnsupportedEvent     also a ValueError: an event that does not exist
     ├── ConfigError          also a ValueError: a configuration that cannot be used
     └── ModuleError          also a ValueError: modules that cannot form a gateway

Each message says what is wrong, where (file and JSON path, module, timer) and what to do.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ConfigError", "ModuleError", "UnsupportedEvent", "UunIotError", "json_type"]


def json_type(value: Any) -> str:
    """Name a value's JSON type for an error; not the value, which may be a secret."""
    if isinstance(value, str) and not value:
        return "an empty string"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)


class UunIotError(Exception):
    """Base of the errors that the library defines."""


class UnsupportedEvent(UunIotError, ValueError):
    """`on()` was given an event that does not exist, or a handler is of one."""


class ConfigError(UunIotError, ValueError):
    """The configuration is missing, damaged, or has a value that cannot be used."""


class ModuleError(UunIotError, ValueError):
    """A module has neither id nor handlers, two share an id, or handlers contradict each other."""
