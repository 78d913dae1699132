"""The grant: one request for a token, and what its reply must hold."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Type

from .deadline import Deadline
from .errors import TokenCommandError, TokenError, TokenServiceUnreachable
from .held import is_usable, number
from .reply import Reply
from .retry import retry_after
from .transport import USER_AGENT, post

if TYPE_CHECKING:
    import requests

    from .redact import Redactor
    from .transport import Transport

__all__ = ["Grant"]

_REMEDIES = {
    "identityNotAuthenticated": "check `uuThing.accessCode1` and `uuThing.accessCode2`",
    "unsupportedCredentials": (
        "the account asks for a second factor; `uuThing` needs one that access codes alone open"
    ),
    "unexpectedError": "it answers so to damaged access codes: check those of `uuThing`",
    "invalidDtoIn": "check `uuThing` and `oidcGrantToken` in the configuration",
}


# A refusal for one of these is a matter of the configuration, whatever its status says.
_PERMANENT = frozenset(_REMEDIES)
_PERMANENT_STATUSES = frozenset({400, 401})
_LONGEST_RETRY_AFTER = 900.0  # seconds


class Grant:
    """Asks the token service.

    Args:
        send: called as ``send(url, headers=…, json=…, timeout=…)``; `post` means the transport.
        transport: sends, and knows the time-outs.
        redact: is told each token.
    """

    def __init__(
        self,
        send: Callable[..., requests.Response],
        transport: Transport,
        redact: Redactor,
    ) -> None:
        self._send = send
        self._transport = transport
        self._redact = redact

    def request(self, url: str, body: Dict[str, Any], deadline: Deadline) -> Dict[str, Any]:
        """Return a reply with a usable ``id_token`` and a good ``expires_in``.

        Args:
            url: the command of the token service.
            body: the input, with its secrets.
            deadline: that of the call.

        Raises:
            TokenServiceUnreachable: no reply came.
            TokenCommandError: the token service said an error.
            TokenError: the reply was no token.
        """
        return self._read(self._ask(url, body, deadline))

    def _ask(self, url: str, body: Dict[str, Any], deadline: Deadline) -> requests.Response:
        import requests

        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }
        cause: Optional[Exception]
        answered: Optional[requests.Response] = None
        kind: Type[TokenError] = TokenServiceUnreachable
        try:
            if _is_usual(self._send):
                return self._transport.request(
                    "POST",
                    url,
                    lambda: json.dumps(body).encode("utf-8"),
                    headers,
                    deadline=deadline,
                    idempotent=True,
                )
            timeout = self._transport.timeouts(deadline)
            return self._send(url, headers=headers, json=body, timeout=timeout)
        except requests.RequestException as exc:
            answered = exc.response
            _strip(exc, tracebacks=True)
            cause = self._redact.exception(exc)
            _strip(cause)
            text = f"the token service cannot be reached: {self._redact(cause)}"
        except Exception as exc:  # the user's function may raise anything
            if _is_usual(self._send):
                raise  # by a signal handler: its caller's
            _strip(exc)
            cause = exc if self._redact.is_clean(exc) else None
            kind = TokenError
            text = f"fn_token_request failed: {type(exc).__name__}: {self._redact(exc)}"
        if isinstance(answered, requests.Response) and answered.status_code >= 300:
            return answered  # `raise_for_status`: it is judged as if it had been returned
        raise kind(text) from cause

    def _read(self, response: requests.Response) -> Dict[str, Any]:
        if not isinstance(getattr(response, "status_code", None), int):
            raise TokenError(
                f"fn_token_request must return a requests.Response, got {type(response).__name__}"
            )
        reply = Reply(response, self._redact)
        problem = self._problem(reply)
        if problem is not None:
            raise problem  # here, where no local variable shows what came
        content: Dict[str, Any] = reply.json()[1]
        return content

    def _problem(self, reply: Reply) -> Optional[TokenError]:
        """Return why a reply is no token that can be used, None if it is one."""
        _, content = reply.json()
        if isinstance(content, dict):
            self._redact.learn_token(content.get("id_token"), content.get("access_token"))
        errors = reply.error_map()
        if reply.status >= 400 or "error" in errors.values():
            refused = TokenCommandError(
                f"the token service refused, {reply.summary()}: {_remedy(reply.status, errors)}",
                reply.status,
                errors,
                permanent=_is_permanent(reply.status, errors),
            )
            refused.retry_in = min(retry_after(reply.response) or 0.0, _LONGEST_RETRY_AFTER)
            return refused
        if not reply.succeeded or not isinstance(content, dict):
            return TokenError(
                f"the reply of the token service is no token ({reply.summary()},"
                f" {reply.content_type or 'unknown type'}, no JSON object):"
                " check `oidcGrantToken` in the configuration; is there a login page between?"
            )
        if not is_usable(content.get("id_token")):
            return TokenError(
                "the reply of the token service is no token:"
                " `id_token` must be a string of printable characters, not empty"
            )
        lifetime = number(content.get("expires_in"))
        if lifetime is None or lifetime <= 0:
            return TokenError(
                "the reply of the token service is no token:"
                " `expires_in` must be a number of seconds over 0"
            )
        return None


def _is_usual(send: Callable[..., requests.Response]) -> bool:
    """Return whether a function is the default; `requests.post` itself follows redirects."""
    api = sys.modules.get("requests.api")
    return send is post or (api is not None and send is api.post)


def _strip(exc: BaseException, *, tracebacks: bool = False) -> None:
    """Take requests, whose bodies hold the access codes, from an exception and its causes.

    Args:
        exc: the exception.
        tracebacks: whether to take these, too: there is a body in many a frame of requests.
    """
    seen = set()
    left: List[Optional[BaseException]] = [exc]
    while left:
        inner = left.pop()
        if inner is None or id(inner) in seen:
            continue
        seen.add(id(inner))
        for name in ("request", "response"):
            if getattr(inner, name, None) is not None:
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(inner, name, None)
        if tracebacks:
            inner.__traceback__ = None
        left += [inner.__cause__, inner.__context__]


def _is_permanent(status: int, codes: Dict[str, str]) -> bool:
    known = any(code.rpartition("/")[2] in _PERMANENT for code in codes)
    return known or status in _PERMANENT_STATUSES


def _remedy(status: int, codes: Dict[str, str]) -> str:
    for code in codes:
        remedy = _REMEDIES.get(code.rpartition("/")[2])
        if remedy:
            return remedy
    if status >= 500:
        return "it has trouble of its own and is asked again later"
    return "check `oidcGrantToken` and `uuThing` in the configuration"
