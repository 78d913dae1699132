"""What the fixtures of the plugin do, apart from being fixtures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import pytest

from uun_iot_core import SYSTEM_CLOCK, Clock, ManualClock

from .gateways import Gateways

if TYPE_CHECKING:
    from uun_iot.sandbox import Sandbox

__all__ = ["clock_for", "gateways_for", "sandbox_for"]

#: which of the fixtures a test has had made
_MADE = pytest.StashKey[List[str]]()


@contextlib.contextmanager
def _made(request: pytest.FixtureRequest, name: str) -> Iterator[None]:
    made = request.node.stash.setdefault(_MADE, [])
    made.append(name)
    try:
        yield
    finally:
        made.remove(name)


def _refuse_after(request: pytest.FixtureRequest, name: str, *others: str) -> None:
    """Fail where a fixture comes too late for others, which would go without it."""
    late = [one for one in request.node.stash.get(_MADE, []) if one in others]
    if late:
        pytest.fail(
            f"`{name}` was asked for after `{late[0]}`, which is without it already; name it among "
            f"the arguments of the test, or ask for it first",
            pytrace=False,
        )


def clock_for(request: pytest.FixtureRequest) -> ManualClock:
    """Return a clock for a test.

    Args:
        request: of the fixture.
    """
    _refuse_after(request, "clock", "uuapp", "gateway")
    return ManualClock()


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
    _refuse_after(request, "uuapp", "gateway")
    from uun_iot.sandbox.extra import missing_extra

    missing = missing_extra(console=False)
    if missing is not None:
        pytest.fail(missing.replace("[sandbox]", "[testing]"), pytrace=False)
    from uun_iot.sandbox import Sandbox

    sandbox = Sandbox(directory=directory / "uuapp", clock=_clock_of(request))
    with _made(request, "uuapp"), sandbox:
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
    gateways = Gateways(directory / "gateway", _clock_of(request), sandbox)
    with _made(request, "gateway"), gateways:
        yield gateways
