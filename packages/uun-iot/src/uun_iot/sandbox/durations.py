"""Durations as people write them: ``30 s``, ``1.5 h``, ``1 h 30 min``."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["parse_duration", "show_duration"]

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*", re.ASCII)
_EXPECTED = 'expected for example "30 s", "10 min" or "1 h 30 min", or a number of seconds'


def parse_duration(value: Any) -> float:
    """Return the seconds of a duration.

    >>> parse_duration("1 h 30 min"), parse_duration(2)
    (5400.0, 2.0)

    Args:
        value: a text, or a number of seconds.

    Raises:
        ValueError: it is neither, or not finite, or negative.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value) and value >= 0:
            return float(value)
    elif isinstance(value, str):
        seconds, at = 0.0, 0
        while True:
            match = _PART.match(value, at)
            if match is None:
                break
            seconds += float(match.group(1)) * _UNITS[match.group(2)]
            at = match.end()
        if at and at == len(value) and math.isfinite(seconds):
            return seconds
    raise ValueError(f"{_EXPECTED}, got {value!r}")


def show_duration(seconds: float) -> str:
    """Return a duration in its largest units, at most two of them.

    >>> show_duration(5400), show_duration(0.5)
    ('1 h 30 min', '0.5 s')

    Args:
        seconds: 0 or more.
    """
    if seconds < 60:
        return f"{seconds:g} s"
    parts = []
    left = round(seconds)
    for unit in ("d", "h", "min", "s"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
