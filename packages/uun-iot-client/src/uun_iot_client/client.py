"""The client of a uuApp: documented calls over one transport and one token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Union

from uun_iot_core.clock import SYSTEM_CLOCK, Clock
from uun_iot_core.logs import get_logger

from .body import Body, EncoderBody, FormBody, JsonBody, is_encoder
from .breaker import BREAKER_FAILURES, Breaker
from .commands import Commands
from .deadline import check_seconds, check_whole, chosen_timeouts
from .errors import CommandError
from .exchange import Command, Exchange, Result
from .redact import Redactor, Secret
from .reply import Checker, Reply
from .retry import ONE_ATTEMPT, RetryPolicy
from .settings import Settings
from .token import Token
from .transport import REPLY_LIMIT, USER_AGENT, Transport, post

if TYPE_CHECKING:
    import requests
    from requests_toolbelt.multipart.encoder import MultipartEncoder

__all__ = ["Result", "UuAppClient"]

logger = get_logger(__name__)


class UuAppClient(Commands):
    """Communication with a uuApp, and authentication.

    Keys of the configuration that it reads (see also `uun_iot.Gateway.Config`):

    - ``uuApp``: the server. ``gateway`` (host, or host:port), ``uuAppName``, ``awid``; and
      ``uuCmdList``, which only applications read.
    - ``uuThing``: the device's account. ``uuIdentity``, ``accessCode1``, ``accessCode2``.
    - ``oidcGrantToken``: the token service. ``gateway``, ``uuAppName``, ``awid``, ``uuCmd``,
      perhaps ``clientId`` and ``clientSecret``, and ``tokenPath``: the file that keeps the
      token over restarts (without it, the token is kept in memory only). A relative one
      starts from the directory that is current when the client is made. Processes may share
      the file: one at a time asks for a token, and the others take it from there.
    - ``uuApp.network``: optional, what the arguments below say, for a client that a gateway
      makes: ``connectTimeout``, ``readTimeout`` and ``deadline`` (seconds), ``attempts`` (of a
      `RetryPolicy`) and ``breakerFailures``. An argument that is given wins.

    Without one of the three, authentication is disabled, and calls return a `TokenError`.

    Calls may come from any number of threads. They share pooled connections and one token,
    which one thread refreshes while the others use the old one, or wait if it has expired. It
    is refreshed ahead of need, too, by one call when about a quarter of its life is left.

    After five calls in a row without a reply the others fail at once with `CircuitOpen`, until
    one that is let through now and then gets a reply, of whatever status, or `reset_breaker`
    is called: who sends thousands of stored entries must not wait for as many time-outs.

    >>> client = UuAppClient(config)  # doctest: +SKIP
    >>> response, exc = client.post("gateway/heartbeat", {"cpuUsage": 5})  # doctest: +SKIP

    Args:
        config: the configuration.
        fn_token_request: sends the token request, called as
            ``f(url, headers=…, json=…, timeout=…)``; by default the client itself sends it.
        refresh_token_on_init: call `refresh_token` at once.
        token_leeway: drift allowed between the clocks of client and server, seconds: a fresh
            token is requested when the present one has less than this left (or, where that
            is its whole life, less than half of it).
        clock: measures the life of the token, deadlines and pauses.
        connect_timeout: seconds until a connection to the server is made, 10 by default.
        read_timeout: seconds until each next part of a reply comes, or of what is sent is
            taken, 30 by default.
        deadline: seconds until a call has ended, with its token, repetitions and pauses; 300
            by default, and a second more for each 16 KiB of a multipart form. Infinity for no
            such bound.
        retry: when calls are repeated. By default there is one attempt, as documented (and one
            more where a kept connection turns out to be dead and the server certainly has not
            received the request, or it is a GET).
        breaker_failures: calls without a reply in a row after which others fail at once, 5 by
            default; 0 for never.
        reply_limit: bytes, 128 MiB by default; a bigger reply is a `ProtocolError`.

    Raises:
        TokenError: ``refresh_token_on_init`` is set and no token could be obtained.
        ValueError: an argument is out of its range.
        ConfigError: so is a value in ``uuApp.network``.
    """

    def __init__(
        self,
        config: Dict[str, Any],
        fn_token_request: Callable[..., requests.Response] = post,
        refresh_token_on_init: bool = True,
        token_leeway: float = 60,
        *,
        clock: Clock = SYSTEM_CLOCK,
        connect_timeout: Optional[float] = None,
        read_timeout: Optional[float] = None,
        deadline: Optional[float] = None,
        retry: Optional[RetryPolicy] = None,
        breaker_failures: Optional[int] = None,
        reply_limit: int = REPLY_LIMIT,
    ) -> None:
        if not isinstance(token_leeway, (int, float)) or not 0 <= token_leeway < math.inf:
            raise ValueError(f"token_leeway must be seconds, 0 or more, got {token_leeway!r}")
        self._settings = Settings(config)
        network = self._settings.network()
        timeouts = chosen_timeouts(network, connect_timeout, read_timeout, deadline)
        if retry is None:
            retry = RetryPolicy(network["attempts"]) if "attempts" in network else ONE_ATTEMPT
        self._retry = retry
        if breaker_failures is None:
            breaker_failures = network.get("breakerFailures", BREAKER_FAILURES)
        check_whole("breaker_failures", breaker_failures, 0)
        check_whole("reply_limit", reply_limit, 1)
        self._breaker = Breaker(clock, breaker_failures, timeouts.connect + 5.0)
        self._redact = Redactor()
        self._redact.learn(*self._settings.secrets())
        self._transport = Transport(clock, self._redact, timeouts, reply_limit)
        self._token = Token(
            self._settings, fn_token_request, token_leeway, self._transport, self._redact, clock
        )
        self._exchange = Exchange(self._token, self._transport, self._breaker, self._redact)
        self._said_disabled = False
        if refresh_token_on_init:
            del config  # whoever shows the variables of this frame would show it
            self.refresh_token()

    def __repr__(self) -> str:
        return f"UuAppClient({self._token!r})"

    def refresh_token(self) -> bool:
        """Refresh the token if it has expired, or is about to.

        Returns:
            True if a new token was obtained. False if that was not needed, or if
            authentication is disabled.

        Raises:
            TokenError: no valid token could be obtained: network, server, or a missing key.
            TokenCommandError: the token service answered with an error.
        """
        missing = self._settings.missing_section()
        if missing is None:
            return self._token.refresh()
        if not self._said_disabled:
            self._said_disabled = True
            logger.info("authentication is disabled: the configuration has no `%s`", missing)
        return False

    def is_token_expired(self) -> bool:
        """Return whether the next call is to refresh the token.

        True without a token, and from ``token_leeway`` before its end on. The token file is
        not read for this.
        """
        return self._token.is_expired()

    def get_auth_headers(self, content_type: str = "application/json") -> Dict[str, str]:
        """Return headers with the bearer, refreshed if it has expired.

        Args:
            content_type: the ``Content-Type`` among them.

        Raises:
            TokenError: there is no valid token.
        """
        return {
            "Authorization": Secret(f"Bearer {self._token.bearer()}"),
            "Content-Type": content_type,
            "User-Agent": USER_AGENT,
        }

    def get_uucmd_url(self, uucmd: str) -> str:
        """Return the URL of a command.

        Args:
            uucmd: its relative path, for example ``gateway/getWeather``.

        Raises:
            TokenError: the configuration lacks a key of ``uuApp``.
        """
        return self._settings.command_url(uucmd)

    def get(
        self,
        uucmd: str,
        dto_in: Optional[Dict[str, Any]] = None,
        log_level: int = 30,
        *,
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
    ) -> Result:
        """Send an authenticated GET request, with dtoIn as JSON in its body.

        A reply that is a web page, or announces JSON and holds none, is an error too; other
        types are returned as they are.

        Args:
            uucmd: path of the command, for example ``gateway/heartbeat``.
            dto_in: data to send.
            log_level: logging level for errors.
            retry: when this call is repeated; the client's policy if None.
            deadline: seconds that this call may take; those of the client if None.

        Returns:
            ``(response, exc)``. ``response`` is None where there was no HTTP reply; ``exc``
            is None if all went well, else a `requests.RequestException` or a `TokenError`,
            each of which is also a `UuAppClientException` that says more.
        """
        body = JsonBody(dto_in)
        return self._call("GET", uucmd, body, log_level, Reply.check_get, retry, deadline)

    def post(
        self,
        uucmd: str,
        dto_in: Optional[Union[Dict[str, Any], MultipartEncoder]] = None,
        log_level: int = 30,
        *,
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
        idempotent: bool = False,
    ) -> Result:
        """Send an authenticated POST request.

        A success is a reply that is a JSON object (or has status 204): with anything else,
        what was posted counts as not taken in. A `MultipartEncoder` cannot rewind, so it is
        sent once, also where the server refuses the token; see `multipart`.

        Args:
            uucmd: path of the command.
            dto_in: data to send.
            log_level: logging level for errors.
            retry: when this call is repeated; the client's policy if None.
            deadline: seconds that this call may take; those of the client if None.
            idempotent: whether the server may do the command twice. Only then is it repeated
                where the server may have received it.

        Returns:
            ``(response, exc)``, see `get`.

        Raises:
            ValueError: ``dto_in`` is neither a dictionary, nor a `MultipartEncoder`, nor None.
        """
        body: Body
        if dto_in is None or isinstance(dto_in, dict):
            body = JsonBody(dto_in)
        elif is_encoder(dto_in):
            body = EncoderBody(dto_in)
        else:
            raise ValueError(
                "dto_in of post() must be a dictionary, a MultipartEncoder or None,"
                f" got {type(dto_in).__name__}"
            )
        check = Reply.check_post
        return self._call("POST", uucmd, body, log_level, check, retry, deadline, idempotent)

    def multipart(
        self,
        uucmd: str,
        dto_in: Optional[Dict[str, Any]] = None,
        log_level: int = 30,
        *,
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
        idempotent: bool = False,
    ) -> Result:
        """Send an authenticated POST request with a multipart form, for binary data.

        Args:
            uucmd: path of the command.
            dto_in: fields of the form: strings, bytes, files open in binary mode, or tuples
                ``(file name, content, content type)``. Files are streamed, each time from
                where they stood, and as long as they are when that begins: one that grows is
                cut there, one that shrinks or cannot be read (it raises an `OSError` or a
                `ValueError`) is a `DtoInError`.
            log_level: logging level for errors.
            retry: see `post`.
            deadline: see `post`.
            idempotent: see `post`.

        Returns:
            ``(response, exc)``, see `post`.

        Raises:
            ValueError: a field is none of these.
        """
        body, check = FormBody(dto_in), Reply.check_post
        return self._call("POST", uucmd, body, log_level, check, retry, deadline, idempotent)

    def get_ignore_http_err(
        self, uucmd: str, dto_in: Optional[Dict[str, Any]] = None, log_level: int = 30
    ) -> requests.Response:
        """Send a GET request and return the reply, also where it says an error.

        Args:
            uucmd: path of the command.
            dto_in: data to send.
            log_level: logging level for errors, those of HTTP included.

        Raises:
            requests.RequestException: there is no reply of a uuApp.
            TokenError: there is no token.
        """
        return _ignoring_http_errors(self.get(uucmd, dto_in, log_level))

    def post_ignore_http_err(
        self,
        uucmd: str,
        dto_in: Optional[Union[Dict[str, Any], MultipartEncoder]] = None,
        log_level: int = 30,
    ) -> requests.Response:
        """Send a POST request and return the reply, also where it says an error.

        Args:
            uucmd: path of the command.
            dto_in: data to send.
            log_level: logging level for errors, those of HTTP included.

        Raises:
            requests.RequestException: there is no reply of a uuApp.
            TokenError: there is no token.
        """
        return _ignoring_http_errors(self.post(uucmd, dto_in, log_level))

    def custom_request(
        self,
        custom_send_f: Callable[[Any], requests.Response],
        dto_in: Optional[object] = None,
        label: Optional[str] = None,
        log_level: int = 30,
    ) -> Result:
        """Call a function that sends a request, and treat its errors as those of `get`.

        Errors of `requests`, HTTP statuses other than success, token errors and errors in
        ``uuAppErrorMap`` are logged and returned. The function gets its headers from
        `get_auth_headers`, best when it is called, and gives its request a time-out: nothing
        else ends it, also not a gateway that stops and waits for it.

        Args:
            custom_send_f: called with ``dto_in``; returns the response.
            dto_in: what to pass; ``{}`` if None.
            label: names the request in log lines.
            log_level: logging level for errors.

        Returns:
            ``(response, exc)``, see `get`.
        """
        data = {} if dto_in is None else dto_in
        name = "custom request" if label is None else label
        return self._exchange.guarded(
            lambda: custom_send_f(data), name, log_level, Reply.check_custom
        )

    def close(self) -> None:
        """Close idle connections. A later call opens new ones."""
        self._transport.close()

    def reset_breaker(self) -> None:
        """Try the next call, however many before it got no reply."""
        self._breaker.reset()

    def _gateway_stopping(self, grace: float) -> None:
        """Refuse new calls, but those of stop handlers for ``grace`` seconds."""
        self._exchange.forget_said()
        self._transport.gateway_stopping(grace)

    def _gateway_stopped(self) -> None:
        """Take calls again."""
        self._transport.gateway_stopped()

    def _gateway_status(self) -> Dict[str, Any]:
        """Tell the gateway's status command how long the token lives."""
        configured = self._settings.missing_section() is None
        return {"token": self._token.status() if configured else None}

    def _call(
        self,
        method: str,
        uucmd: str,
        body: Body,
        log_level: int,
        check: Checker,
        retry: Optional[RetryPolicy],
        deadline: Optional[float],
        idempotent: bool = False,
    ) -> Result:
        if deadline is not None:
            check_seconds("deadline", deadline, math.inf)
        # an application may have paths and headers of its own
        has_headers = type(self).get_auth_headers is not UuAppClient.get_auth_headers
        command = Command(
            method,
            uucmd,
            self.get_uucmd_url,
            body,
            check,
            retry or self._retry,
            deadline,
            idempotent,
            self.get_auth_headers if has_headers else None,
        )
        return self._exchange.send(command, log_level)


def _ignoring_http_errors(result: Result) -> requests.Response:
    response, exc = result
    if exc is not None and not isinstance(exc, CommandError):
        raise exc
    assert response is not None  # a CommandError is about a reply
    return response
