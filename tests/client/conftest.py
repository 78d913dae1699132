"""Fixtures of the client's tests: a configuration for the sandbox, and a client on it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from tests.client.leaks import everything_logged, found_in
from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient


@pytest.fixture
def token_path(tmp_path: Path) -> Path:
    return tmp_path / "token" / "oidc-token"


@pytest.fixture
def config(uuapp: Sandbox, token_path: Path) -> Dict[str, Any]:
    return uuapp.configuration(token_path=str(token_path))


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Look through what every logger says at DEBUG in each test that talks to a uuApp."""
    if "uuapp" not in request.fixturenames:
        yield
        return
    uuapp: Sandbox = request.getfixturevalue("uuapp")
    with everything_logged() as log, contextlib.ExitStack() as stack:
        if "caplog" in request.fixturenames:
            # what the test itself looks at is as usual
            handler = request.getfixturevalue("caplog").handler
            stack.callback(handler.setLevel, handler.level)
            handler.setLevel(logging.WARNING)
        yield
    assert found_in(log.lines, uuapp.secrets) == []


@pytest.fixture
def client(config: Dict[str, Any]) -> Iterator[UuAppClient]:
    client = UuAppClient(config, refresh_token_on_init=False)
    yield client
    client.close()
