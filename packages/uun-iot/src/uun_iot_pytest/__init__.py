"""The pytest plugin of uun-iot: fixtures that import what they need when a test asks for them.

It is a package of its own, since pytest imports plugins at each start, and importing a part of
``uun_iot`` would import all of it. What the fixtures are is in `uun_iot.testing`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator

import pytest

if TYPE_CHECKING:
    from uun_iot import ManualClock
    from uun_iot.sandbox import Sandbox
    from uun_iot.testing import Delivery, Gateways


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> ManualClock:
    """A clock that stands still until the test calls its `advance`.

    Whoever asks for it has the gateways and the uuApp of the test on it, too: the timers tick
    within `advance`, one after another, and nothing is waited for.
    """
    from uun_iot.testing import clock_for

    return clock_for(request)


@pytest.fixture
def uuapp(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    """A running `uun_iot.sandbox.Sandbox` that the HTTP clients of this process trust."""
    from uun_iot.testing import sandbox_for

    yield from sandbox_for(request, tmp_path, monkeypatch)


@pytest.fixture
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateways]:
    """A function that builds and starts a gateway; see `uun_iot.testing.Gateways`."""
    __tracebackhide__ = True  # what fails in it is shown at the line of the handler
    from uun_iot.testing import gateways_for

    yield from gateways_for(request, tmp_path)


@pytest.fixture
def assert_nothing_lost(gateway: Gateways, uuapp: Sandbox) -> Callable[..., Delivery]:
    """A function that fails if an entry is lost; see `uun_iot.testing.Gateways.delivery`."""
    return gateway.assert_nothing_lost
