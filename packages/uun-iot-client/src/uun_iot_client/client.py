"""The client of a uuApp: documented calls over one transport and one token."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Set, Tuple, Union

from uun_iot_core.clock import SYSTEM_CLOCK, Clock
from uun_iot_core.logs import get_logger

from .body import Body, EncoderBody, FormBody, JsonBody, is_encoder
from .errors import CommandError, GatewayStopping, TokenError, protocol_error
from .redact import Redactor
from .reply import Checker, Reply
from .settings import Settings
from .token import Token
from .transport import USER_AGENT, Transport, post

if TYPE_CHECKING:
    import requests
    from requests_toolbelt.multipart.encoder import MultipartEncoder

__all__ = ["Result", "UuAppClient"]

logger = get_logger(__name__)

Result = Tuple[
    Optional["requests.Response"], Optional[Union[TokenError, "requests.RequestException"]]
]


class UuAppClient:
    """Communication with a uuApp, and authentication.

    Keys of the configuration that it reads (see also `uun_iot.Gateway.Config`):

    - ``uuApp``: the server. ``gateway`` (host, or host:port), ``uuAppName``, ``awid``; and
      ``uuCmdList``, which only applications read.
    - ``uuThing``: the device's account. ``uuIdentity``, ``accessCode1``, ``accessCode2``.
    - ``oidcGrantToken``: the token service. ``gateway``, ``uuAppName``, ``awid``, ``uuCmd``,
      perhaps ``clientId`` and ``clientSecret``, and ``tokenPath``: the file that keeps the
      token over restarts (without it, the token is kept in memory only). A relative one
      starts from the directory that is current when the client is made.

    Without one of the three, authentication is disabled, and calls return a `TokenError`.

    Calls may come from any number of threads. They share pooled connections and one token,
    which one thread refreshes while the others use the old one, or wait if it has expired.

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
        clock: measures the life of the token.

    Raises:
        TokenError: ``refresh_token_on_init`` is set and no token could be obtained.
        ValueError: ``token_leeway`` is no number of seconds.
    """

    def __init__(
        self,
        config: Dict[str, Any],
        fn_token_request: Callable[..., requests.Response] = post,
        refresh_token_on_init: bool = True,
        token_leeway: float = 60,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(token_leeway, (int, float)) or not 0 <= token_leeway < math.inf:
            raise ValueError(f"token_leeway must be seconds, 0 or more, got {token_leeway!r}")
        self._settings = Settings(config)
        self._redact = Redactor()
        self._redact.learn(*self._settings.secrets())
        self._transport = Transport(clock, self._redact)
        self._token = Token(
            self._settings, fn_token_request, token_leeway, self._transport, self._redact, clock
        )
        self._said_disabled = False
        self._said_stopping: Set[int] = set()  # the levels it was logged at in this stop
        if refresh_token_on_init:
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
            "Authorization": f"Bearer {self._token.bearer()}",
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
        self, uucmd: str, dto_in: Optional[Dict[str, Any]] = None, log_level: int = 30
    ) -> Result:
        """Send an authenticated GET request, with dtoIn as JSON in its body.

        A reply that is a web page, or announces JSON and holds none, is an error too; other
        types are returned as they are.

        Args:
            uucmd: path of the command, for example ``gateway/heartbeat``.
            dto_in: data to send.
            log_level: logging level for errors.

        Returns:
            ``(response, exc)``. ``response`` is None where there was no HTTP reply; ``exc``
            is None if all went well, else a `requests.RequestException` or a `TokenError`.
        """
        return self._call("GET", uucmd, JsonBody(dto_in), log_level, Reply.check_get)

    def post(
        self,
        uucmd: str,
        dto_in: Optional[Union[Dict[str, Any], MultipartEncoder]] = None,
        log_level: int = 30,
    ) -> Result:
        """Send an authenticated POST request.

        A success is a reply that is a JSON object (or has status 204): with anything else,
        what was posted counts as not taken in. A `MultipartEncoder` cannot rewind, so it is
        sent once, also where the server refuses the token; see `multipart`.

        Args:
            uucmd: path of the command.
            dto_in: data to send.
            log_level: logging level for errors.

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
        return self._call("POST", uucmd, body, log_level, Reply.check_post)

    def multipart(
        self, uucmd: str, dto_in: Optional[Dict[str, Any]] = None, log_level: int = 30
    ) -> Result:
        """Send an authenticated POST request with a multipart form, for binary data.

        Args:
            uucmd: path of the command.
            dto_in: fields of the form: strings, bytes, files open in binary mode, or tuples
                ``(file name, content, content type)``. Files are streamed.
            log_level: logging level for errors.

        Returns:
            ``(response, exc)``, see `post`.

        Raises:
            ValueError: a field is none of these.
        """
        return self._call("POST", uucmd, FormBody(dto_in), log_level, Reply.check_post)

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
        return self._guarded(lambda: custom_send_f(data), name, log_level, Reply.check_custom)

    def close(self) -> None:
        """Close idle connections. A later call opens new ones."""
        self._transport.close()

    def _gateway_stopping(self, grace: float) -> None:
        """Refuse new calls, but those of stop handlers for ``grace`` seconds."""
        self._said_stopping = set()
        self._transport.gateway_stopping(grace)

    def _gateway_stopped(self) -> None:
        """Take calls again."""
        self._transport.gateway_stopped()

    def _call(self, method: str, uucmd: str, body: Body, log_level: int, check: Checker) -> Result:
        return self._guarded(
            lambda: self._exchange(method, uucmd, body), f"{method} {uucmd}", log_level, check
        )

    def _guarded(
        self,
        send: Callable[[], requests.Response],
        label: str,
        log_level: int,
        check: Checker,
    ) -> Result:
        import requests

        response: Optional[requests.Response] = None
        exc: Optional[Union[TokenError, requests.RequestException]]
        try:
            self._transport.time_left()
            response = send()
            exc, summary = self._examine(response, check)
        except TokenError as error:
            response, exc = None, error
            log_level = self._level(error.__cause__, log_level)
        except requests.RequestException as error:
            exc = self._redact.exception(error)
            response = exc.response
            log_level = self._level(error, log_level)
        if exc is not None:
            logger.log(log_level, "%s: %s", self._redact(label), self._redact(exc))
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", self._redact(label), summary)
        return response, exc

    def _level(self, error: Optional[BaseException], log_level: int) -> int:
        """Return the level to log an error at: a sender may meet a stop at each of its entries."""
        if not isinstance(error, GatewayStopping):
            return log_level
        if log_level in self._said_stopping:
            return min(log_level, logging.DEBUG)
        self._said_stopping.add(log_level)
        return log_level

    def _examine(
        self, response: Any, check: Checker
    ) -> Tuple[Optional[requests.RequestException], str]:
        if not isinstance(getattr(response, "status_code", None), int):
            error = f"the sending function returned no requests.Response: {type(response).__name__}"
            return protocol_error(error), ""
        reply = Reply(response, self._redact)
        return check(reply), reply.summary()

    def _exchange(self, method: str, uucmd: str, body: Body) -> requests.Response:
        """Send a command; once more with another token where the server refuses this one."""
        url = self._settings.command_url(uucmd)
        bearer = self._token.bearer()
        response = self._attempt(method, url, body, bearer)
        if not self._refuses_token(response):
            return response
        if not body.repeatable:
            self._token.forget(bearer)
            return response
        fresh = self._token.renew(bearer)
        if fresh is None:
            return response
        response = self._attempt(method, url, body, fresh)
        self._token.renewed(fresh, not self._refuses_token(response))
        return response

    def _attempt(self, method: str, url: str, body: Body, bearer: str) -> requests.Response:
        content, content_type = body.attempt()
        headers = {
            "Content-Type": content_type,
            "Accept": "application/json, */*;q=0.5",
            "User-Agent": USER_AGENT,
        }
        return self._transport.request(method, url, content, headers, bearer)

    def _refuses_token(self, response: requests.Response) -> bool:
        if response.status_code != 401:
            return False
        if "Authorization" not in response.request.headers:
            return False  # another host, after a redirect, never saw it
        codes = Reply(response, self._redact).error_map()
        return not any("userIsNotAuthorized" in code for code in codes)


def _ignoring_http_errors(result: Result) -> requests.Response:
    response, exc = result
    if exc is not None and not isinstance(exc, CommandError):
        raise exc
    assert response is not None  # a CommandError is about a reply
    return response
