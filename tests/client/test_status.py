"""What a client tells the gateway's command `status`."""

from __future__ import annotations

import json
from typing import Any, Dict

from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient
from uun_iot_core.clock import ManualClock

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
LIFE = 1800


def token_of(client: UuAppClient) -> Any:
    """Return what the client tells of its token, as it comes out of JSON."""
    told = client._gateway_status()
    assert list(told) == ["token"]
    return json.loads(json.dumps(told["token"], allow_nan=False))


def test_the_life_of_the_token_is_told_and_nothing_else(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    clock = ManualClock(NOW)
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    assert token_of(client) == {"state": "none", "expires": None, "expiresIn": None}
    assert uuapp.requests == []  # asking is no reason for a grant
    client.refresh_token()
    fresh = token_of(client)
    assert fresh["state"] == "fresh"
    assert abs(fresh["expiresIn"] - LIFE) < 2
    states = []
    for part in (0.85, 0.13, 0.05):
        clock.advance(LIFE * part)
        states.append(token_of(client)["state"])
    assert states == ["early", "due", "dead"]
    assert token_of(client)["expiresIn"] < 0
    text = json.dumps(client._gateway_status())
    assert not [secret for secret in uuapp.secrets if secret in text]
    client.close()


def test_without_an_account_there_is_no_token() -> None:
    client = UuAppClient({}, refresh_token_on_init=False)
    assert token_of(client) is None
    client.close()
