"""Fixtures: the installed application, its console, and a place to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.support.sandbox import Sandbox

from .console import WeatherConsole
from .published import NotInstalled, Release, install
from .station import Station

#: in the documented style, with `@on`
WEATHERSTATION = Release(
    "uun-weatherstation",
    "0.6.10",
    "63c5588577380044375df71167113ac72b9d7e796874433ccd2e3d14d2949af1",
)
#: the same application in the style of 0.12, with `@EvTick.subscribe_timer`; it makes no use of
#: the health check
NEWER_WEATHERSTATION = Release(
    "uun-weatherstation",
    "0.7.0",
    "c73a84fed852bab5502f193607383bcb184f415f7c88b4390893cbced9588c3e",
)


@pytest.fixture(scope="session")
def installed(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Release], Path]:
    """Returns the directory that a release is installed in."""
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    folder = tmp_path_factory.mktemp("apps") if cache is None else cache.mkdir("published-apps")

    def place(release: Release) -> Path:
        try:
            return install(release, folder)
        except NotInstalled as exc:
            reason = str(exc)
        pytest.fail(reason, pytrace=False)  # not a skip: that it was not tested must be seen

    return place


@pytest.fixture(params=[WEATHERSTATION, NEWER_WEATHERSTATION], ids=str)
def release(request: pytest.FixtureRequest) -> Release:
    """The application: a test runs once with each, but for those marked `documented_style`."""
    chosen: Release = request.param
    return chosen


@pytest.fixture
def weatherstation(installed: Callable[[Release], Path], release: Release) -> Path:
    """The directory that the published application is installed in."""
    return installed(release)


@pytest.fixture
def console() -> Iterator[WeatherConsole]:
    """A weather console that gives samples."""
    with WeatherConsole() as console:
        yield console
    assert console.problems == []


@pytest.fixture
def make_station(
    weatherstation: Path, tmp_path: Path, uuapp: Sandbox, console: WeatherConsole
) -> Callable[..., Station]:
    """Makes a station, with ``health=True`` one with the health check."""

    def make(health: bool = False) -> Station:
        return Station(weatherstation, tmp_path / "station", uuapp, console, health)

    return make


@pytest.fixture
def station(make_station: Callable[..., Station]) -> Station:
    """A station without the health check."""
    return make_station()
