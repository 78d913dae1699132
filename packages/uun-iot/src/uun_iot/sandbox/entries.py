"""Entries within requests, told apart by their ids: what came, what came twice, what lacks."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Dict, Iterable, List, NamedTuple, Set, Tuple

from .records import Request
from .uuapp import GET_CONFIGURATION, GRANT, HEARTBEAT

__all__ = ["Counts", "Ledger", "entries_of"]

_OWN = (None, GRANT, HEARTBEAT, GET_CONFIGURATION)
_NUMBERED = re.compile(r"(.*?)(\d{1,15})", re.DOTALL | re.ASCII)
#: ids without a number, and series, that are remembered; later ones count as new
_MOST_NAMES = 200_000


def entries_of(request: Request, key: str = "id") -> List[Dict[str, Any]]:
    """Return the entries that a request delivered.

    An entry is the input object where it has an id, else each object with an id in a list
    that is a value of the input object. What the application did not accept delivers none,
    nor do heartbeats, grants and questions for the configuration.

    Args:
        request: as recorded.
        key: of the id, which is a string or an integer.
    """
    dto_in = request.dto_in
    if not request.processed or request.command in _OWN or dto_in is None:
        return []
    if _has_id(dto_in, key):
        return [dto_in]
    lists = (value for value in dto_in.values() if isinstance(value, list))
    return [one for each in lists for one in each if isinstance(one, dict) and _has_id(one, key)]


def _has_id(entry: Dict[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), (str, int)) and not isinstance(entry[key], bool)


class Counts(NamedTuple):
    """What became of entries.

    Args:
        delivered: different entries that came.
        duplicated: deliveries of an entry that had come already.
        missing: numbers that lack between the first and the last that came: lost, or still
            on their way. Only ids that end in a counting number can lack.
    """

    delivered: int = 0
    duplicated: int = 0
    missing: int = 0


class _Numbers:
    """A set of whole numbers as ranges: small however many come, where they come in order."""

    def __init__(self) -> None:
        self._begins: List[int] = []
        self._ends: List[int] = []  # the last number of each range
        self.count = 0

    def add(self, number: int) -> bool:
        """Take in a number; return whether it is new."""
        at = bisect_right(self._begins, number)
        if at and number <= self._ends[at - 1]:
            return False
        self.count += 1
        after = at and self._ends[at - 1] == number - 1
        before = at < len(self._begins) and self._begins[at] == number + 1
        if after and before:
            self._ends[at - 1] = self._ends.pop(at)
            self._begins.pop(at)
        elif after:
            self._ends[at - 1] = number
        elif before:
            self._begins[at] = number
        else:
            self._begins.insert(at, number)
            self._ends.insert(at, number)
        return True

    @property
    def missing(self) -> int:
        return self._ends[-1] - self._begins[0] + 1 - self.count if self.count else 0


class Ledger:
    """Counts entries by their ids as they come.

    An id that ends in digits, ``"3f2a-17"`` say, is the 17th of the series ``3f2a-``; an
    integer is one of a series without a name. Each command counts for itself.
    """

    def __init__(self) -> None:
        self._series: Dict[Tuple[str, str], _Numbers] = {}
        self._names: Set[Tuple[str, str]] = set()
        # as sums, since UUIDs make a series each, and `counts` is asked a few times in a second
        self._delivered = 0
        self._duplicated = 0
        self._missing = 0

    def add(self, command: str, ids: Iterable[Any]) -> None:
        """Take in delivered entries.

        Args:
            command: the uuCmd that they came with.
            ids: strings or integers.
        """
        for one in ids:
            match = _NUMBERED.fullmatch(str(one))
            if match is None:
                new = (command, str(one)) not in self._names
                if new and len(self._names) < _MOST_NAMES:
                    self._names.add((command, str(one)))
            else:
                new = self._add_numbered((command, match.group(1)), int(match.group(2)))
            self._delivered += new
            self._duplicated += not new

    def _add_numbered(self, key: Tuple[str, str], number: int) -> bool:
        """Take in an entry of a series; return whether it is new."""
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= _MOST_NAMES:  # UUIDs, most likely, of a long run
                return True
            series = self._series[key] = _Numbers()
        before = series.missing
        new = series.add(number)
        self._missing += series.missing - before
        return new

    def counts(self) -> Counts:
        """Return the counts so far."""
        return Counts(self._delivered, self._duplicated, self._missing)
