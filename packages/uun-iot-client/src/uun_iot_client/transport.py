"""The one place that talks HTTP: connections, time-outs, redirects, who gets the bearer."""

from __future__ import annotations

import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Tuple

from uun_iot_core._version import __version__
from uun_iot_core.clock import Clock
from uun_iot_core.events.base import EventType
from uun_iot_core.events.calling import current_event
from uun_iot_core.forks import watch_forks

from .body import BodyFailed
from .calls import Call, Calls
from .deadline import Deadline, Timeouts
from .errors import DtoInError, dto_in_error, gateway_stopping
from .failures import ended, failure, network_errors
from .pool import bearer_auth, new_session
from .redact import Redactor
from .servertime import ServerTime

if TYPE_CHECKING:
    import requests

__all__ = ["REPLY_LIMIT", "USER_AGENT", "Transport", "post"]

#: Bytes; bigger replies are errors. A page that never ends must not fill a device's memory.
REPLY_LIMIT = 128 << 20

USER_AGENT = f"uun-iot/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"


def post(url: str, data: Any = None, json: Any = None, **kwargs: Any) -> requests.Response:
    """Send a POST request: `requests.post`, imported when it is first called.

    As the default of ``fn_token_request`` it stands for the client's own transport.

    Args:
        url: where to.
        data: see `requests.post`.
        json: see `requests.post`.
        kwargs: see `requests.post`.
    """
    import requests

    return requests.post(url, data=data, json=json, **kwargs)


