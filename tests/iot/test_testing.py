"""The fixtures for users' tests: that they work, that they fail where they must, what they cost."""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.support.sandbox import Sandbox
from uun_iot import (
    Gateway,
    ManualClock,
    Module,
    RepeatTimer,
    Storage,
    UuAppClient,
    UuCmdSession,
    on,
)
from uun_iot.events import registered_event_submodule
from uun_iot.exceptions import ConfigError
from uun_iot.testing import Delivery, Gateways

CONFIG: Dict[str, Any] = {
    "gateway": {
        "moduleTimers": {"weather": {"measure": 60, "send": 600}},
        "moduleBackupStorage": {"weather": "backup/weather.json"},
    },
    "uuApp": {"gateway": "uuapp.example", "uuCmdList": {"weatherAdd": "weather/add"}},
    "uuThing": {"accessCode1": "of the field"},
}


class Weather(Module):
    """Measures, sends all in one request, and may lose or repeat some on the way."""

    def __init__(
        self,
        config: Dict[str, Any],
        uuclient: UuAppClient,
        entry: Callable[[int], Any] = lambda number: {"id": f"w-{number}"},
    ) -> None:
        super().__init__(config=config["gateway"])
        self.session = UuCmdSession(uuclient, config["uuApp"]["uuCmdList"]["weatherAdd"])
        self.entry = entry
        self.measured = 0
        self.losing = False

    @on("tick", "measure")
    def measure(self) -> None:
        self.measured += 1
        self._storage.append(self.entry(self.measured), backup=True)

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage(self.post)

    def post(self, entries: List[Any]) -> List[Any]:
        _, error = self.session.post({"list": entries})
        return [] if error is None or self.losing else entries


def init(config: Dict[str, Any], uuclient: UuAppClient) -> Weather:
    return Weather(config, uuclient)


def weather_of(gateway: Gateway) -> Weather:
    module = gateway._modules["weather"]
    assert isinstance(module, Weather)
    return module


class Board(Module):
    """A submodule with a storage of its own."""

    def __init__(self) -> None:
        super().__init__({})
        self.shared = registered_event_submodule(Module({}, storage=self._storage))


class Station(Module):
    """A module that stores nothing itself."""

    def __init__(self, board: Board) -> None:
        super().__init__({}, storage=False)
        self.board = registered_event_submodule(board)


def test_what_submodules_store_counts_once(uuapp: Sandbox, gateway: Gateways) -> None:
    board = Board()
    gateway(Station(board))
    board._storage.append({"id": "b-1"})
    delivery = gateway.assert_nothing_lost()
    assert (delivery.stored, delivery.waiting) == (1, 1)
    board._storage.empty()
    with pytest.raises(AssertionError, match="1 of 1 entries are lost"):
        gateway.assert_nothing_lost()


# -- clock ----------------------------------------------------------------------------------------


def test_a_day_of_ticks_takes_next_to_no_time(gateway: Gateways, clock: ManualClock) -> None:
    ticks: List[float] = []

    class Ticking:
        id = "ticking"

        @on("tick")
        def tick(self) -> None:
            ticks.append(clock.monotonic())

    begin = time.perf_counter()
    gateway(Ticking(), {"moduleTimers": {"ticking": 60}})
    clock.advance(86400)
    taken = time.perf_counter() - begin
    assert ticks == [60.0 * number for number in range(1441)]
    assert taken < 2  # a day of seconds would be 86400


def test_without_the_clock_time_is_real(uuapp: Sandbox, gateway: Gateways) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["gateway"]["moduleTimers"] = {"heartbeat": 0.05}
    gateway(init, config)
    assert uuapp.wait_for(lambda: len(uuapp.received("gateway/heartbeat")) >= 2)
    assert abs(uuapp.requests[-1].time - time.time()) < 60


def test_tokens_end_by_the_clock(uuapp: Sandbox, gateway: Gateways, clock: ManualClock) -> None:
    gateway(init, CONFIG)
    clock.advance(86400)
    assert 47 <= uuapp.grants <= 100  # a token lives for half an hour
    assert {one.status for one in uuapp.requests} == {200}


