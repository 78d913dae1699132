"""Fixtures of the client's tests: a configuration for the sandbox, and a client on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient


@pytest.fixture
def token_path(tmp_path: Path) -> Path:
    return tmp_path / "token" / "oidc-token"


@pytest.fixture
def config(uuapp: Sandbox, token_path: Path) -> Dict[str, Any]:
    return uuapp.configuration(token_path=str(token_path))


@pytest.fixture
def client(config: Dict[str, Any]) -> Iterator[UuAppClient]:
    client = UuAppClient(config, refresh_token_on_init=False)
    yield client
    client.close()
