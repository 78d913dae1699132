"""Records of what arrived at the sandbox, to be read and waited for."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional

__all__ = ["Records", "Request"]

logger = logging.getLogger("uun_iot.sandbox")

#: bytes of bodies that are kept where the requests are limited: a camera's fill any memory
_MOST_BYTES = 100_000_000


@dataclass(frozen=True)
class Request:
    """One request that came in.

    Args:
        time: wall-clock seconds since 1970, by the sandbox's clock.
        method: ``GET``, ``POST``, …
        path: decoded, without the query.
        command: the uuCmd; None where the path is not of the application.
        headers: by name in lower case, without ``Authorization``.
        dto_in: the input object; None where it was not read or is none. The access codes
            and the client secret of a grant are replaced by their names.
        status: of the reply; None where there was none.
        connection: number of the connection, from 1.
        processed: whether the application accepted it and did what it asks.
        request_id: the ``X-Request-Id`` of the reply.
        faults: kinds of the faults that it met.
        number: of the request, from 1; 0 before the records have it.
        identity: of the gateway that sent it, where its token or access codes prove it.
        address: that it came from.
        size: of its body, in bytes.
    """

    time: float
    method: str
    path: str
    command: Optional[str]
    headers: Mapping[str, str] = field(repr=False)
    dto_in: Optional[Dict[str, Any]] = field(repr=False)
    status: Optional[int]
    connection: int
    processed: bool
    request_id: str
    faults: List[str] = field(default_factory=list)
    number: int = 0
    identity: Optional[str] = None
    address: str = ""
    size: int = 0

    @property
    def answered(self) -> bool:
        """Whether it was processed, and a whole answer that says so went out."""
        return self.processed and self.status == 200 and "half" not in self.faults


class Records:
    """What arrived, in order, with counters; safe under threads.

    Attributes:
        on_request: called with each `Request`, in the thread of its connection, before the
            reply goes out; None for nobody.

    Args:
        limit: how many requests are kept, the latest ones, of 100 MB at most; None for all.

    Raises:
        ValueError: ``limit`` is less than 1.
    """

    def __init__(self, limit: Optional[int] = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"the records keep at least 1 request, got a limit of {limit}")
        self.on_request: Optional[Callable[[Request], object]] = None
        self._changed = threading.Condition()
        self._order = threading.Lock()  # observers see the requests one by one, in order
        self._observers: List[Callable[[Request], object]] = []
        self._told: List[Callable[[], object]] = []
        self._version = 0
        self._number = 0
        self._limit = limit
        self._requests: Deque[Request] = deque()
        self._bytes = 0
        self._connections = 0
        self._handshakes = 0

    @property
    def requests(self) -> List[Request]:
        """All requests so far (a copy)."""
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted."""
        with self._changed:
            return self._connections

    @property
    def handshakes(self) -> int:
        """How many TLS handshakes were completed."""
        with self._changed:
            return self._handshakes

    def received(self, command: str) -> List[Dict[str, Any]]:
        """Return the input objects of a command's processed requests, in order.

        Args:
            command: the uuCmd, for example ``gateway/heartbeat``.
        """
        return [
            {} if request.dto_in is None else request.dto_in
            for request in self.requests
            if request.command == command and request.processed
        ]

    def wait_for(self, predicate: Callable[[], object], timeout: float) -> bool:
        """Wait until something that arrives makes a predicate true.

        Args:
            predicate: called without arguments, now and after each arrival; no lock is held.
            timeout: seconds.

        Returns:
            Whether it became true in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                seen = self._version
            if predicate():
                return True
            if not self._wait_for_change(seen, deadline):
                return bool(predicate())

    def clear(self) -> None:
        """Forget the requests; the counters of connections go on."""
        with self._changed:
            self._requests.clear()
            self._bytes = 0
            self._notify()

    def since(self, number: int) -> List[Request]:
        """Return the requests after the one of a number, of those that are kept.

        Args:
            number: of a request; 0 for all.
        """
        with self._changed:
            found = list(itertools.takewhile(lambda one: one.number > number,
                                             reversed(self._requests)))  # fmt: skip
        return found[::-1]

    def get(self, number: int) -> Optional[Request]:
        """Return the request of a number; None where it is not kept."""
        with self._changed:
            if not self._requests:
                return None
            index = number - self._requests[0].number
            return self._requests[index] if 0 <= index < len(self._requests) else None

    def observe(self, observer: Callable[[Request], object]) -> None:
        """Show each request to a function, first those that are kept, in order.

        Args:
            observer: called in the threads of connections, one at a time, before `wait_for`
                and `on_request` learn of the request; must be quick.
        """
        with self._order:
            for request in self.requests:
                observer(request)
            self._observers.append(observer)

    def tell(self, told: Callable[[], object]) -> None:
        """Call a function after each request, when that can be read here.

        Args:
            told: called as observers are; who looks when an observer is called may be too early.
        """
        with self._order:
            self._told.append(told)

    def add(self, request: Request) -> None:
        """Take in a request, and number it."""
        with self._order:
            self._number += 1
            request = replace(request, number=self._number)
            for observer in self._observers:
                self._show(request, observer)
            with self._changed:
                self._requests.append(request)
                self._bytes += request.size
                while self._too_many():
                    self._bytes -= self._requests.popleft().size
                self._notify()
            for told in self._told:
                told()
        if self.on_request is not None:
            self._show(request, self.on_request)

    def _too_many(self) -> bool:
        kept = len(self._requests)
        if self._limit is None or kept <= 1:
            return False
        return kept > self._limit or self._bytes > _MOST_BYTES

    @staticmethod
    def _show(request: Request, observer: Callable[[Request], object]) -> None:
        try:
            observer(request)
        except Exception:  # an observer's mistake must not change what the client sees
            name = getattr(observer, "__qualname__", "an observer")
            logger.exception("%s failed on %s %s", name, request.method, request.path)

    def add_connection(self) -> int:
        """Count an accepted connection and return its number."""
        with self._changed:
            self._connections += 1
            self._notify()
            return self._connections

    def add_handshake(self) -> None:
        """Count a completed TLS handshake."""
        with self._changed:
            self._handshakes += 1
            self._notify()

    def _wait_for_change(self, seen: int, deadline: float) -> bool:
        with self._changed:
            left = max(deadline - time.monotonic(), 0)
            return self._changed.wait_for(lambda: self._version != seen, left)

    def _notify(self) -> None:
        self._version += 1
        self._changed.notify_all()