# -- gateway --------------------------------------------------------------------------------------


def test_what_a_gateway_writes_is_below_the_test_and_talks_to_its_uuapp(
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = json.dumps(CONFIG)
    running = gateway(init, CONFIG)
    clock.advance(600)
    assert json.dumps(CONFIG) == before
    assert list(here.iterdir()) == []
    assert uuapp.received("weather/add")
    storage = weather_of(running)._storage.backup_path
    assert storage == str(tmp_path / "gateway" / "backup" / "weather.json")
    assert running.config["uuApp"]["gateway"] == uuapp.gateway


@pytest.mark.parametrize("path", ["/var/lib/weather/weather.json", "../../weather.json"])
def test_a_path_elsewhere_is_not_followed(gateway: Gateways, tmp_path: Path, path: str) -> None:
    running = gateway(None, {"moduleBackupStorage": {"weather": {"path": path}}})
    moved = running.config["gateway"]["moduleBackupStorage"]["weather"]["path"]
    assert moved == str(tmp_path / "gateway" / "weather.json")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no UNIX sockets here")
def test_a_socket_is_made_where_its_path_fits(gateway: Gateways) -> None:
    running = gateway(None, {"socket": {"path": "/run/" + "long/" * 30 + "uun.sock"}})
    path = running.config["gateway"]["socket"]["path"]
    assert os.path.basename(path) == "uun.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.connect(path)
        asking.sendall(b"status\n")
        assert asking.makefile("rb").read(2) == b"0 "
    gateway.stop()
    assert not os.path.exists(os.path.dirname(path))


@pytest.mark.parametrize("form", ["init", "module", "list", "none", "file"])
def test_modules_and_configurations_are_taken_in_each_form(
    gateway: Gateways, tmp_path: Path, form: str
) -> None:
    class Simple:
        id = "simple"

        @on("start")
        def start(self, evs: Any) -> None:
            pass

    path = tmp_path / "given.json"
    path.write_text('{"gateway": {"a": 5}}')
    one = Simple()
    modules: Any = {"init": lambda config, uuclient: one, "module": one, "list": [one]}.get(form)
    running = gateway(modules, path if form == "file" else {"a": 5})
    assert running.config["gateway"]["a"] == 5
    assert ("simple" in running._modules) is (modules is not None)
    assert running.runev.is_set()
    assert path.read_text() == '{"gateway": {"a": 5}}'


def test_mistakes_are_errors(gateway: Gateways) -> None:
    with pytest.raises(TypeError, match="got the class Weather"):
        gateway(Weather, {})
    with pytest.raises(ConfigError, match="gateway.moduleTimers.a"):
        gateway(None, {"moduleTimers": {"a": 0}})
    with pytest.raises(ConfigError, match="nothing.json"):
        gateway(None, "nothing.json")
    with pytest.raises(RuntimeError, match="fixture `uuapp`"):
        gateway.assert_nothing_lost()


class Circle(Dict[str, Any]):
    """A dictionary that is in itself."""

    def __init__(self) -> None:
        super().__init__()
        self["again"] = self


@pytest.mark.parametrize(
    "config, said",
    [
        (
            {"weather": {"pin": object()}},
            r"gateway\.weather\.pin: expected JSON \(.*\), got object$",
        ),
        (
            {"gateway": {"a": [0, {"when": datetime.date(2026, 1, 31)}]}},
            r"gateway\.a\[1\]\.when: expected JSON \(.*\), got date$",
        ),
        (
            {"gateway": {}, "uuApp": {"lock": threading.Lock()}},
            r"uuApp\.lock: expected JSON .*lock$",
        ),
        ({"a": {("x", "y"): 1}}, r"gateway\.a: expected strings as keys, got tuple$"),
        ({"a": Circle()}, r"gateway\.a(\.again){7}.*…: it is nested too deeply, or in itself$"),
        ({"a": b"bytes"}, r"gateway\.a: expected JSON .*got bytes$"),
        ({"moduleTimers": {"a": float("nan")}}, r"gateway\.moduleTimers\.a: expected a period"),
    ],
)
def test_what_no_configuration_can_hold_is_named(
    gateway: Gateways, config: Dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        gateway(None, config)


def test_one_may_be_left_to_the_test_to_start(gateway: Gateways, clock: ManualClock) -> None:
    running = gateway(None, {}, start=False)
    assert not running.runev.is_set()
    with running:
        assert running.runev.is_set()


# -- what handlers raise --------------------------------------------------------------------------


class Failing:
    """Raises in its ticks, at its start, at its stop."""

    id = "failing"

    @on("start")
    def start(self, evs: Any) -> None:
        raise RuntimeError("at the start")

    @on("tick")
    def tick(self) -> None:
        raise ValueError("in a tick")

    @on("stop")
    def stop(self) -> None:
        raise SystemExit("at the stop")


def test_what_a_test_expects_to_be_raised_it_takes(gateway: Gateways, clock: ManualClock) -> None:
    running = gateway(Failing(), {"moduleTimers": {"failing": 10}})
    clock.advance(60)
    running.stop()
    failures = {repr(one.exception): one for one in gateway.take_failures()}
    assert set(failures) == {
        "RuntimeError('at the start')",
        "ValueError('in a tick')",
        "SystemExit('at the stop')",
    }
    tick = failures["ValueError('in a tick')"]
    assert tick.times == 7
    assert "tick handler of module `failing`" in tick.text
    assert gateway.take_failures() == []


def test_what_a_timer_of_a_module_raises_is_a_failure_too(
    gateway: Gateways, clock: ManualClock
) -> None:
    def fail() -> None:
        raise LookupError("on purpose")

    gateway(None, {})
    timer = RepeatTimer(5, fail, clock=clock)
    timer.start()
    clock.advance(5)
    timer.stop()
    (failure,) = gateway.take_failures()
    assert (failure.times, type(failure.exception)) == (2, LookupError)


# -- nothing lost ---------------------------------------------------------------------------------

Assert = Callable[..., Delivery]


def test_what_has_arrived_or_waits_is_not_lost(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    gateway(init, CONFIG)
    clock.advance(1200)
    delivery = assert_nothing_lost()
    assert delivery.stored == 21
    assert delivery.delivered + delivery.waiting == 21
    assert delivery.delivered >= 20 and (delivery.duplicated, delivery.lost) == (0, 0)


def test_a_lost_entry_fails_with_its_text(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    weather = weather_of(gateway(init, CONFIG))
    clock.advance(600)
    uuapp.outage()
    weather.losing = True
    clock.advance(600)
    with pytest.raises(AssertionError, match=r"\d+ of 21 entries are lost: .*\{'id': 'w-1\d'\}"):
        assert_nothing_lost()
    assert gateway.delivery().lost >= 9


def test_an_entry_that_a_limit_dropped_is_lost(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["gateway"]["moduleBackupStorage"]["weather"] = {"path": "w.json", "limit": 3}
    uuapp.outage()
    gateway(init, config)
    clock.advance(300)
    with pytest.raises(AssertionError, match="3 of 6 entries are lost"):
        assert_nothing_lost()


def test_where_nothing_was_stored_there_was_nothing_to_lose(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    gateway(None, {})
    with pytest.raises(AssertionError, match="there was nothing to lose"):
        assert_nothing_lost()


def test_a_restart_counts_each_entry_once(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    uuapp.outage()
    first = gateway(init, CONFIG)
    clock.advance(300)
    first.stop()
    uuapp.restore()
    second = gateway(
        lambda config, uuclient: Weather(
            config, uuclient, lambda number: {"id": f"second-{number}"}
        ),
        CONFIG,
    )
    clock.advance(0)
    assert len(weather_of(second)._storage) <= 1
    delivery = assert_nothing_lost()
    assert (delivery.stored, delivery.duplicated) == (7, 0)


def test_two_gateways_at_once_are_two_devices(
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    assert_nothing_lost: Assert,
    tmp_path: Path,
) -> None:
    def numbered(name: str) -> Any:
        return lambda config, uuclient: Weather(
            config, uuclient, lambda number: {"id": f"{name}-{number}"}
        )

    timers = {**CONFIG["gateway"]["moduleTimers"], "config": 60}
    part = {**CONFIG["gateway"], "moduleTimers": timers, "socket": {"path": "uun.sock"}}
    uuapp.publish({"site": "new"})
    uuapp.outage()
    first = gateway(numbered("a"), {**CONFIG, "gateway": {**part, "own": 1}})
    second = gateway(numbered("b"), {**CONFIG, "gateway": {**part, "own": 2}})
    clock.advance(300)
    assert assert_nothing_lost().waiting == 12
    uuapp.restore()
    clock.advance(600)
    # each has taken the update into a file of its own, and its own is still in it
    for folder, running, own in (("gateway", first, 1), ("gateway-2", second, 2)):
        kept = json.loads((tmp_path / folder / "config.json").read_text())["gateway"]
        assert kept == running.config["gateway"]
        assert (kept["own"], kept["site"]) == (own, "new")
    second.stop()
    third = gateway(numbered("c"), {**CONFIG, "gateway": part})  # where the second was
    clock.advance(600)
    paths = [weather_of(one)._storage.backup_path for one in (first, second, third)]
    assert paths[0] != paths[1] == paths[2]
    gateway.stop()
    assert assert_nothing_lost().delivered > 40


def test_what_a_gateway_without_a_backup_file_held_is_lost_with_it(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    config = json.loads(json.dumps(CONFIG))
    del config["gateway"]["moduleBackupStorage"]
    uuapp.outage()
    first = gateway(init, config)
    clock.advance(300)
    assert assert_nothing_lost().waiting == 6
    first.stop()
    gateway(
        lambda config, uuclient: Weather(
            config, uuclient, lambda number: {"id": f"second-{number}"}
        ),
        config,
    )
    with pytest.raises(AssertionError, match="6 of 6 entries are lost"):
        assert_nothing_lost()


def test_an_answer_that_was_lost_makes_duplicates(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    uuapp.faults.add("drop", times=1, command="weather/add", processed=True)
    gateway(init, CONFIG)
    clock.advance(1200)
    delivery = assert_nothing_lost()
    assert delivery.duplicated >= 1


def test_equal_entries_are_told_by_their_number(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    weather = weather_of(
        gateway(lambda config, uuclient: Weather(config, uuclient, lambda number: 20.5), CONFIG)
    )
    clock.advance(1200)
    assert assert_nothing_lost().stored == 21
    weather.losing = True
    uuapp.outage()
    clock.advance(600)
    with pytest.raises(AssertionError, match="are lost"):
        assert_nothing_lost()


def test_entries_that_are_sent_in_another_form_are_told_by_a_key(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    class Other(Weather):
        id = "weather"

        def post(self, entries: List[Any]) -> List[Any]:
            posted = {"data": [{"at": one["t"], "value": 1} for one in entries]}
            return [] if self.session.post(posted)[1] is None else entries

    def key(one: Any) -> Any:
        return one["t"] if "t" in one else one["at"]

    gateway(lambda config, uuclient: Other(config, uuclient, lambda number: {"t": number}), CONFIG)
    clock.advance(600)
    with pytest.raises(AssertionError, match="are lost"):
        assert_nothing_lost()
    assert assert_nothing_lost(key=key).delivered >= 10


def test_storages_of_others_are_not_watched(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, assert_nothing_lost: Assert
) -> None:
    gateway(init, CONFIG)
    before = gateway.delivery().stored
    other = Storage("other", None)
    other.append({"id": "not mine"})
    assert gateway.delivery().stored == before


# -- the plugin, as pytest loads it ---------------------------------------------------------------


def run_pytest(
    folder: Path, *arguments: str, before: str = ""
) -> "subprocess.CompletedProcess[str]":
    code = f"import sys, pytest\n{before}\nsys.exit(pytest.main(sys.argv[1:]))\n"
    return subprocess.run(
        # without hypothesis and anyio, which take longer to load than all the rest
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider"]
        + ["-p", "no:hypothesispytest", "-p", "no:anyio", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
    )


def test_it_is_there_without_being_asked_for_and_imports_nothing_until_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    assert 'uun_iot_pytest' in sys.modules\n"
        "    heavy = [name for name in sys.modules if name.split('.')[0] in\n"
        "             ('uun_iot', 'uun_iot_core', 'uun_iot_client', 'uun_iot_storage',\n"
        "              'requests', 'trustme', 'cryptography')]\n"
        "    assert heavy == []\n"
        "def test_it_is_there(uuapp, gateway, clock, assert_nothing_lost):\n"
        "    assert gateway(None, {}).runev.is_set()\n"
    )
    done = run_pytest(tmp_path, "-W", "error")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_gateway_is_stopped_also_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import threading\n"
        "running = []\n"
        "def test_it_fails(gateway):\n"
        "    running.append(gateway(None, {}))\n"
        "    raise ValueError('on purpose')\n"
        "def test_it_was_stopped():\n"
        "    assert not running[0].runev.is_set()\n"
        "    assert not [one for one in threading.enumerate() if one.name.startswith('uun_iot')]\n"
    )
    done = run_pytest(tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout


_FAILS = """
import logging
from uun_iot import on
{first}
class Pump:
    def __init__(self):
        self.pressed = 0
    @on("{event}")
    def work(self, *_):
        self.pressed += 1
        raise ValueError("the valve is stuck")
def test_it(gateway, clock):
    gateway(Pump(), {{"moduleTimers": {{"pump": 5}}}})
    clock.advance(60)
    {then}
"""


@pytest.mark.parametrize("event, times", [("tick", ", 13 times"), ("start", ""), ("stop", "")])
def test_a_handler_that_raises_fails_the_test(tmp_path: Path, event: str, times: str) -> None:
    (tmp_path / "test_it.py").write_text(_FAILS.format(event=event, first="", then=""))
    done = run_pytest(tmp_path)
    assert done.returncode == 1, done.stdout
    said = f"{event} handler of module `pump` failed (Pump.work){times}: ValueError: the valve is"
    assert said in done.stdout, done.stdout
    assert "gateway.take_failures()" in done.stdout
    assert 'raise ValueError("the valve is stuck")' in done.stdout  # the line, to be mended


def test_what_was_taken_fails_no_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        _FAILS.format(event="tick", first="", then="assert gateway.take_failures()")
    )
    done = run_pytest(tmp_path)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_where_errors_are_not_logged_the_test_fails_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        _FAILS.format(event="tick", first="logging.disable(logging.CRITICAL)", then="")
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "what handlers raise cannot be seen" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "first, second, works",
    [
        ("gateway", "clock", False),
        ("uuapp", "clock", False),
        ("gateway", "uuapp", False),
        ("clock", "gateway", True),
        ("uuapp", "gateway", True),
    ],
)
def test_a_fixture_that_comes_too_late_is_refused(
    tmp_path: Path, first: str, second: str, works: bool
) -> None:
    (tmp_path / "test_it.py").write_text(
        f"def test_it({first}, request):\n    request.getfixturevalue({second!r})\n"
        f"def test_another({second}, {first}):\n    pass\n"
        f"def test_a_third({first}, {second}):\n    pass\n"
    )
    done = run_pytest(tmp_path)
    said = f"`{second}` was asked for after `{first}`, which is without it already; name it among"
    assert (said in done.stdout) is not works
    assert ("3 passed" if works else "1 failed, 2 passed") in done.stdout, done.stdout


@pytest.mark.parametrize("missing", ["trustme", "cryptography"])
def test_without_the_extra_the_test_fails_and_says_how_to_install_it(
    tmp_path: Path, missing: str
) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(uuapp):\n    pass\n")
    before = (
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: (\n"
        f"    None if name == {missing!r} else real(name, *more))\n"  # as where it is not there
    )
    done = run_pytest(tmp_path, before=before)
    assert done.returncode == 1
    assert f'needs {missing}; install it with: pip install "uun-iot[testing]"' in done.stdout


def test_a_failure_shows_the_line_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it(uuapp, gateway, clock, assert_nothing_lost):\n"
        "    gateway(None, {})\n"
        "    assert_nothing_lost()\n"
    )
    done = run_pytest(tmp_path)
    assert "test_it.py:3: AssertionError" in done.stdout, done.stdout
