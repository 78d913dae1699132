"""Module ids made from names."""

from __future__ import annotations

from typing import Any

__all__ = ["module_id", "module_id_from_str"]


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
