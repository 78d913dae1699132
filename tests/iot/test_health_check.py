"""The health check: events, diagnostics, and ending a process that no longer sends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from tests.support.wait import eventually
from uun_iot import DiagnosticEvent, Gateway, GatewayDiagnosticEvent, ManualClock, on
from uun_iot.exceptions import ConfigError
from uun_iot.modules import BaseHealthCheck


class HealthCheck(BaseHealthCheck):
    pass


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gconfig(tmp_path: Path) -> Dict[str, Any]:
    return {
        "healthCheck": {
            "diagnosticsPath": str(tmp_path / "diagnostics"),
            "modules": {"weather": {"leeway": 120}, "door": {"leeway": 1.5}},
        }
    }


@pytest.fixture
def check(gconfig: Dict[str, Any], clock: ManualClock) -> HealthCheck:
    return HealthCheck(gconfig, clock=clock)


def diagnostics(check: BaseHealthCheck) -> Any:
    """Return the diagnostics that run; the name is one that no application has."""
    return vars(check)["_BaseHealthCheck__diagnostics"]


def files(gconfig: Dict[str, Any], mid: str) -> List[Path]:
    return sorted((Path(gconfig["healthCheck"]["diagnosticsPath"]) / mid).glob("*"))


def test_leeways_are_read_as_timedeltas(check: HealthCheck) -> None:
    assert check._leeways == {"weather": timedelta(seconds=120), "door": timedelta(seconds=1.5)}


def test_an_unwatched_module_and_what_is_no_event_are_refused(check: HealthCheck) -> None:
    with pytest.raises(ValueError, match="`cellar` is not watched"):
        check.notify("cellar", DiagnosticEvent.DATA_RECEIVED)
    with pytest.raises(ValueError, match="`cellar` is not watched"):
        check.notifier("cellar")
    with pytest.raises(ValueError, match="expected a diagnostic event, got int"):
        check.notify("weather", 7)  # type: ignore[arg-type]  # what this test is about


def test_a_diagnostic_holds_the_events_between_its_start_and_its_save(
    check: HealthCheck, gconfig: Dict[str, Any], clock: ManualClock
) -> None:
    notify = check.notifier("weather")
    notify(DiagnosticEvent.DATA_RECEIVED, "before")
    check.start_diagnostic("weather")
    clock.advance(1)
    notify(DiagnosticEvent.TIMER_CALL, "send", 3, length=7)
    check.notify("door", DiagnosticEvent.DATA_RECEIVED, "of another")
    clock.advance(1)
    notify(DiagnosticEvent.DATA_SEND_OK)
    began = datetime.fromtimestamp(clock.time() - 2)
    check.save_diagnostic("weather")

    (path,) = files(gconfig, "weather")
    ended = datetime.fromtimestamp(clock.time())
    assert path.name == f"weather_diagnostic_{ended:%Y-%m-%d_%H-%M-%S}.log"
    head, events = path.read_text().split("\n\n")
    module, start, end = head.splitlines()
    assert "weather" in module
    assert f"{began:%H:%M:%S}" in start and f"{ended:%H:%M:%S}" in end
    lines = events.splitlines()
    assert len(lines) == 4  # with the start and the stop of the diagnostic itself
    assert re.search(r"TIMER_CALL\b.*send.*3.*length=7", lines[1])
    assert f"{began + timedelta(seconds=1):%H:%M:%S}" in lines[1]
    assert "DATA_SEND_OK" in lines[2]
    assert "before" not in events and "of another" not in events


def test_a_taken_name_gets_a_number(check: HealthCheck, gconfig: Dict[str, Any]) -> None:
    for _ in range(3):
        check.start_diagnostic("weather")
        check.save_diagnostic("weather")
    names = [path.stem for path in files(gconfig, "weather")]
    assert len(set(names)) == 3
    assert all(name.startswith(min(names, key=len)) for name in names)


def test_saving_without_a_diagnostic_writes_nothing(
    check: HealthCheck, gconfig: Dict[str, Any]
) -> None:
    check.save_diagnostic("weather")
    check.save_all_diagnostics()
    assert files(gconfig, "weather") == []


def test_all_diagnostics_are_saved_together(check: HealthCheck, gconfig: Dict[str, Any]) -> None:
    check.start_diagnostic("weather")
    check.start_diagnostic("door")
    check.save_all_diagnostics()
    assert len(files(gconfig, "weather")) == len(files(gconfig, "door")) == 1


def test_a_diagnostic_that_cannot_be_written_is_logged(
    check: HealthCheck, gconfig: Dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    Path(gconfig["healthCheck"]["diagnosticsPath"]).write_text("a file, not a directory")
    check.start_diagnostic("weather")
    check.save_diagnostic("weather")
    assert "diagnostic of `weather` cannot be saved" in caplog.text


def test_a_long_diagnostic_keeps_its_newest_events(
    check: HealthCheck, gconfig: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check.start_diagnostic("weather")
    for number in range(10_010):
        check.notify("weather", DiagnosticEvent.TIMER_CALL, number)
    check.save_diagnostic("weather")
    text = files(gconfig, "weather")[0].read_text()
    assert "TIMER_CALL 10009" in text and "TIMER_CALL 5\n" not in text
    assert "Dropped: 12 older events" in text


class Signalled(HealthCheck):
    """Says what it tells the gateway's own events."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.notified: List[Tuple[Any, ...]] = []
        super().__init__(*args, **kwargs)

    def notify(self, mid: str, event: Any, *args: Any, **kwargs: Any) -> None:
        self.notified.append((mid, event, *args))
        super().notify(mid, event, *args, **kwargs)


