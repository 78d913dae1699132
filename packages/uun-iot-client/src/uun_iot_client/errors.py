"""Errors of the client.

::

    UunIotError
     └── UuAppClientException
          ├── TokenError                    no token: network, token service, or configuration
          │    ├── TokenServiceUnreachable  no reply came from the token service
          │    └── TokenCommandError        the token service answered, and refused
          ├── CommandError       also a requests.HTTPError: the uuApp refused a command
          ├── ProtocolError      also a requests.RequestException: the reply is none of a uuApp
          ├── NetworkError       also the requests.ConnectionError, Timeout, … that it is: no reply
          │    └── CircuitOpen   also a requests.ConnectionError: not tried, after many failures
          ├── DtoInError         also a requests.RequestException: dtoIn cannot be sent
          └── GatewayStopping    also a requests.ConnectionError: no new calls while stopping

The last six are raised as classes that derive from those of requests too. These are made on
first use, since importing this module must not import requests.

No message holds a body, a header or a secret: error codes, status and remedy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Tuple, Type, cast

from uun_iot_core.exceptions import UunIotError

if TYPE_CHECKING:
    import requests

    from .errormap import ErrorEntry

__all__ = [
    "CircuitOpen",
    "CommandError",
    "DtoInError",
    "GatewayStopping",
    "NetworkError",
    "ProtocolError",
    "TokenCommandError",
    "TokenError",
    "TokenServiceUnreachable",
    "UuAppClientException",
    "circuit_open",
    "command_error",
    "dto_in_error",
    "gateway_stopping",
    "network_error",
    "protocol_error",
]


class UuAppClientException(UunIotError):
    """Base of the errors of the client."""


class TokenError(UuAppClientException):
    """A valid token could not be obtained, or the configuration lacks what a call needs.

    Attributes:
        retry_in: seconds until the token service is asked again; None where only a change of
            the configuration can help.
        episode: the same for all errors of one pause after a failed grant, else None.
    """

    retry_in: Optional[float] = None
    episode: Optional[object] = None


class TokenServiceUnreachable(TokenError):
    """No reply came from the token service; ``__cause__`` says why."""


class TokenCommandError(TokenError):
    """The token service answered with an error.

    Attributes:
        status: the HTTP status of the reply.
        error_map: the error codes of its ``uuAppErrorMap``, each with its type
            (``error``, ``warning``). Messages and parameters are left out: they may repeat
            what was sent.
        permanent: whether asking again cannot help: wrong access codes, a second factor, an
            input that is not valid, whatever the status says.

    Args:
        message: what is wrong and what to do.
        status: see above.
        error_map: see above.
        permanent: see above.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        error_map: Optional[Mapping[str, str]] = None,
        *,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_map: Dict[str, str] = dict(error_map or {})
        self.permanent = permanent


class _ReplyError(UuAppClientException):
    """What errors about a reply know of it.

    Attributes:
        response: the reply.
        status: its HTTP status.
        codes: the error codes of its ``uuAppErrorMap``.
        entries: the entries of its ``uuAppErrorMap``. Their messages and parameters are those
            of the server, which may repeat what was sent: think before you log them.
        request_id: its ``X-Request-Id``, for whoever runs the server.
    """

    response: Optional[requests.Response] = None
    status: Optional[int] = None
    codes: Tuple[str, ...] = ()
    entries: Tuple[ErrorEntry, ...] = ()
    request_id: Optional[str] = None


class CommandError(_ReplyError):
    """The uuApp refused a command; also a `requests.HTTPError`."""


class ProtocolError(_ReplyError):
    """The reply is not what a uuApp sends; also a `requests.RequestException`.

    A captive portal answers so. What was posted counts as not taken in.
    """


class NetworkError(UuAppClientException):
    """No reply came; also the exception of requests that says why.

    That is a `requests.ConnectionError`, `requests.Timeout`, `requests.exceptions.SSLError`,
    ….

    Attributes:
        may_have_arrived: False if the server certainly did not receive the whole request, so
            that it can be sent again without being done twice.
    """

    may_have_arrived: bool = True


class CircuitOpen(NetworkError):
    """Nothing was sent, since the calls before found no server; also a `requests.ConnectionError`.

    Attributes:
        retry_in: seconds until a call tries again, 0 while one does.
        episode: the same for all errors of one outage.
    """

    may_have_arrived = False
    retry_in: float = 0.0
    episode: Optional[object] = None


