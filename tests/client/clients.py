"""Clients in a certain state."""

from __future__ import annotations

from typing import Any, Dict

from uun_iot_client import UuAppClient


def hurried(config: Dict[str, Any], **arguments: Any) -> UuAppClient:
    """Return a client of short time-outs that has its token already.

    On a busy machine the grant, with the connection that is made for it, may take longer.
    """
    UuAppClient(config).close()  # leaves the token in the file
    return UuAppClient(config, **arguments)
