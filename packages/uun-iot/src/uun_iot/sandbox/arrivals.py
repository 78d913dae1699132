"""Reading what arrived at a sandbox."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from .entries import entries_of
from .records import Records, Request
from .uuapp import GRANT

__all__ = ["Arrivals"]


class Arrivals:
    """What arrived, as `Sandbox` shows it.

    Attributes:
        records: where it is kept.
    """

    records: Records

    @property
    def requests(self) -> List[Request]:
        """All requests so far (a copy)."""
        return self.records.requests

    @property
    def grants(self) -> int:
        """How many tokens were granted."""
        return len(self.received(GRANT))

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted."""
        return self.records.connections

    @property
    def handshakes(self) -> int:
        """How many TLS handshakes were completed."""
        return self.records.handshakes

    @property
    def on_request(self) -> Optional[Callable[[Request], object]]:
        """Called with each request, in its connection's thread, before the reply goes out."""
        return self.records.on_request

    @on_request.setter
    def on_request(self, callback: Optional[Callable[[Request], object]]) -> None:
        self.records.on_request = callback

    def received(self, command: str) -> List[Dict[str, Any]]:
        """Return the input objects of a command's processed requests, in order.

        Args:
            command: the uuCmd, for example ``gateway/heartbeat``.
        """
        return self.records.received(command)

    def entries(self, command: Optional[str] = None, key: str = "id") -> Dict[Any, List[Any]]:
        """Return what was delivered, by the id of the entry: each delivery, in order.

        Args:
            command: only those of this uuCmd; None for all.
            key: of the id; see `entries_of` on what an entry is.
        """
        found: Dict[Any, List[Any]] = {}
        for request in self.requests:
            if command in (None, request.command):
                for entry in entries_of(request, key):
                    found.setdefault(entry[key], []).append(entry)
        return found

    def wait_for(self, predicate: Callable[[], object], timeout: float = 10.0) -> bool:
        """Wait until something that arrives makes a predicate true.

        Args:
            predicate: called without arguments, now and after each arrival.
            timeout: seconds.

        Returns:
            Whether it became true in time.
        """
        return self.records.wait_for(predicate, timeout)