class DtoInError(UuAppClientException):
    """The input of a command cannot be sent; also a `requests.RequestException`."""


class GatewayStopping(UuAppClientException):
    """The gateway is stopping and makes no new calls; also a `requests.ConnectionError`."""


def _rebuilt(own: Type[Any], theirs: Type[Any], args: Tuple[Any, ...]) -> Any:
    return _joined(own, theirs)(*args)


def _without_requests(state: Dict[str, Any]) -> Dict[str, Any]:
    """Return what is pickled of an error: no request, which has the bearer and the payload."""
    import copy

    import requests

    state = {**state, "request": None}
    response = state.get("response")
    if isinstance(response, requests.Response):
        state["response"] = response = copy.copy(response)
        response.request, response.history = requests.PreparedRequest(), []
    return state


_made: Dict[Tuple[Any, Any], Type[Any]] = {}


def _joined(own: Type[Any], theirs: Type[Any]) -> Type[Any]:
    """Return a class that is both, named as ours, whose objects can be pickled."""
    known = _made.get((own, theirs))
    if known is not None:
        return known

    def reduced(self: Any) -> Tuple[Any, ...]:
        return _rebuilt, (own, theirs, self.args), _without_requests(self.__dict__)

    attributes = {
        "__module__": own.__module__,
        "__qualname__": own.__name__,
        "__doc__": own.__doc__,
        "__reduce__": reduced,
    }
    return _made.setdefault((own, theirs), type(own.__name__, (own, theirs), attributes))


def command_error(
    message: str,
    response: requests.Response,
    entries: Tuple[ErrorEntry, ...] = (),
    request_id: Optional[str] = None,
) -> requests.HTTPError:
    """Return a new `CommandError`.

    Args:
        message: what is wrong.
        response: the reply that says so.
        entries: of its ``uuAppErrorMap``.
        request_id: its ``X-Request-Id``.
    """
    import requests

    error = _joined(CommandError, requests.HTTPError)(message, response=response)
    error.status, error.request_id = response.status_code, request_id
    error.entries, error.codes = entries, tuple(entry.code for entry in entries)
    return cast("requests.HTTPError", error)


def protocol_error(
    message: str,
    response: Optional[requests.Response] = None,
    request_id: Optional[str] = None,
    cls: Optional[Type[requests.RequestException]] = None,
) -> requests.RequestException:
    """Return a new `ProtocolError`.

    Args:
        message: what is wrong.
        response: the reply.
        request_id: its ``X-Request-Id``.
        cls: what it is of the exceptions of requests; `requests.RequestException` if None.
    """
    import requests

    error = _joined(ProtocolError, cls or requests.RequestException)(message, response=response)
    error.status = None if response is None else response.status_code
    error.request_id = request_id
    return cast("requests.RequestException", error)


def network_error(
    message: str, cls: Type[requests.RequestException], may_have_arrived: bool
) -> requests.RequestException:
    """Return a new `NetworkError`.

    Args:
        message: what happened.
        cls: what it is of the exceptions of requests.
        may_have_arrived: see there.
    """
    error = _joined(NetworkError, cls)(message)
    error.may_have_arrived = may_have_arrived
    return cast("requests.RequestException", error)


def circuit_open(message: str, retry_in: float, episode: object) -> requests.ConnectionError:
    """Return a new `CircuitOpen`.

    Args:
        message: what happened.
        retry_in: see there.
        episode: see there.
    """
    error = _connection_error(CircuitOpen)(message)
    error.retry_in, error.episode = retry_in, episode
    return cast("requests.ConnectionError", error)


def dto_in_error(message: str) -> requests.RequestException:
    """Return a new `DtoInError`.

    Args:
        message: what cannot be sent.
    """
    from requests.exceptions import InvalidJSONError

    return cast("requests.RequestException", _joined(DtoInError, InvalidJSONError)(message))


def gateway_stopping() -> requests.ConnectionError:
    """Return a new `GatewayStopping`."""
    error = _connection_error(GatewayStopping)(
        "the gateway is stopping: no new requests are made until it is started again"
    )
    return cast("requests.ConnectionError", error)


def _connection_error(own: Type[Any]) -> Callable[..., Any]:
    import requests

    return _joined(own, requests.ConnectionError)