class Transport:
    """Sends requests over pooled connections, safely from many threads.

    Args:
        clock: measures deadlines, and the time that is left while the gateway stops.
        redact: hides secrets in the texts of errors.
        timeouts: of each request; its deadline is that of a call that has no other.
        reply_limit: bytes; bigger replies are errors.

    Attributes:
        server_time: learnt from the replies.
    """

    def __init__(
        self,
        clock: Clock,
        redact: Redactor,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # immutable
        reply_limit: int = REPLY_LIMIT,
    ) -> None:
        self._clock = clock
        self._redact = redact
        self._timeouts = timeouts
        self._reply_limit = reply_limit
        self._lock = threading.Lock()
        self._session: Optional[requests.Session] = None
        self._session_pid = 0
        self._grace_ends: Optional[float] = None  # None: the gateway is not stopping
        self._stops = threading.Event()
        self._calls = Calls(clock)
        self.server_time = ServerTime(clock)
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child; the connections are those of its parent."""
        self._lock = threading.Lock()
        stops, self._stops = self._stops, threading.Event()
        if stops.is_set():
            self._stops.set()
        self._calls.after_fork()

    def __repr__(self) -> str:
        return "Transport()"

    # -- a gateway that stops

    def gateway_stopping(self, grace: float) -> None:
        """Refuse new requests; stop handlers may make some for a while.

        Those that have not ended by then are ended by force, and the read time-out later those
        that were under way before.

        Args:
            grace: for how long, seconds.
        """
        self._grace_ends = self._clock.monotonic() + grace
        self._stops.set()
        self._calls.end_later(grace, self._timeouts.read)

    def gateway_stopped(self) -> None:
        """Take requests again, and close idle connections."""
        self._grace_ends = None
        self._stops.clear()
        self._calls.go_on()
        self.close()

    @property
    def is_stopping(self) -> bool:
        """Whether the gateway stops."""
        return self._grace_ends is not None

    def close(self) -> None:
        """Close idle connections; a later request opens new ones."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None and self._session_pid == os.getpid():
            session.close()
        self._calls.rest()

    # -- time

    def deadline(self, seconds: Optional[float] = None) -> Deadline:
        """Return the deadline of a call that begins now.

        Args:
            seconds: that it may take; those of `Timeouts` if None.
        """
        return Deadline(self._clock, self._timeouts.deadline if seconds is None else seconds)

    def time_left(self, deadline: Optional[Deadline] = None) -> float:
        """Return seconds within which this thread's requests must end, infinity if unlimited.

        Args:
            deadline: that of the call.

        Raises:
            requests.ConnectionError: the gateway is stopping; this thread may make none.
        """
        left = math.inf if deadline is None else deadline.left()
        ends = self._grace_ends
        if ends is None:
            return left
        grace = ends - self._clock.monotonic()
        if grace <= 0 or current_event() is not EventType.STOP:
            raise gateway_stopping()
        return min(left, grace)

    def timeouts(self, deadline: Deadline) -> Tuple[float, float]:
        """Return the time-outs (connect, read) of a request begun now, in seconds.

        Args:
            deadline: that of the call.

        Raises:
            requests.ConnectionError: the gateway is stopping.
        """
        left = max(self.time_left(deadline), 0.001)
        return min(self._timeouts.connect, left), min(self._timeouts.read, left)

    def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        Args:
            seconds: for how long.

        Raises:
            requests.ConnectionError: the gateway is stopping; this thread may make no requests.
        """
        # while the gateway stops, only stop handlers get here, for their few seconds
        event = threading.Event() if self._stops.is_set() else self._stops
        event.wait(seconds)
        self.time_left()

    # -- requests

    def _pool(self) -> requests.Session:
        with self._lock:
            # a forked child must not write into the connections of its parent
            if self._session is None or self._session_pid != os.getpid():
                self._redact.guard_logs()
                self._session, self._session_pid = new_session(self._reply_limit), os.getpid()
            return self._session

    def request(
        self,
        method: str,
        url: str,
        body: Callable[[], Any],
        headers: Mapping[str, str],
        bearer: Optional[str] = None,
        *,
        deadline: Optional[Deadline] = None,
        repeatable: bool = True,
        idempotent: bool = False,
    ) -> requests.Response:
        """Send one request and return the reply, whatever its status, its body read.

        Only a GET follows redirects. Where a kept connection turns out to be dead, the request
        is sent once more on a new one, if the server has certainly not received it, or may
        receive it twice.

        Args:
            method: ``GET`` or ``POST``.
            url: where to.
            body: makes what to send, from its beginning: bytes, or an object that `requests`
                reads them from.
            headers: without ``Authorization``.
            bearer: the token, if any.
            deadline: that of the call; that of `Timeouts` if None.
            repeatable: whether ``body`` can be called a second time.
            idempotent: whether the server may receive it twice.

        Raises:
            requests.RequestException: there is no reply.
        """
        import requests

        deadline = self.deadline() if deadline is None else deadline
        arguments = {"headers": dict(headers), "auth": bearer_auth(bearer)}
        response, call, error = self._once(method, url, body, arguments, deadline, fresh=False)
        if _is_stale(call, error) and repeatable and (idempotent or not call.may_have_arrived):
            response, call, error = self._once(method, url, body, arguments, deadline, fresh=True)
        # a reply too: a connection's end may pass for the end of headers or body; but not what had
        # its own time-out at the same moment, and says that there never was a connection
        if call.ended and not isinstance(error, requests.ConnectTimeout):
            error = ended(call, url, deadline.seconds, self._redact)
        if error is not None:
            # here, not within `except`: the causes would be printed with what they hold
            raise error
        assert response is not None  # there is one of the two
        self.server_time.note(response.headers.get("Date"))
        return response

    def _once(
        self,
        method: str,
        url: str,
        body: Callable[[], Any],
        arguments: Mapping[str, Any],
        deadline: Deadline,
        *,
        fresh: bool,
    ) -> Tuple[Optional[requests.Response], Call, Optional[requests.RequestException]]:
        from requests.adapters import TimeoutSauce  # type: ignore[attr-defined]  # the stubs omit it

        left = max(self.time_left(deadline), 0.001)
        timeouts = self._timeouts
        # all together, unlike a pair
        timeout = TimeoutSauce(
            total=None if left == math.inf else left, connect=timeouts.connect, read=timeouts.read
        )
        content = body()
        with self._calls.under_way(
            left, fresh=fresh, send_timeout=min(timeouts.read, left)
        ) as call:
            try:
                response = self._pool().request(
                    method,
                    url,
                    data=content,
                    timeout=timeout,
                    allow_redirects=method == "GET",
                    **arguments,
                )
            except BodyFailed as exc:  # its connection, where half a request stands, is closed
                return None, call, dto_in_error(str(exc))
            # no more than that: a signal handler may have raised, and that is its caller's
            except network_errors() as exc:
                return None, call, failure(exc, call, url, self._redact)
        return response, call, None


def _is_stale(call: Call, error: Optional[Exception]) -> bool:
    import requests

    # a time-out is another thing: the server may be slow, and again take as long
    others = (requests.Timeout, DtoInError)
    return call.was_stale and error is not None and not isinstance(error, others)
