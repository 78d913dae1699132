"""The configuration that a gateway needs for a sandbox."""

from __future__ import annotations

import copy
from typing import Any, Dict, Mapping, Optional

from .uuapp import GET_CONFIGURATION, GRANT, HEARTBEAT, UuApp

__all__ = ["ready_configuration"]


def ready_configuration(
    uuapp: UuApp,
    address: str,
    token_path: str,
    gateway: Optional[Mapping[str, Any]],
    commands: Optional[Mapping[str, str]],
    number: int,
) -> Dict[str, Any]:
    """Return the content of a ``config.json``; see `Sandbox.configuration`.

    Args:
        uuapp: that the gateway is to talk to.
        address: its host and port.
        token_path: where the gateway keeps its token.
        gateway: the ``gateway`` part; left out where it is None.
        commands: further entries of ``uuCmdList``, name to uuCmd.
        number: of the gateway, from 1.

    Raises:
        ValueError: there is no gateway of that number.
    """
    gateways = uuapp.identity.gateways
    if not 1 <= number <= len(gateways):
        raise ValueError(f"there is no gateway {number}; they are numbered 1 to {len(gateways)}")
    known = gateways[number - 1]
    config: Dict[str, Any] = {
        "uuApp": {
            "gateway": address,
            "uuAppName": uuapp.name,
            "awid": uuapp.awid,
            "uuCmdList": {
                "gatewayHeartbeat": HEARTBEAT,
                "gatewayGetConfiguration": GET_CONFIGURATION,
                **(commands or {}),
            },
        },
        "uuThing": {
            "uuIdentity": known.identity,
            "accessCode1": known.access_code1,
            "accessCode2": known.access_code2,
        },
        "oidcGrantToken": {
            "gateway": address,
            "uuAppName": uuapp.oidc_name,
            "awid": uuapp.oidc_awid,
            "clientId": known.client_id,
            "clientSecret": known.client_secret,
            "uuCmd": GRANT,
            "tokenPath": token_path,
        },
    }
    if gateway is not None:
        config = {"gateway": copy.deepcopy(dict(gateway)), **config}
    return config
