"""What the fixtures of the plugin do, apart from being fixtures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import pytest

from uun_iot_core import SYSTEM_CLOCK, Clock

from .gateways import Gateways

if TYPE_CHECKING:
    from uun_iot.sandbox import Sandbox

__all__ = ["gateways_for", "sandbox_for"]


def _clock_of(request: pytest.FixtureRequest) -> Clock:
    """Return the clock that the test asks for, else the system's."""
    if "clock" not in request.fixturenames:
        return SYSTEM_CLOCK
    clock = request.getfixturevalue("clock")
    return clock if isinstance(clock, Clock) else SYSTEM_CLOCK  # else it is another's fixture


def sandbox_for(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    """Run a sandbox for a test; the environment has HTTP clients trust and find it.

    Args:
        request: of the fixture.
        directory: where its authority is written.
        monkeypatch: sets the environment.
    """
    from uun_iot.sandbox.extra import missing_extra

    missing = missing_extra(console=False)
    if missing is not None:
        pytest.fail(missing.replace("[sandbox]", "[testing]"), pytrace=False)
    from uun_iot.sandbox import Sandbox

    with Sandbox(directory=directory / "uuapp", clock=_clock_of(request)) as sandbox:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "localhost,127.0.0.1")
        # credentials in it would go along with requests
        monkeypatch.setenv("NETRC", str(directory / "no-netrc"))
        yield sandbox


def gateways_for(request: pytest.FixtureRequest, directory: Path) -> Iterator[Gateways]:
    """Offer gateways to a test, and stop them at its end; what handlers raised fails it.

    Args:
        request: of the fixture.
        directory: where their files go.
    """
    sandbox: Optional[Sandbox] = None
    if "uuapp" in request.fixturenames:
        sandbox = request.getfixturevalue("uuapp")
    __tracebackhide__ = True
    with Gateways(directory / "gateway", _clock_of(request), sandbox) as gateways:
        yield gateways
