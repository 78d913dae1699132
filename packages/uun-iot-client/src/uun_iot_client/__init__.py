"""Client of a uuApp: authenticated commands over HTTPS."""

from __future__ import annotations

from uun_iot_core._version import __version__

from .client import UuAppClient
from .errormap import ErrorEntry
from .errors import (
    CircuitOpen,
    CommandError,
    DtoInError,
    GatewayStopping,
    NetworkError,
    ProtocolError,
    TokenCommandError,
    TokenError,
    TokenServiceUnreachable,
    UuAppClientException,
)
from .retry import RetryPolicy
from .session import UuCmdSession

__all__ = [
    "CircuitOpen",
    "CommandError",
    "DtoInError",
    "ErrorEntry",
    "GatewayStopping",
    "NetworkError",
    "ProtocolError",
    "RetryPolicy",
    "TokenCommandError",
    "TokenError",
    "TokenServiceUnreachable",
    "UuAppClient",
    "UuAppClientException",
    "UuCmdSession",
    "__version__",
]
