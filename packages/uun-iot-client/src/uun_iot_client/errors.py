"""Errors of the client.

::

    UunIotError
     └── UuAppClientException
          ├── TokenError             no token: network, token service, or configuration
          │    └── TokenCommandError the token service answered, and refused
          ├── CommandError           also a requests.HTTPError: the uuApp refused a command
          ├── ProtocolError          also a requests.RequestException: the reply is none of a uuApp
          └── GatewayStopping        also a requests.ConnectionError: no new calls while stopping

The last three are raised as classes that derive from those of requests too. These are made on
first use, since importing this module must not import requests.

No message holds a body, a header or a secret: error codes, status and remedy only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple, Type

from uun_iot_core.exceptions import UunIotError

if TYPE_CHECKING:
    import requests

__all__ = [
    "CommandError",
    "GatewayStopping",
    "ProtocolError",
    "TokenCommandError",
    "TokenError",
    "UuAppClientException",
    "command_error",
    "gateway_stopping",
    "protocol_error",
]


class UuAppClientException(UunIotError):
    """Base of the errors of the client."""


class TokenError(UuAppClientException):
    """A valid token could not be obtained, or the configuration lacks what a call needs."""


class TokenCommandError(TokenError):
    """The token service answered with an error.

    Attributes:
        status: the HTTP status of the reply.
        error_map: the error codes of its ``uuAppErrorMap``, each with its type
            (``error``, ``warning``). Messages and parameters are left out: they may repeat
            what was sent.

    Args:
        message: what is wrong and what to do.
        status: see above.
        error_map: see above.
    """

    def __init__(
        self, message: str, status: int = 0, error_map: Optional[Mapping[str, str]] = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_map: Dict[str, str] = dict(error_map or {})


class _ReplyError(UuAppClientException):
    """What errors about a reply know of it.

    Attributes:
        response: the reply.
        status: its HTTP status.
        codes: the error codes of its ``uuAppErrorMap``.
        request_id: its ``X-Request-Id``, for whoever runs the server.
    """

    response: Optional[requests.Response] = None
    status: Optional[int] = None
    codes: Tuple[str, ...] = ()
    request_id: Optional[str] = None


class CommandError(_ReplyError):
    """The uuApp refused a command; also a `requests.HTTPError`."""


class ProtocolError(_ReplyError):
    """The reply is not what a uuApp sends; also a `requests.RequestException`.

    A captive portal answers so. What was posted counts as not taken in.
    """


class GatewayStopping(UuAppClientException):
    """The gateway is stopping and makes no new calls; also a `requests.ConnectionError`."""


def _joined(own: Type[Any], theirs: Type[Any]) -> Type[Any]:
    attributes = {
        "__module__": own.__module__,
        "__qualname__": own.__name__,
        "__doc__": own.__doc__,
    }
    return type(own.__name__, (own, theirs), attributes)


@lru_cache(maxsize=None)
def _command_error_class() -> Type[Any]:
    import requests

    return _joined(CommandError, requests.HTTPError)


@lru_cache(maxsize=None)
def _protocol_error_class() -> Type[Any]:
    import requests

    return _joined(ProtocolError, requests.RequestException)


@lru_cache(maxsize=None)
def _gateway_stopping_class() -> Type[Any]:
    import requests

    return _joined(GatewayStopping, requests.ConnectionError)


def _about_reply(
    error: Any, status: Optional[int], codes: Tuple[str, ...], request_id: Optional[str]
) -> Any:
    error.status, error.codes, error.request_id = status, codes, request_id
    return error


def command_error(
    message: str,
    response: requests.Response,
    codes: Tuple[str, ...] = (),
    request_id: Optional[str] = None,
) -> requests.HTTPError:
    """Return a new `CommandError`.

    Args:
        message: what is wrong.
        response: the reply that says so.
        codes: its error codes.
        request_id: its ``X-Request-Id``.
    """
    error = _command_error_class()(message, response=response)
    about: requests.HTTPError = _about_reply(error, response.status_code, codes, request_id)
    return about


def protocol_error(
    message: str,
    response: Optional[requests.Response] = None,
    request_id: Optional[str] = None,
) -> requests.RequestException:
    """Return a new `ProtocolError`.

    Args:
        message: what is wrong.
        response: the reply.
        request_id: its ``X-Request-Id``.
    """
    error = _protocol_error_class()(message, response=response)
    status = None if response is None else response.status_code
    about: requests.RequestException = _about_reply(error, status, (), request_id)
    return about


def gateway_stopping() -> requests.ConnectionError:
    """Return a new `GatewayStopping`."""
    error: requests.ConnectionError = _gateway_stopping_class()(
        "the gateway is stopping: no new requests are made until it is started again"
    )
    return error
