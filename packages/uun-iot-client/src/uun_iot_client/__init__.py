"""Client of a uuApp: authenticated commands over HTTPS."""

from __future__ import annotations

from uun_iot_core._version import __version__

from .client import UuAppClient
from .errors import (
    CommandError,
    GatewayStopping,
    ProtocolError,
    TokenCommandError,
    TokenError,
    UuAppClientException,
)
from .session import UuCmdSession

__all__ = [
    "CommandError",
    "GatewayStopping",
    "ProtocolError",
    "TokenCommandError",
    "TokenError",
    "UuAppClient",
    "UuAppClientException",
    "UuCmdSession",
    "__version__",
]
