"""The documented home of `UuAppClient` and `UuCmdSession`; they come from uun-iot-client."""

from uun_iot_client import ErrorEntry, RetryPolicy, UuAppClient, UuCmdSession

__all__ = ["ErrorEntry", "RetryPolicy", "UuAppClient", "UuCmdSession"]