@pytest.fixture
def usr1(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Catch SIGUSR1 in this process, as a gateway would."""
    caught: List[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    yield caught
    signal.signal(signal.SIGUSR1, old)


def test_no_attempt_within_the_leeway_first_records_and_then_ends_the_process(
    gconfig: Dict[str, Any], clock: ManualClock, usr1: List[int]
) -> None:
    check = Signalled(gconfig, clock=clock)
    leeway = check._leeways["weather"]

    def act() -> None:
        check._act_if_data_not_sent("weather", leeway, datetime.fromtimestamp(clock.time()))

    clock.advance(119)
    act()
    assert "weather" not in diagnostics(check)  # the leeway counts from the start
    clock.advance(2)
    act()
    assert "weather" in diagnostics(check) and usr1 == []
    check.notify("weather", DiagnosticEvent.DATA_SEND_ATTEMPTED, 3)
    act()
    assert "weather" not in diagnostics(check) and len(files(gconfig, "weather")) == 1
    clock.advance(121)
    act()
    assert usr1 == []
    act()
    # the system delivers it to any thread, Python handles it in this one a little later
    assert eventually(lambda: usr1 == [signal.SIGUSR1])
    assert ("gateway", GatewayDiagnosticEvent.GATEWAY_SIGNAL, "SIGUSR1") in check.notified
    check.save_all_diagnostics()
    assert "GATEWAY_SIGNAL" in files(gconfig, "weather")[-1].read_text()


def test_the_moment_may_be_given_naive_or_aware(
    gconfig: Dict[str, Any], clock: ManualClock
) -> None:
    check = HealthCheck(gconfig, clock=clock)
    leeway = timedelta(seconds=120)
    later = clock.time() + 60
    check._act_if_data_not_sent("weather", leeway, datetime.fromtimestamp(later))
    check._act_if_data_not_sent("weather", leeway, datetime.fromtimestamp(later, timezone.utc))
    assert diagnostics(check) == {}
    later = clock.time() + 121
    check._act_if_data_not_sent("weather", leeway, datetime.fromtimestamp(later, timezone.utc))
    assert "weather" in diagnostics(check)


def test_a_wall_clock_that_is_set_ends_no_process(
    gconfig: Dict[str, Any], clock: ManualClock, usr1: List[int]
) -> None:
    check = HealthCheck(gconfig, clock=clock)
    check.notify("weather", DiagnosticEvent.DATA_SEND_ATTEMPTED)
    clock.set_time(clock.time() + 10 * 365 * 86400)
    for _ in range(3):
        now = datetime.fromtimestamp(clock.time())
        check._act_if_data_not_sent("weather", timedelta(seconds=120), now)
    assert usr1 == [] and diagnostics(check) == {}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"modules": None}, r"gateway\.healthCheck\.modules"),
        ({"diagnosticsPath": 5}, r"gateway\.healthCheck\.diagnosticsPath"),
        ({"modules": {"weather": {}}}, r"gateway\.healthCheck\.modules\.weather\.leeway"),
        ({"modules": {"weather": {"leeway": "2"}}}, r"healthCheck\.modules\.weather\.leeway"),
        ({"modules": {"../door": {"leeway": 2}}}, r"healthCheck\.modules: .*'\.\./door'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(
    gconfig: Dict[str, Any], change: Dict[str, Any], place: str
) -> None:
    gconfig["healthCheck"].update(change)
    with pytest.raises(ConfigError, match=place):
        HealthCheck(gconfig)


class Ticking(HealthCheck):
    id = "healthCheck"
    checked: threading.Event

    @on("tick", "weather")
    def check_weather(self) -> None:
        self.checked.set()


def make_gateway(tmp_path: Path, gconfig: Dict[str, Any], **kwargs: Any) -> Tuple[Gateway, Ticking]:
    import json

    path = tmp_path / "config.json"
    gconfig["moduleTimers"] = {"healthCheck": {"weather": 300}}
    path.write_text(json.dumps({"gateway": gconfig}))
    made: List[Ticking] = []

    def init(config: Dict[str, Any], uuclient: Any) -> Ticking:
        made.append(Ticking(config["gateway"], **kwargs))
        made[0].checked = threading.Event()
        return made[0]

    gateway = Gateway(str(path), init)
    return gateway, made[0]


@pytest.mark.parametrize("on_stop", [True, False])
def test_diagnostics_are_saved_when_the_gateway_stops_if_so_wished(
    tmp_path: Path, gconfig: Dict[str, Any], on_stop: bool
) -> None:
    gateway, check = make_gateway(tmp_path, gconfig, on_stop=on_stop)
    with gateway:
        assert check.checked.wait(10)
        check.start_diagnostic("weather")
    assert len(files(gconfig, "weather")) == on_stop


@pytest.mark.parametrize("on_update", [True, False])
def test_leeways_follow_an_update_if_so_wished(
    gconfig: Dict[str, Any], on_update: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check = HealthCheck(gconfig, on_update=on_update)
    gconfig["healthCheck"] = {
        **gconfig["healthCheck"],
        "modules": {"weather": {"leeway": 60}, "door": {"leeway": 1.5}},
    }
    check._health_check_updated(gconfig)
    assert check._leeways["weather"] == timedelta(seconds=60 if on_update else 120)
    gconfig["healthCheck"] = {**gconfig["healthCheck"], "modules": {"weather": {"leeway": -1}}}
    check._health_check_updated(gconfig)
    assert check._leeways["weather"] == timedelta(seconds=60 if on_update else 120)
    assert ("weather.leeway" in caplog.text) == on_update


def test_a_class_of_any_name_is_configured_as_health_check(gconfig: Dict[str, Any]) -> None:
    class Watchdog(BaseHealthCheck):
        pass

    assert Watchdog(gconfig).id == "healthCheck"
    assert Watchdog({**gconfig, "watchdog": gconfig["healthCheck"]}).id == "watchdog"


def test_a_process_that_does_not_send_ends_with_status_1(tmp_path: Path) -> None:
    code = """
import json, signal, sys
from datetime import datetime
from uun_iot import Gateway, on
from uun_iot.modules import BaseHealthCheck

class HealthCheck(BaseHealthCheck):
    @on("tick", "weather")
    def check(self):
        self._act_if_data_not_sent("weather", self._leeways["weather"], datetime.now())

config = {
    "healthCheck": {"diagnosticsPath": "diagnostics", "modules": {"weather": {"leeway": 0.2}}},
    "moduleTimers": {"healthCheck": {"weather": 0.15}},
}
with open("config.json", "w") as file:
    json.dump({"gateway": config}, file)
with Gateway("config.json", lambda config, uuclient: HealthCheck(config["gateway"])) as g:
    signal.signal(signal.SIGUSR1, g.signal_handler)
    g.stopev.wait()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, timeout=30, capture_output=True
    )
    assert done.returncode == 1, done.stderr
    (log,) = (tmp_path / "diagnostics" / "weather").iterdir()
    assert "GATEWAY_SIGNAL" in log.read_text()


def test_an_application_may_have_names_of_its_own(gconfig: Dict[str, Any]) -> None:
    class Own(BaseHealthCheck):
        id = "healthCheck"

        def __init__(self, gconfig: Dict[str, Any]) -> None:
            super().__init__(gconfig)
            self._clock = self._started = self._attempted = self._diagnostics = None

        def _now(self) -> str:
            return "now"

        def _write(self, text: str) -> None:
            raise AssertionError("called by the library")

        _read_leeways = _check_watched = _write

    check = Own(gconfig)
    check.start_diagnostic("weather")
    check.notify("weather", DiagnosticEvent.DATA_SEND_ATTEMPTED)
    check.save_all_diagnostics()
    assert len(files(gconfig, "weather")) == 1
    assert check._configuration_problems(gconfig) == []
