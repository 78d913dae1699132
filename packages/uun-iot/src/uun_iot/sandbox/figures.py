"""Figures that gateways send, as series of points to be drawn."""

from __future__ import annotations

from collections import Counter, deque
from math import isfinite
from typing import Any, Deque, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from uun_iot_core import get_datetime_from_iso_timestamp

from .entries import entries_of
from .records import Request
from .uuapp import HEARTBEAT

__all__ = ["Figures", "Point"]

#: of a heartbeat; its other numbers are counts, which are shown as such
_OF_HEARTBEATS = ("cpuUsage", "ramUsage")
#: points of a series that are kept, series of a gateway and in all: what is drawn stays readable
_MOST_POINTS = 240
_MOST_OF_GATEWAY = 64
_MOST_SERIES = 640


class Point(NamedTuple):
    """A value at a moment.

    Args:
        number: counts the points of all series, from 1.
        time: seconds since 1970: the entry's own timestamp, or when it came.
        value: as it was sent.
    """

    number: int
    time: float
    value: float


#: gateway, command, name of the value
SeriesKey = Tuple[str, str, str]


class Figures:
    """The numbers in heartbeats and entries, the latest of each gateway, command and name."""

    def __init__(self) -> None:
        self._number = 0
        self._series: Dict[SeriesKey, Deque[Point]] = {}
        self._of_gateway: Counter[str] = Counter()

    def add(self, gateway: str, request: Request) -> None:
        """Take in the numbers of a request.

        Args:
            gateway: that sent it.
            request: as recorded.
        """
        for name, time, value in _numbers(request):
            key = (gateway, request.command or "", name)
            series = self._series.get(key)
            if series is None:
                most = self._of_gateway[gateway] >= _MOST_OF_GATEWAY
                if most or len(self._series) >= _MOST_SERIES:
                    continue
                self._of_gateway[gateway] += 1
                series = self._series[key] = deque(maxlen=_MOST_POINTS)
            self._number += 1
            series.append(Point(self._number, time, value))

    @property
    def number(self) -> int:
        """The number of the latest point."""
        return self._number

    def since(self, number: int) -> List[Tuple[SeriesKey, List[Point]]]:
        """Return the points after the one of a number, by series.

        Args:
            number: of a point; 0 for all.
        """
        found = []
        for key, series in self._series.items():
            points = [point for point in series if point.number > number]
            if points:
                found.append((key, points))
        return found


def _numbers(request: Request) -> Iterator[Tuple[str, float, float]]:
    """Yield name, time and value of each number in a request."""
    if not request.processed or request.dto_in is None:
        return
    if request.command == HEARTBEAT:
        for name in _OF_HEARTBEATS:
            value: Any = request.dto_in.get(name)
            if _is_number(value):
                yield name, request.time, float(value)
        return
    for entry in entries_of(request) or _plain(request):
        time = _time_of(entry, request.time)
        for name, value in entry.items():
            if name != "id" and _is_number(value):
                yield name, time, float(value)


def _plain(request: Request) -> List[Mapping[str, Any]]:
    """Return the input object itself, which has no id, of an application's own command."""
    own = request.command is not None and not request.command.startswith(("oidc/", "gateway/"))
    return [request.dto_in] if own and request.dto_in is not None else []


def _time_of(entry: Mapping[str, Any], arrived: float) -> float:
    try:
        return get_datetime_from_iso_timestamp(entry.get("timestamp", "")).timestamp()
    except (ValueError, OverflowError):
        return arrived


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
