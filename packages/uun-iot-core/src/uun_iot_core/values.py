"""Values that come from files and programs: whether they are JSON, and how errors show them."""

from __future__ import annotations

import datetime
import math
from typing import Any, Optional

__all__ = ["json_problem", "shown"]

#: levels; what is nested deeper, or in itself, is refused
_DEEPEST = 100
#: characters of a value that an error shows
_WIDTH = 60


def json_problem(value: Any, path: str = "", *, finite: bool = True) -> Optional[str]:
    """Return the first thing in a value that is not JSON, with its JSON path; None if all is.

    >>> json_problem({"pump": {"pins": [1, {2}]}}, "gateway")
    'gateway.pump.pins[1]: expected JSON (an object, list, string, number, true, false or null), got set'

    Args:
        value: dictionaries, lists, tuples and what is in them.
        path: of the value itself.
        finite: refuse NaN and infinities, too.
    """  # noqa: E501 - the line is what an error says
    return _problem(value, path, finite, 0)


def _problem(value: Any, path: str, finite: bool, depth: int) -> Optional[str]:
    place = f"{path}: " if path else ""
    if depth > _DEEPEST:
        begin = path if len(path) <= _WIDTH else f"{path[: _WIDTH - 1]}…"
        return f"{begin}: it is nested too deeply, or in itself"
    if isinstance(value, dict):
        for key, one in value.items():
            if key is not None and not isinstance(key, (str, int, float)):
                return f"{place}expected strings as keys, got {type(key).__name__}"
            found = _problem(one, f"{path}.{key}" if path else f"{key}", finite, depth + 1)
            if found is not None:
                return found
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            found = _problem(one, f"{path}[{number}]", finite, depth + 1)
            if found is not None:
                return found
    elif isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return f"{place}expected text, got half a character"
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            return f"{place}expected a finite number, got {value}"
    elif value is not None and not isinstance(value, int):
        return (
            f"{place}expected JSON (an object, list, string, number, true, false or null), "
            f"got {type(value).__name__}"
        )
    return None


def shown(value: Any) -> str:
    """Return how an error shows a value: as its author wrote it, and not too much of it.

    Args:
        value: no secret.
    """
    if isinstance(value, (datetime.date, datetime.time)):  # TOML has them without quotes
        return f"the {'time' if isinstance(value, datetime.time) else 'date'} {value}"
    try:
        text = repr(value)
    except ValueError:  # an integer of too many digits
        return "a number of too many digits"
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
