"""The one place that talks HTTP: connections, time-outs, redirects, who gets the bearer."""

from __future__ import annotations

import os
import ssl
import sys
import threading
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Type
from urllib.parse import urlsplit

from uun_iot_core._version import __version__
from uun_iot_core.clock import Clock
from uun_iot_core.events.base import EventType, current_event

from .calls import Calls, tracked
from .errors import gateway_stopping
from .redact import Redactor

if TYPE_CHECKING:
    import requests

__all__ = ["CONNECT_TIMEOUT", "READ_TIMEOUT", "USER_AGENT", "Transport", "post"]

#: Seconds to wait for a connection, and for each part of a reply.
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0

USER_AGENT = f"uun-iot/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"

_REDIRECTS = 5
# Connections kept to one host; more than this may be open at a time, and are closed after use.
_POOL_SIZE = 32
_CERT_NOT_YET_VALID, _CERT_EXPIRED = 9, 10  # X509_V_ERR_* of OpenSSL


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


def _origin(url: str) -> Tuple[str, Optional[str], int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


@lru_cache(maxsize=None)
def _session_class() -> Type[requests.Session]:
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from requests.adapters import BaseAdapter, HTTPAdapter

    def track(manager: Any) -> None:
        classes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {**classes, "https": tracked(classes["https"])}

    class TrackedAdapter(HTTPAdapter):
        """Its connections, also those by a proxy, know the call that uses them."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            track(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **proxy_kwargs)
            if is_new:
                track(manager)
            return manager

    class PooledSession(requests.Session):
        """HTTPS only, no cookies, no .netrc, and the bearer stays with its host."""

        def __init__(self) -> None:
            super().__init__()
            self.adapters.clear()
            self.mount(
                "https://",
                TrackedAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE, max_retries=0),
            )
            self.max_redirects = _REDIRECTS
            # a jar that took cookies in would be shared by all threads
            self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

        def get_adapter(self, url: Any) -> BaseAdapter:
            if not str(url).lower().startswith("https://"):
                raise requests.exceptions.InvalidSchema(
                    "only HTTPS is spoken; a request, or a redirect, led to another scheme"
                )
            return super().get_adapter(url)

        def rebuild_auth(self, prepared_request: Any, response: requests.Response) -> None:
            # stricter than requests (it follows to a subdomain's port), and without .netrc
            if _origin(str(response.request.url)) != _origin(prepared_request.url):
                prepared_request.headers.pop("Authorization", None)

    return PooledSession


@lru_cache(maxsize=None)
def _auth_class() -> Type[Any]:
    from requests.auth import AuthBase

    class Bearer(AuthBase):
        """Sets the bearer, or none; being there, it keeps .netrc and the URL from setting one."""

        def __init__(self, token: Optional[str]) -> None:
            self._token = token

        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            if self._token is not None:
                request.headers["Authorization"] = f"Bearer {self._token}"
            return request

    return Bearer


class Transport:
    """Sends requests over pooled connections, safely from many threads.

    Args:
        clock: measures the time that is left while the gateway stops.
        redact: hides secrets in the texts of errors.
    """

    def __init__(self, clock: Clock, redact: Redactor) -> None:
        self._clock = clock
        self._redact = redact
        self._lock = threading.Lock()
        self._session: Optional[requests.Session] = None
        self._session_pid = 0
        self._grace_ends: Optional[float] = None  # None: the gateway is not stopping
        self._calls = Calls()

    def __repr__(self) -> str:
        return "Transport()"

    def gateway_stopping(self, grace: float) -> None:
        """Refuse new requests; stop handlers may make some for a while.

        Those that have not ended by then are ended by force, and `READ_TIMEOUT` later those
        that were under way before.

        Args:
            grace: for how long, seconds.
        """
        self._grace_ends = self._clock.monotonic() + grace
        self._calls.end_later(grace, READ_TIMEOUT)

    def gateway_stopped(self) -> None:
        """Take requests again, and close idle connections."""
        self._grace_ends = None
        self._calls.go_on()
        self.close()

    def close(self) -> None:
        """Close idle connections; a later request opens new ones."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None and self._session_pid == os.getpid():
            session.close()

    def time_left(self) -> Optional[float]:
        """Return seconds within which this thread's requests must end, None if unlimited.

        Raises:
            requests.ConnectionError: the gateway is stopping; this thread may make none.
        """
        ends = self._grace_ends
        if ends is None:
            return None
        left = ends - self._clock.monotonic()
        if left <= 0 or current_event() is not EventType.STOP:
            raise gateway_stopping()
        return left

    def timeouts(self) -> Tuple[float, float]:
        """Return the time-outs (connect, read) of a request begun now, in seconds.

        Raises:
            requests.ConnectionError: the gateway is stopping.
        """
        left = self.time_left()
        if left is None:
            return CONNECT_TIMEOUT, READ_TIMEOUT
        return min(CONNECT_TIMEOUT, left), min(READ_TIMEOUT, left)

    def _timeout(self) -> Any:
        left = self.time_left()
        if left is None:
            return CONNECT_TIMEOUT, READ_TIMEOUT
        from requests.adapters import TimeoutSauce  # type: ignore[attr-defined]  # the stubs omit it

        # both together, unlike a pair
        return TimeoutSauce(total=left, connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)

    def _pool(self) -> requests.Session:
        with self._lock:
            # a forked child must not write into the connections of its parent
            if self._session is None or self._session_pid != os.getpid():
                self._session, self._session_pid = _session_class()(), os.getpid()
            return self._session

    def request(
        self,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str],
        bearer: Optional[str] = None,
    ) -> requests.Response:
        """Send one request and return the reply, whatever its status, its body read.

        Only a GET follows redirects.

        Args:
            method: ``GET`` or ``POST``.
            url: where to.
            body: bytes, or an object that `requests` reads them from.
            headers: without ``Authorization``.
            bearer: the token, if any.

        Raises:
            requests.RequestException: there is no reply.
        """
        timeout = self._timeout()
        failure: Optional[requests.RequestException] = None
        with self._calls.under_way() as call:
            try:
                response = self._pool().request(
                    method,
                    url,
                    data=body,
                    headers=dict(headers),
                    auth=_auth_class()(bearer),
                    timeout=timeout,
                    allow_redirects=method == "GET",
                )
            # requests lets errors of ssl, urllib3 and of bad redirects through as they are
            except Exception as exc:
                failure = self._failure(exc, url)
        if call.ended:  # a reply too: a connection's end may pass for the end of headers or body
            failure = self._ended(url)
        if failure is None:
            return response
        # here, not within `except`: the causes would be printed with what they hold
        raise failure

    def _ended(self, url: str) -> requests.RequestException:
        import requests

        return requests.ConnectionError(
            self._redact(
                f"{urlsplit(url).netloc}: ConnectionError: the request was ended because the"
                " gateway stops, and its reply had not come in time"
            )
        )

    def _failure(self, exc: Exception, url: str) -> requests.RequestException:
        """Return an error of the same type that says what happened, in one line."""
        import requests

        if isinstance(exc, requests.RequestException):
            cls = type(exc)
        elif isinstance(exc, ssl.SSLError):
            cls = requests.exceptions.SSLError
        elif isinstance(exc, OSError):
            cls = requests.ConnectionError
        else:
            cls = requests.RequestException
        where = urlsplit(url).netloc
        return cls(self._redact(f"{where}: {cls.__name__}: {_reason(exc)}"))


def _root(exc: BaseException) -> BaseException:
    """Return what is at the bottom of an error: mostly the `OSError` of a socket."""
    seen = {id(exc)}
    while True:
        # not `__context__`: that may be what the caller was handling
        held = (getattr(exc, "reason", None), *exc.args, exc.__cause__)
        inner = [each for each in held if isinstance(each, BaseException) and id(each) not in seen]
        if not inner:
            return exc
        exc = inner[0]
        seen.add(id(exc))


def _reason(exc: BaseException) -> str:
    root = _root(exc)
    if isinstance(root, ssl.SSLCertVerificationError):
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if root.verify_code == _CERT_NOT_YET_VALID:
            return (
                f"the server's certificate is not yet valid by this device's date {now}:"
                " is its clock set?"
            )
        if root.verify_code == _CERT_EXPIRED:
            return f"the server's certificate has expired by this device's date {now}"
        return f"the server's certificate is not accepted: {root.verify_message}"
    if isinstance(root, OSError):
        return str(root) or type(root).__name__
    return type(root).__name__  # parsers of HTTP quote what they read
