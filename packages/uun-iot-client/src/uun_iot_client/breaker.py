"""The circuit breaker: after a few calls that found no server, others do not wait for it."""

from __future__ import annotations

import threading
from typing import Optional

from uun_iot_core.clock import Clock
from uun_iot_core.forks import watch_forks
from uun_iot_core.logs import get_logger

from .backoff import Backoff
from .errors import circuit_open

__all__ = ["BREAKER_FAILURES", "LONGEST_PROBE", "Breaker"]

logger = get_logger(__name__)

#: network errors in a row after which calls are not tried any more
BREAKER_FAILURES = 5
#: seconds that a probe keeps other calls off at most
LONGEST_PROBE = 10.0
_LONGEST_PAUSE = 30.0


class Breaker:
    """Lets calls through, or not.

    It is closed at first: all calls go through. After some network errors in a row it opens:
    calls fail at once, for 1, 2, 4 … 30 seconds. Then one call is let through as a probe,
    while the others still fail; if it gets a reply, of whatever status, the breaker closes.
    A probe that takes long keeps the others off for a few seconds only: then one more is let
    through, since the command may be slow, and not the network.

    Args:
        clock: measures the pauses.
        failures: network errors in a row that open it; 0 for a breaker that never opens.
        probe: seconds that a probe keeps others off.
    """

    def __init__(
        self, clock: Clock, failures: int = BREAKER_FAILURES, probe: float = LONGEST_PROBE
    ) -> None:
        self._clock = clock
        self._limit = failures
        self._probe_seconds = min(probe, LONGEST_PROBE)
        self._probe_ends = 0.0  # monotonic
        self._pauses = Backoff(clock, longest=_LONGEST_PAUSE)
        self._lock = threading.Lock()
        self._failures = 0
        self._reason = ""
        self._episode: Optional[object] = None  # of this outage; None where it is closed
        self._probe: Optional[object] = None
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the thread that probes is not there."""
        self._lock = threading.Lock()
        self._probe = None

    def __repr__(self) -> str:
        return f"Breaker({'open' if self.is_open else 'closed'})"

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once, but for the probes."""
        return self._episode is not None

    def check(self) -> None:
        """Refuse a call that `enter` would refuse, and take no place: it may wait for a token.

        Raises:
            CircuitOpen: the call is not to be made.
        """
        if self._episode is not None:
            with self._lock:
                self._refuse()

    def enter(self) -> object:
        """Let a call through; return what it passes to one of the methods below.

        Raises:
            CircuitOpen: the call is not to be made.
        """
        ticket = object()
        if self._episode is None:
            return ticket
        with self._lock:
            self._refuse()
            if self._episode is not None:
                self._probe = ticket
                self._probe_ends = self._clock.monotonic() + self._probe_seconds
            return ticket

    def _refuse(self) -> None:
        """Raise where no call is let through now; the caller holds the lock."""
        if self._episode is None:
            return
        left = self._pauses.left()
        is_probed = self._probe is not None and self._clock.monotonic() < self._probe_ends
        if left <= 0 and not is_probed:
            return
        when = f"in {left:.1f} s" if left > 0 else "by another call at this moment"
        raise circuit_open(
            f"not sent: the last {self._failures} calls got no reply ({self._reason});"
            f" the next attempt is made {when}",
            left,
            self._episode,
        )

    def replied(self, ticket: object) -> None:
        """Note that a call got a reply, of whatever status."""
        if self._failures == 0:
            return
        with self._lock:
            if self._episode is not None:
                logger.info("the server replies again")
            self._close()

    def failed(self, ticket: object, reason: str) -> None:
        """Note that a call got no reply.

        Args:
            ticket: what `enter` returned.
            reason: why, in one line without secrets.
        """
        with self._lock:
            is_probe = ticket is self._probe
            if is_probe:
                self._probe = None
            elif self._episode is not None:
                return  # it began before: what it found is known
            self._failures += 1
            self._reason = reason
            if self._limit and self._failures >= self._limit:
                if self._episode is None:
                    self._episode = object()
                    logger.warning(
                        "%d calls in a row got no reply (%s): others fail at once until one does",
                        self._failures,
                        reason,
                    )
                self._pauses.failed()

    def abandoned(self, ticket: object) -> None:
        """Note that a call ended before it could tell whether there is a server."""
        with self._lock:
            if ticket is self._probe:
                self._probe = None

    def reset(self) -> None:
        """Close it: the next call is tried."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._failures, self._episode, self._probe = 0, None, None
        self._pauses.succeeded()
