"""Durations as people write them: ``30 s``, ``1.5 h``, ``1 h 30 min``."""

from __future__ import annotations

import math
import re
from typing import Any, Optional

from uun_iot_core.values import shown

__all__ = ["HOUR", "YEAR", "parse_duration", "show_duration"]

HOUR = 3600.0
YEAR = 366 * 86400.0

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*", re.ASCII)
_EXPECTED = 'expected for example "30 s", "10 min" or "1 h 30 min", or a number of seconds'


def parse_duration(value: Any, most: float = YEAR) -> float:
    """Return the seconds of a duration.

    >>> parse_duration("1 h 30 min"), parse_duration(2)
    (5400.0, 2.0)

    Args:
        value: a text, or a number of seconds.
        most: how many seconds it may be.

    Raises:
        ValueError: it is neither, or negative, or longer.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"{_EXPECTED}, got {shown(value)}")
    if seconds > most:
        raise ValueError(f"expected at most {show_duration(most)}, got {shown(value)}")
    return seconds


def _seconds(value: Any) -> Optional[float]:
    """Return the seconds of a duration, infinity where they are beyond counting."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) and value >= 0 else None
        except OverflowError:  # an integer beyond any float
            return math.inf if value > 0 else None
    if not isinstance(value, str):
        return None
    seconds, at = 0.0, 0
    while True:
        match = _PART.match(value, at)
        if match is None:
            break
        seconds += float(match.group(1)) * _UNITS[match.group(2)]
        at = match.end()
    return seconds if at and at == len(value) else None


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
