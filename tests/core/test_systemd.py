"""What systemd is told: a real UNIX datagram socket, and real processes."""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Type

import pytest

from tests.core.helpers import (
    SOON,
    Ticker,
    Updated,
    in_thread,
    joined,
    make_gateway,
    messages,
    timers,
)
from tests.support.processes import Child
from tests.support.systemd import Systemd
from tests.support.wait import eventually
from uun_iot_core import ManualClock, on, problems
from uun_iot_core.systemd import Notifier, watchdog_seconds

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="there are no UNIX sockets on this system"
)


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Systemd]:
    if request.param == "a path":
        directory = f"/tmp/uun-iot-{secrets.token_hex(4)}"  # a socket's path is 107 bytes at most
        os.mkdir(directory)
        listener = Systemd(f"{directory}/notify")
    elif sys.platform == "linux":
        listener = Systemd(f"@uun-iot-{secrets.token_hex(8)}")
    else:
        pytest.skip("only Linux has abstract sockets")
    monkeypatch.setenv("NOTIFY_SOCKET", listener.address)
    yield listener
    listener.close()
    if request.param == "a path":
        os.unlink(listener.address)
        os.rmdir(directory)


# -- ready, reloading, stopping, status ----------------------------------------------------------


def test_start_and_stop_are_told(systemd: Systemd, tmp_path: Path) -> None:
    clock = ManualClock()
    gateway = make_gateway(tmp_path, timers(ticker=1), Ticker(clock), clock=clock)
    assert systemd.said() == []
    with gateway:
        assert systemd.said() == [{"READY": "1", "STATUS": "running, 1 timer"}]
        clock.advance(100)
        assert systemd.said() == []  # no watchdog was asked for
    assert systemd.said() == [{"STATUS": "stopping"}, {"STATUS": "stopped"}]


def test_a_gateway_that_is_started_again_never_tells_that_the_process_ends(
    systemd: Systemd, tmp_path: Path
) -> None:
    gateway = make_gateway(tmp_path)
    for _ in range(2):
        gateway.start()
        gateway.stop()
    assert not any("STOPPING" in one for one in systemd.said())


def test_an_update_is_told_with_its_moment(systemd: Systemd, tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        systemd.said()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        updated.ask({"place": "cellar"})
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reloading, ready = systemd.said()
        assert set(reloading) == {"RELOADING", "MONOTONIC_USEC"} and reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= after
        assert ready["READY"] == "1"
        updated.ask({"place": "cellar"})
        updated.ask({"moduleTimers": "nothing that can be used"})
        assert systemd.said() == []


def test_an_update_before_the_start_does_not_tell_that_it_is_ready(
    systemd: Systemd, tmp_path: Path
) -> None:
    updated = Updated(tmp_path, {"place": "roof"})
    updated.uuapp.reply = {"place": "cellar"}
    updated.gateway._config.on_tick()
    assert updated.live["place"] == "cellar"
    assert systemd.said() == []


def test_an_update_that_a_stop_overtakes_does_not_tell_that_it_is_ready(
    systemd: Systemd, tmp_path: Path
) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        systemd.said()
        with updated.gateway._reloading():
            updated.gateway.stop()
        keys = [set(one) for one in systemd.said()]
        assert keys == [{"RELOADING", "MONOTONIC_USEC"}, {"STATUS"}, {"STATUS"}]
        updated.gateway.start()
        assert "READY" in systemd.said()[-1]


def test_a_status_is_one_line(systemd: Systemd) -> None:
    Notifier().status("two\nlines\r\nREADY=1")
    assert systemd.said() == [{"STATUS": "two lines READY=1"}]


@pytest.mark.parametrize(
    "address", ["/nowhere/at/all", "@nobody-listens-here", "vsock:2:1", "x", "/" + "a" * 200]
)
def test_a_socket_that_cannot_be_reached_is_said_once_and_stops_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with make_gateway(tmp_path):
        pass
    (line,) = messages(caplog, logging.WARNING)
    assert "systemd cannot be told READY=1" in line


# -- the watchdog --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(
    environ: Dict[str, str], seconds: Optional[float]
) -> None:
    assert watchdog_seconds(environ) == seconds


class Sensor:
    """A module whose calls last as long as a test wants."""

    id = "sensor"

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.lasting = 0.0

    @on("tick", "read")
    def read(self) -> None:
        self.clock.advance(self.lasting)


