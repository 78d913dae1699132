"""What the console shows of a sandbox, gathered as requests arrive."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from .entries import Counts, Ledger, entries_of
from .figures import Figures, Point, SeriesKey
from .records import Request
from .uuapp import GRANT, HEARTBEAT

__all__ = ["GatewaySeen", "Overview", "Span"]

#: seconds of the past that activity and troubles are kept for
HISTORY = 600
_MOST_GATEWAYS = 100


class GatewaySeen:
    """A gateway that has talked to the sandbox: an identity at an address.

    Attributes:
        identity: from its token.
        address: that it came from, last.
        agent: its ``User-Agent``.
        first: when its first request came, seconds since 1970.
        last: when its latest came.
        requests: how many came.
        heartbeat: input object of its latest heartbeat.
        heartbeat_time: when that came.
    """

    def __init__(self, identity: str, request: Request) -> None:
        self.identity = identity
        self.first = request.time
        self.heartbeat: Optional[Dict[str, Any]] = None
        self.heartbeat_time: Optional[float] = None
        self.requests = 0
        self.add(request)

    def add(self, request: Request) -> None:
        """Take note of a request of this gateway."""
        self.requests += 1
        self.last = request.time
        self.address = request.address
        self.agent = request.headers.get("user-agent", "")
        if request.command == HEARTBEAT and request.processed:
            self.heartbeat, self.heartbeat_time = request.dto_in, request.time


class Span(NamedTuple):
    """A time in which something was wrong.

    Args:
        begin: seconds since 1970.
        end: None while it lasts.
        kind: ``down`` (connections refused) or ``faults``.
    """

    begin: float
    end: Optional[float]
    kind: str


class Overview:
    """Gateways, figures, activity and counts; safe under threads.

    Its `add` is an observer for `Records.observe`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gateways: OrderedDict[str, GatewaySeen] = OrderedDict()
        self._others: Set[str] = set()  # beyond those that are shown
        self._figures = Figures()
        self._ledger = Ledger()
        self._activity: OrderedDict[int, List[int]] = OrderedDict()
        self._spans: List[Span] = []
        self._requests = 0
        self._grants = 0

    def add(self, request: Request) -> None:
        """Take in a request."""
        with self._lock:
            self._requests += 1
            self._grants += request.command == GRANT and request.processed
            bucket = self._activity.setdefault(int(request.time), [0, 0])
            bucket[0 if request.answered else 1] += 1
            while len(self._activity) > HISTORY:
                self._activity.popitem(last=False)
            if request.identity is not None:
                self._add_of_gateway(request.identity, request)
            ids = [entry["id"] for entry in entries_of(request)]
            if ids and request.command is not None:
                self._ledger.add(request.command, ids)

    def _add_of_gateway(self, identity: str, request: Request) -> None:
        seen = self._gateways.get(identity)
        if seen is not None:
            seen.add(request)
        elif len(self._gateways) < _MOST_GATEWAYS:
            self._gateways[identity] = GatewaySeen(identity, request)
        else:
            self._others.add(identity)
            return
        self._figures.add(identity, request)

    def note_trouble(self, now: float, down: bool, faults: bool) -> None:
        """Take note of whether something is wrong from now on.

        Args:
            now: seconds since 1970.
            down: whether connections are refused.
            faults: whether there are other faults.
        """
        kind = "down" if down else "faults" if faults else None
        with self._lock:
            if self._spans and self._spans[-1].end is None:
                if self._spans[-1].kind == kind:
                    return
                self._spans[-1] = self._spans[-1]._replace(end=now)
            if kind is not None:
                self._spans.append(Span(now, None, kind))
            self._spans = [one for one in self._spans if one.end is None or one.end > now - HISTORY]

    @property
    def gateways(self) -> List[Dict[str, Any]]:
        """The gateways seen, in the order of their first requests, as plain data."""
        with self._lock:
            return [dict(vars(one)) for one in self._gateways.values()]

    @property
    def more_gateways(self) -> int:
        """How many other gateways were seen: of those, only the requests are shown."""
        with self._lock:
            return len(self._others)

    @property
    def spans(self) -> List[Span]:
        """The troubles of the last minutes."""
        with self._lock:
            return list(self._spans)

    @property
    def counts(self) -> Counts:
        """What became of the entries."""
        with self._lock:
            return self._ledger.counts()

    @property
    def totals(self) -> Dict[str, int]:
        """How many requests came, and how many tokens were granted."""
        with self._lock:
            return {"requests": self._requests, "grants": self._grants}

    def activity_since(self, second: int) -> List[Tuple[int, int, int]]:
        """Return (second, answered well, other) for each second with requests.

        Args:
            second: the first one, whole seconds since 1970.
        """
        with self._lock:
            return [(at, *pair) for at, pair in self._activity.items() if at >= second]  # type: ignore[misc]  # mypy does not see that a pair has two

    def figures_since(self, number: int) -> Tuple[int, List[Tuple[SeriesKey, List[Point]]]]:
        """Return the number of the latest point, and the points after the one of a number."""
        with self._lock:
            return self._figures.number, self._figures.since(number)
