"""One call: its token, its attempts, what came of them, and what is logged of it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Set, Tuple, Union

from uun_iot_core.forks import watch_forks
from uun_iot_core.logs import get_logger

from .body import Body
from .breaker import Breaker
from .deadline import Deadline
from .errors import CircuitOpen, GatewayStopping, NetworkError, TokenError, protocol_error
from .redact import Redactor
from .reply import Checker, Reply
from .retry import RetryPolicy, retry_after
from .token import Token
from .transport import USER_AGENT, Transport

if TYPE_CHECKING:
    import requests

__all__ = ["Command", "Exchange", "Result"]

logger = get_logger(__name__)

Result = Tuple[
    Optional["requests.Response"], Optional[Union[TokenError, "requests.RequestException"]]
]

# Bytes a second. A call whose body is so big that it cannot be sent in time over a slow link
# gets more time, unless it was given a deadline of its own.
_SLOW_LINK = 16 * 1024
# Warnings of a uuApp that were logged already: a backlog would bring the same one thousands of
# times. No more of them are remembered, since nobody knows what a server sends.
_SAID = 256


@dataclass(frozen=True)
class Command:
    """What is to be sent, and how.

    Args:
        method: ``GET`` or ``POST``.
        uucmd: path of the command.
        url_of: gives its URL.
        body: what it carries.
        check: says what is wrong with its reply.
        retry: when it is repeated.
        deadline: seconds it may take with all that belongs to it; None for the usual one.
        idempotent: whether the server may do it twice.
        headers_of: gives more headers for a content type, where an application has such.
    """

    method: str
    uucmd: str
    url_of: Callable[[str], str]
    body: Body
    check: Checker
    retry: RetryPolicy
    deadline: Optional[float] = None
    idempotent: bool = False
    headers_of: Optional[Callable[[str], Mapping[str, str]]] = None

    def __str__(self) -> str:
        return f"{self.method} {self.uucmd}"


class Exchange:
    """Sends commands of one client.

    Args:
        token: the bearer.
        transport: sends.
        breaker: fails calls at once in an outage.
        redact: hides secrets.
    """

    def __init__(
        self,
        token: Token,
        transport: Transport,
        breaker: Breaker,
        redact: Redactor,
    ) -> None:
        self._token = token
        self._transport = transport
        self._breaker = breaker
        self._redact = redact
        self._said: Set[Any] = set()
        self._said_lock = threading.Lock()
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._said_lock = threading.Lock()

    def send(self, command: Command, log_level: int) -> Result:
        """Send a command.

        Args:
            command: the command.
            log_level: logging level for errors.

        Returns:
            The reply, if there is one, and what went wrong, if anything did.
        """
        return self.guarded(lambda: self._attempts(command), str(command), log_level, command.check)

    def guarded(
        self,
        send: Callable[[], requests.Response],
        label: str,
        log_level: int,
        check: Checker,
    ) -> Result:
        """Call a function that sends; log and return its errors.

        Args:
            send: returns a reply.
            label: names the request in log lines.
            log_level: logging level for errors.
            check: says what is wrong with the reply.

        Returns:
            See `send`.
        """
        import requests

        response: Optional[requests.Response] = None
        exc: Optional[Union[TokenError, requests.RequestException]]
        try:
            self._transport.time_left()
            response = send()
            exc = self._examine(response, check, label)
        except TokenError as error:
            response, exc = None, error
            log_level = self._level(error, log_level)
        except requests.RequestException as error:
            exc = self._redact.exception(error)
            response = exc.response
            log_level = self._level(error, log_level)
        if exc is not None:
            logger.log(log_level, "%s: %s", self._redact(label), self._redact(exc))
        return response, exc

    def forget_said(self) -> None:
        """Log again what is logged once in each stop of the gateway."""
        with self._said_lock:
            self._said = {each for each in self._said if each[0] is not GatewayStopping}

    def _first(self, *what: Any) -> bool:
        """Return whether this is the first time; a sender may meet it at each of its entries."""
        with self._said_lock:
            if what in self._said:
                return False
            if len(self._said) >= _SAID:
                self._said = set()
            self._said.add(what)
            return True

    def _level(self, error: BaseException, log_level: int) -> int:
        """Return the level to log an error at: the same one again only for debugging."""
        cause = error.__cause__ if isinstance(error, TokenError) else error
        if isinstance(cause, GatewayStopping):
            is_first = self._first(GatewayStopping, log_level)
        elif isinstance(error, (CircuitOpen, TokenError)) and error.episode is not None:
            is_first = self._first(error.episode, log_level)
        else:
            return log_level
        return log_level if is_first else min(log_level, logging.DEBUG)

    def _examine(
        self, response: Any, check: Checker, label: str
    ) -> Optional[requests.RequestException]:
        if not isinstance(getattr(response, "status_code", None), int):
            error = f"the sending function returned no requests.Response: {type(response).__name__}"
            return protocol_error(error)
        reply = Reply(response, self._redact)
        exc = check(reply)
        if exc is None:
            level = logging.DEBUG
            warned = tuple(entry.code for entry in reply.warnings())
            if warned and self._first(label, warned):
                level = logging.WARNING
            if logger.isEnabledFor(level):
                text = "%s: done with warnings, %s" if warned else "%s: %s"
                logger.log(level, text, self._redact(label), reply.summary())
        return exc

    # -- attempts

    def _attempts(self, command: Command) -> requests.Response:
        import requests

        policy = command.retry
        deadline = self._transport.deadline(self._seconds(command))
        idempotent = command.idempotent or command.method == "GET"
        attempt = 1
        while True:
            response: Optional[requests.Response] = None
            error: Optional[Exception] = None
            wished: Optional[float]
            try:
                response = self._with_token(command, deadline, idempotent)
                again = policy.repeats_reply(response.status_code, idempotent)
                wished = retry_after(response) if again else None
                what = str(response.status_code)
            except (TokenError, requests.RequestException) as exc:
                error = exc
                again = policy.repeats_failure(exc, idempotent)
                wished = getattr(exc, "retry_in", None)
                what = type(exc).__name__
            if again and attempt < policy.attempts and command.body.repeatable:
                attempt += 1
                pause = policy.pause_before(attempt, wished)
                if pause < self._transport.time_left(deadline):
                    logger.info(
                        "%s: %s; attempt %d of %d is in %.1f s",
                        self._redact(command),
                        what,
                        attempt,
                        policy.attempts,
                        pause,
                    )
                    self._transport.pause(pause)
                    continue
            if error is not None:
                raise error
            assert response is not None  # there is one of the two
            return response

    def _seconds(self, command: Command) -> Optional[float]:
        if command.deadline is not None:
            return command.deadline
        if command.retry.deadline is not None:
            return command.retry.deadline
        return self._transport.deadline().seconds + command.body.size() / _SLOW_LINK

    def _with_token(
        self, command: Command, deadline: Deadline, idempotent: bool
    ) -> requests.Response:
        """Send a command; once more with another token where the server refuses this one."""
        url = command.url_of(command.uucmd)
        self._breaker.check()  # before a token is asked for
        bearer = self._token.bearer(deadline)
        response = self._send(command, url, bearer, deadline, idempotent)
        if self._refuses_token(response):
            response = self._renewed(command, url, bearer, deadline, response, idempotent)
        return response

    def _renewed(
        self,
        command: Command,
        url: str,
        bearer: str,
        deadline: Deadline,
        response: requests.Response,
        idempotent: bool,
    ) -> requests.Response:
        if not command.body.repeatable:
            self._token.forget(bearer)
            return response
        fresh = self._token.renew(bearer, deadline)
        if fresh is None:
            return response
        response = self._send(command, url, fresh, deadline, idempotent)
        self._token.renewed(fresh, not self._refuses_token(response))
        return response

    def _send(
        self, command: Command, url: str, bearer: str, deadline: Deadline, idempotent: bool
    ) -> requests.Response:
        headers = {
            "Content-Type": command.body.content_type,
            "Accept": "application/json, */*;q=0.5",
            "User-Agent": USER_AGENT,
        }
        if command.headers_of is not None:
            own = dict(command.headers_of(command.body.content_type))
            headers.update((key, own[key]) for key in own if key.lower() != "authorization")
        ticket = self._breaker.enter()
        try:
            response = self._transport.request(
                command.method,
                url,
                command.body.content,
                headers,
                bearer,
                deadline=deadline,
                repeatable=command.body.repeatable,
                idempotent=idempotent,
            )
        except BaseException as exc:
            if isinstance(exc, NetworkError) and not self._transport.is_stopping:
                self._breaker.failed(ticket, str(exc))
            else:
                self._breaker.abandoned(ticket)
            raise
        self._breaker.replied(ticket)
        return response

    def _refuses_token(self, response: requests.Response) -> bool:
        if response.status_code != 401:
            return False
        if "Authorization" not in response.request.headers:
            return False  # another host, after a redirect, never saw it
        codes = Reply(response, self._redact).error_map()
        return not any("userIsNotAuthorized" in code for code in codes)
