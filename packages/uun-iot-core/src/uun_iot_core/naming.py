"""Module ids made from names."""

from __future__ import annotations

from typing import Any

from .exceptions import ModuleError

__all__ = ["module_id", "module_id_from_str", "module_id_of"]


def module_id_from_str(module_name: str) -> str:
    """Return the module id for a name: its first letter in lower case.

    >>> module_id_from_str("WeatherConditions")
    'weatherConditions'

    Args:
        module_name: usually a class name.
    """
    return module_name[:1].lower() + module_name[1:]


def module_id(module: Any) -> str:
    """Return the module id made from ``module.__name__``.

    Args:
        module: a class (or anything that has a ``__name__``).
    """
    return module_id_from_str(module.__name__)


def module_id_of(module: Any) -> str:
    """Return a module's id: its ``id``, else its class name with the first letter lowered."""
    own = getattr(module, "id", None)
    if own is None:
        return module_id_from_str(type(module).__name__)
    if not isinstance(own, str) or not own:
        raise ModuleError(f"{type(module).__name__}.id must be a non-empty string, got {own!r}")
    return str.__str__(own)  # of an enumeration's member, too
