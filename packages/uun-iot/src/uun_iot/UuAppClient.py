"""The documented home of `UuAppClient` and `UuCmdSession`; they come from uun-iot-client."""

from uun_iot_client import (
    ErrorEntry,
    RetryPolicy,
    TokenCommandError,
    TokenError,
    UuAppClient,
    UuAppClientException,
    UuCmdSession,
)

__all__ = [
    "ErrorEntry",
    "RetryPolicy",
    "TokenCommandError",
    "TokenError",
    "UuAppClient",
    "UuAppClientException",
    "UuCmdSession",
]
