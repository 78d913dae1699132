"""The command `status`: one JSON object that says how a gateway fares."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.core.helpers import Updated, make_gateway, messages, timers, write_config
from tests.support.commands import ask
from uun_iot_core import EvExternal, Gateway, ManualClock, __version__, on

WALL = 1_700_000_000.0  # 2023-11-14T22:13:20Z


class Module:
    id = "weather"

    def __init__(self) -> None:
        self.fails = False

    @on("tick", "send")
    def send(self) -> None:
        if self.fails:
            raise ConnectionError("holds a secret")

    @on("tick", "measure")
    def measure(self) -> None: ...


def test_the_status_of_a_gateway_that_runs(tmp_path: Path) -> None:
    clock, module = ManualClock(wall=WALL), Module()
    config = timers(weather={"send": 300, "measure": 60})
    config["gateway"]["socket"] = {"path": str(tmp_path / "s")}
    path = write_config(tmp_path, config)
    os.utime(path, (WALL - 3600, WALL - 3600))
    gateway = Gateway(path, lambda config, client: module, clock=clock)
    assert gateway.status()["uptime"] is None
    assert gateway.status()["timers"][0]["nextTick"] is None
    with gateway:
        clock.advance(0)
        module.fails = True
        clock.advance(310)
        answer = ask(str(tmp_path / "s"), b"status\n")
    assert gateway.status()["uptime"] is None
    assert answer.startswith(b"0 {") and answer.endswith(b"}\n") and answer.count(b"\n") == 1
    status: Dict[str, Any] = json.loads(answer[2:])
    assert status == {
        "version": __version__,
        "pid": os.getpid(),
        "started": "2023-11-14T22:13:20.000Z",
        "uptime": 310.0,
        "online": None,
        "timers": [
            {
                "name": "weather:send",
                "period": 300.0,
                "running": True,
                "lastTick": "2023-11-14T22:18:20.000Z",
                "nextTick": "2023-11-14T22:23:20.000Z",
                "runningFor": None,
                "duration": 0.0,
                "maxDuration": 0.0,
                "lateness": 0.0,
                "maxLateness": 0.0,
                "calls": 2,
                "missed": 0,
                "overruns": 0,
                "failures": 1,
                "lastError": {"type": "ConnectionError", "at": "2023-11-14T22:18:20.000Z"},
            },
            {
                "name": "weather:measure",
                "period": 60.0,
                "running": True,
                "lastTick": "2023-11-14T22:18:20.000Z",
                "nextTick": "2023-11-14T22:19:20.000Z",
                "runningFor": None,
                "duration": 0.0,
                "maxDuration": 0.0,
                "lateness": 0.0,
                "maxLateness": 0.0,
                "calls": 6,
                "missed": 0,
                "overruns": 0,
                "failures": 0,
                "lastError": None,
            },
        ],
        "storages": {},
        "token": None,
        "configuration": {
            "file": path,
            "lastUpdate": "2023-11-14T21:13:20.000Z",
            "rolledBack": False,
        },
    }
    assert b"secret" not in answer


def test_the_last_update_is_told(tmp_path: Path) -> None:
    with Updated(tmp_path, {"a": 1}) as updated:
        before = updated.gateway.status()["configuration"]["lastUpdate"]
        updated.ask({**updated.start, "a": 2})
        after = updated.gateway.status()["configuration"]["lastUpdate"]
        assert after != before
        updated.ask({**updated.start, "a": 2})  # is no update
        assert updated.gateway.status()["configuration"]["lastUpdate"] == after


def test_the_next_tick_of_a_call_under_way_is_the_one_after_it(tmp_path: Path) -> None:
    clock = ManualClock(wall=WALL)
    seen: List[Any] = []

    class Watching:
        @on("tick")
        def tick(self) -> None:
            (timer,) = gateway.status()["timers"]
            seen.append((timer["lastTick"], timer["nextTick"], timer["runningFor"]))

    gateway = make_gateway(tmp_path, timers(watching=10), Watching(), clock=clock)
    with gateway:
        clock.advance(10)
    assert seen == [
        ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:30.000Z", 0.0),
        ("2023-11-14T22:13:30.000Z", "2023-11-14T22:13:40.000Z", 0.0),
    ]


class Telling:
    def __init__(self, id: str, told: Any) -> None:
        self.id = id
        self.told = told

    def _gateway_status(self) -> Any:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def test_modules_and_the_client_add_what_they_know(tmp_path: Path) -> None:
    modules = [
        Telling("one", {"storages": {"one": {"entries": 1}}, "online": False}),
        Telling("two", {"storages": {"two": {"entries": 2}}, "camera": {"lens": "clean"}}),
    ]

    class Client:
        def _gateway_status(self) -> Dict[str, Any]:
            return {"token": {"state": "fresh"}}

    status = Gateway(
        write_config(tmp_path),
        lambda config, client: modules,
        client=lambda config: Client(),  # type: ignore[arg-type,return-value]  # only its status counts
    ).status()
    assert status["storages"] == {"one": {"entries": 1}, "two": {"entries": 2}}
    assert status["online"] is False
    assert status["camera"] == {"lens": "clean"}
    assert status["token"] == {"state": "fresh"}


def test_what_a_module_tells_replaces_nothing_and_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modules = [
        Telling("one", {"version": "mine", "timers": {}, "configuration": {"more": 1}}),
        Telling("two", {"nan": float("nan")}),
        Telling("three", {"set": {1}}),
        Telling("four", None),
        Telling("five", ValueError("no")),
        Telling("six", {"six": 6}),
    ]
    gateway = make_gateway(tmp_path, {}, *modules)
    status = gateway.status()
    assert status["version"] == __version__
    assert status["timers"] == []
    assert status["configuration"]["more"] == 1
    assert status["six"] == 6
    assert not {"nan", "set"} & set(status)
    json.dumps(status, allow_nan=False)
    assert messages(caplog, logging.ERROR) == [
        f"module `{one}` tells no status" for one in ("two", "three", "four", "five")
    ]


def test_a_handler_of_the_application_wins(tmp_path: Path) -> None:
    class Own:
        @EvExternal.subscribe_command("status")
        def status(self, evs: Any) -> str:
            return "all is well"

    config = {"gateway": {"socket": {"path": str(tmp_path / "s")}}}
    with make_gateway(tmp_path, config, Own()):
        assert ask(str(tmp_path / "s"), b"status\n") == b"0 all is well\n"


def test_a_clock_beyond_all_dates_is_no_error(tmp_path: Path) -> None:
    clock = ManualClock(wall=1e15)
    with make_gateway(
        tmp_path, timers(weather={"send": 1, "measure": 1}), Module(), clock=clock
    ) as gateway:
        clock.advance(0)
        status = gateway.status()
    assert status["started"] is None
    assert status["timers"][0]["lastTick"] is None


def test_submodules_of_one_id_are_told_apart(tmp_path: Path) -> None:
    modules = [Telling(one, {"storages": {"sensor": {"path": one}}}) for one in ("a", "b", "c")]
    status = make_gateway(tmp_path, {}, *modules).status()
    assert {name: one["path"] for name, one in status["storages"].items()} == {
        "sensor": "a",
        "sensor 2": "b",
        "sensor 3": "c",
    }