@pytest.mark.parametrize("limit", [15, {"read": 15}])
def test_the_watchdog_is_fed_while_no_handler_is_over_its_limit(
    systemd: Systemd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: Any,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    clock = ManualClock()
    sensor = Sensor(clock)
    config = timers(sensor={"read": 60})
    config["gateway"]["watchdog"] = {"limits": {"sensor": limit}}
    with make_gateway(tmp_path, config, sensor, clock=clock):
        clock.advance(59)
        assert systemd.said()[1:] == [{"WATCHDOG": "1"}] * 30  # each 2 s
        sensor.lasting = 21
        clock.advance(1)
        messages_now = systemd.said()
        fed = [one for one in messages_now if "WATCHDOG" in one]
        assert len(fed) == 8  # up to the 15th of the 21 seconds
        assert messages_now[-1] == {
            "STATUS": "tick sensor:read has run for 20 s, its limit is 15 s"
        }
        (line,) = messages(caplog, logging.ERROR)
        assert "tick sensor:read has run for 16 s, its limit is 15 s" in line
        assert "not fed" in line
        clock.advance(4)
        assert systemd.said() == [
            {"STATUS": "running, 1 timer"},
            {"WATCHDOG": "1"},
            {"WATCHDOG": "1"},
        ]


class Hanging:
    """A module whose update handler, stop handler or command hangs."""

    id = "sensor"

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def hang(self) -> None:
        self.begun.set()
        assert self.let_go.wait(SOON)


class UpdateHangs(Hanging):
    @on("update")
    def update(self) -> None:
        self.hang()


class StopHangs(Hanging):
    @on("stop")
    def stop(self) -> None:
        self.hang()


class CommandHangs(Hanging):
    @on("external", "read")
    def read(self, command: Any) -> None:
        self.hang()


class StartTakesLong(Hanging):
    @on("start")
    def start(self, evs: Any) -> None:
        self.hang()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (UpdateHangs, "update sensor"),
        (StopHangs, "stop sensor"),
        (CommandHangs, "external read"),
        (StartTakesLong, None),  # it may take as long as the gateway runs
    ],
)
def test_the_watchdog_is_not_fed_while_another_handler_is_over_its_limit(
    systemd: Systemd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: Type[Hanging],
    name: Optional[str],
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    clock, module = ManualClock(), kind()
    config = {"gateway": {"watchdog": {"limits": {"sensor": 15}}}}
    gateway = make_gateway(tmp_path, config, module, clock=clock)
    with gateway:
        begin: Dict[Any, Callable[[], Any]] = {
            UpdateHangs: lambda: gateway._config.event.announce(after=lambda: None),
            StopHangs: gateway.stop,
            CommandHangs: lambda: gateway._sources.external.respond("read"),
            StartTakesLong: lambda: None,
        }
        clock.advance(0)
        calling = in_thread(begin[kind])
        assert module.begun.wait(SOON)
        systemd.said()
        clock.advance(30)
        fed = [one for one in systemd.said() if "WATCHDOG" in one]
        try:
            if name is None:
                assert len(fed) == 15
            else:
                assert len(fed) == 7  # up to the 15th second
                (line,) = messages(caplog, logging.ERROR)
                assert f"{name} has run for 16 s, its limit is 15 s" in line
            said = messages(caplog, logging.WARNING)
            assert [one for one in said if "limits" in one] == (
                [] if name else ["gateway.watchdog.limits.sensor: no module has a handler for it"]
            )
        finally:
            module.let_go.set()
        joined(calling)
        assert eventually(lambda: not gateway._overdue())
        clock.advance(2)
        if kind is not StopHangs:
            assert {"WATCHDOG": "1"} in systemd.said()


def test_calls_over_their_limits_are_remembered_no_longer_than_they_last(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    clock = ManualClock()
    sensor = Sensor(clock)
    sensor.lasting = 30
    config = timers(sensor={"read": 60})
    config["gateway"]["watchdog"] = {"limits": {"sensor": 15}}
    with make_gateway(tmp_path, config, sensor, clock=clock) as gateway:
        for _ in range(20):
            clock.advance(60)
        systemd.said()
        assert len(gateway._supervision._said) <= 1


def test_a_limit_of_no_handler_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    config = timers(sensor={"read": 60})
    limits = {"sensor": {"read": 5, "raed": 5}, "sensro": 5}
    config["gateway"]["watchdog"] = {"limits": limits}
    make_gateway(tmp_path, config, Sensor(clock), clock=clock)
    assert [line.partition(":")[0] for line in messages(caplog, logging.WARNING)] == [
        "gateway.watchdog.limits.sensor.raed",
        "gateway.watchdog.limits.sensro",
    ]


@pytest.mark.parametrize(
    ("watchdog", "place"),
    [
        (5, "gateway.watchdog"),
        ({"limits": 5}, "gateway.watchdog.limits"),
        ({"limits": {"a": 0}}, "gateway.watchdog.limits.a"),
        ({"limits": {"a": True}}, "gateway.watchdog.limits.a"),
        ({"limits": {"a": {"b": "5"}}}, "gateway.watchdog.limits.a.b"),
        ({"limits": {"a": {"b": float("inf")}}}, "gateway.watchdog.limits.a.b"),
    ],
)
def test_a_limit_is_a_number_of_seconds(watchdog: Any, place: str) -> None:
    (problem,) = problems({"gateway": {"watchdog": watchdog}})
    assert problem.startswith(f"{place}: expected ")


# -- processes -----------------------------------------------------------------------------------

SCRIPT = """
import ctypes, signal, sys, threading
from uun_iot_core import Gateway, on
asked = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: asked.set())
class Sensor:
    id = "sensor"
    @on("tick")
    def read(self):
        print("reading", flush=True)
        if "hang" in sys.argv:
            threading.Event().wait()
class Quick:
    id = "quick"
    @on("tick")
    def tick(self):
        pass
with Gateway(sys.argv[1], lambda config, client: [Sensor(), Quick()]) as gateway:
    signal.signal(signal.SIGTERM, gateway.signal_handler)
    if "killed" in sys.argv:
        # by what no handler raises: the threads of the scheduler end where they wake up next
        while not asked.wait(0.05):
            pass
        def calls():  # of each timer: a thread may end where only its own one is stuck
            feeder = gateway._supervision._feeder
            return [one.calls for one in (*gateway.timer_stats(), feeder.stats())]
        before = None
        while before != calls():
            before = calls()
            for one in threading.enumerate():
                if one.ident and one.name.startswith("uun_iot"):
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(one.ident), ctypes.py_object(SystemExit)
                    )
            threading.Event().wait(1)  # for 20 ticks, of which none may come
        print("no timer ticks", flush=True)
    gateway.stopev.wait()
"""


def service(systemd: Systemd, tmp_path: Path, *arguments: str) -> Child:
    path = tmp_path / "config.json"
    gateway = timers(sensor=0.2, quick=0.05)["gateway"]
    path.write_text(json.dumps({"gateway": {**gateway, "watchdog": {"limits": {"sensor": 0.5}}}}))
    env = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    return Child.python(SCRIPT, str(path), *arguments, env=env)


def test_a_process_that_is_well_feeds_the_watchdog_until_it_is_stopped(
    systemd: Systemd, tmp_path: Path
) -> None:
    with service(systemd, tmp_path) as child:
        systemd.wait_for("READY")
        for _ in range(5):
            assert systemd.next() == {"WATCHDOG": "1"}
        child.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING")
        assert child.wait() == 0, child.errors
        assert systemd.said()[-1] == {"STATUS": "stopped"}


def test_a_process_with_a_handler_that_hangs_does_not_feed_it(
    systemd: Systemd, tmp_path: Path
) -> None:
    with service(systemd, tmp_path, "hang") as child:
        systemd.wait_for("READY")
        assert systemd.next() == {"WATCHDOG": "1"}
        hung = systemd.wait_for("STATUS")
        assert hung["STATUS"].startswith("tick sensor has run for")
        # the other timers go on, and say so; what would feed it goes on as well, and does not
        for _ in range(5):
            assert set(systemd.next()) == {"STATUS"}
        assert child.process.poll() is None
        child.kill()  # as systemd does next
        child.wait()


def test_a_process_whose_scheduler_is_dead_does_not_feed_it(
    systemd: Systemd, tmp_path: Path
) -> None:
    with service(systemd, tmp_path, "killed") as child:
        systemd.wait_for("READY")
        assert systemd.next() == {"WATCHDOG": "1"}
        child.signal(signal.SIGHUP)
        child.wait_for_line("no timer ticks", timeout=30)
        systemd.said()
        with pytest.raises(queue.Empty):
            systemd.next(1.0)
        assert child.process.poll() is None  # it lives, and systemd would restart it
        child.kill()
        child.wait()


def test_a_process_that_is_frozen_does_not_feed_it(systemd: Systemd, tmp_path: Path) -> None:
    with service(systemd, tmp_path) as child:
        systemd.wait_for("READY")
        systemd.wait_for("WATCHDOG")
        child.signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        systemd.said()
        with pytest.raises(queue.Empty):
            systemd.next(1.0)
        child.signal(signal.SIGCONT)
        systemd.wait_for("WATCHDOG")


INTERRUPTED = """
import logging, sys
from uun_iot_core import Gateway, on
logging.basicConfig(level=logging.INFO)
class Module:
    id = "module"
    @on("start")
    def start(self, evs):
        print("started", flush=True)
        evs[1].wait()
    @on("stop")
    def stop(self):
        print("stopped", flush=True)
with Gateway(sys.argv[1], lambda config, client: Module()) as gateway:
    print("in the block", flush=True)
"""


def test_ctrl_c_while_systemd_makes_no_room_for_a_message_stops_the_gateway(
    tmp_path: Path,
) -> None:
    directory = f"/tmp/uun-iot-{secrets.token_hex(4)}"
    os.mkdir(directory)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        listener.bind(f"{directory}/notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:  # until its queue is full
                    sender.sendto(b"STATUS=many", f"{directory}/notify")
        path = tmp_path / "config.json"
        path.write_text("{}")
        env = {**os.environ, "NOTIFY_SOCKET": f"{directory}/notify"}
        with Child.python(INTERRUPTED, str(path), env=env) as child:
            child.wait_for_line("started")
            child.signal(signal.SIGINT)
            assert child.wait() in (-signal.SIGINT, 1, 130)
            assert child.lines == ["started", "stopped"]
            assert "KeyboardInterrupt" in child.errors[-1]
    finally:
        listener.close()
        os.unlink(f"{directory}/notify")
        os.rmdir(directory)
