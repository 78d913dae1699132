"""A gateway with its uuApp: real TLS, real files, real threads."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from tests.support.sandbox import Fault, Sandbox
from uun_iot import Gateway, Module, UuAppClient, UuCmdSession, on


def write_config(path: Path, uuapp: Sandbox, gateway: Dict[str, Any]) -> str:
    config = uuapp.configuration(
        token_path=str(path / "oidc-token"),
        gateway=gateway,
        commands={"weatherAdd": "weather/add"},
    )
    file = path / "config.json"
    file.write_text(json.dumps(config))
    return str(file)


class Weather(Module):
    """Stores a number at each ``measure`` tick and sends what is stored at each ``send`` tick."""

    def __init__(self, config: Dict[str, Any], uucmd: Callable[[List[Any]], List[Any]]) -> None:
        super().__init__(config=config, uucmd=uucmd)
        self.measured = 0
        self.updated = threading.Event()
        self.factor_at_update: Optional[int] = None

    @on("tick", "measure")
    def measure(self) -> None:
        self.measured += 1
        self._storage.append({"n": self.measured}, backup=True)

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage()

    @on("update")
    def update(self) -> None:
        self.factor_at_update = self._c("factor")
        self.updated.set()


def init(config: Dict[str, Any], uuclient: UuAppClient) -> Weather:
    def send(entries: List[Any]) -> List[Any]:
        session = UuCmdSession(uuclient, config["uuApp"]["uuCmdList"]["weatherAdd"])
        return [entry for entry in entries if session.post(entry)[1] is not None]

    return Weather(config["gateway"], send)


@pytest.fixture
def gateway_part(tmp_path: Path) -> Dict[str, Any]:
    return {
        "moduleTimers": {
            "heartbeat": 0.1,
            "config": 0.1,
            "weather": {"measure": 0.05, "send": 0.1},
        },
        "moduleBackupStorage": {"weather": str(tmp_path / "backup" / "weather.json")},
        "weather": {"factor": 1},
    }


def weather_of(gateway: Gateway) -> Weather:
    module = gateway._modules["weather"]
    assert isinstance(module, Weather)
    return module


def test_samples_and_heartbeats_arrive_and_a_new_configuration_takes_effect(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any]
) -> None:
    file = write_config(tmp_path, uuapp, gateway_part)
    with Gateway(file, init) as gateway:
        assert uuapp.wait_for(lambda: len(uuapp.received("gateway/heartbeat")) >= 2)
        assert uuapp.wait_for(lambda: len(uuapp.received("weather/add")) >= 3)
        weather, live = weather_of(gateway), gateway.config["gateway"]

        new = {
            **gateway_part,
            "moduleTimers": {
                "heartbeat": 3600,
                "config": 0.1,
                "weather": {"measure": 3600, "send": 0.1},
            },
            "weather": {"factor": 2},
        }
        uuapp.publish(new)
        assert weather.updated.wait(10)
        assert weather.factor_at_update == 2
        assert gateway.config["gateway"] is live and live == new
        assert json.loads(Path(file).read_text())["gateway"] == new
        before = weather.measured
        heartbeats = len(uuapp.received("gateway/heartbeat"))
        asked = len(uuapp.received("gateway/getConfiguration"))
        # five more polls at the old rate would be ten measurements
        assert uuapp.wait_for(lambda: len(uuapp.received("gateway/getConfiguration")) >= asked + 5)
        assert weather.measured <= before + 1
        assert len(uuapp.received("gateway/heartbeat")) <= heartbeats + 1
    sent = [entry["n"] for entry in uuapp.received("weather/add")]
    left = [entry["n"] for entry in json.loads((tmp_path / "backup" / "weather.json").read_text())]
    assert sorted({*sent, *left}) == list(range(1, weather.measured + 1))
    assert uuapp.grants == 1


def test_a_reply_that_is_no_configuration_changes_nothing(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    file = write_config(tmp_path, uuapp, gateway_part)
    before = Path(file).read_bytes()
    command = "gateway/getConfiguration"
    bad = [
        b"",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"moduleTimers": {"weather": 5}}',
        b'{"moduleTimers": {"weather": {"measure": 0, "send": 1}}}',
        b'{"moduleTimers": []}',
        b'{"moduleTimers": null}',
        b'{"moduleBackupStorage": 7}',
        b'{"weather": {"factor": 9}, "uuAppErrorMap": {"a/b": {"type": "error", "message": "x"}}}',
        b"[" * 100_000,
    ]
    gateway = Gateway(file, init)
    config = gateway._modules["config"]
    for body in bad:
        uuapp.faults.add(
            "reply", command=command, body=body, content_type="application/json", times=1
        )
        config.on_tick()
    uuapp.faults.add(
        "reply", command=command, body=b"<html>portal</html>", content_type="text/html"
    )
    config.on_tick()
    uuapp.faults.clear()
    assert gateway.config["gateway"] == gateway_part
    assert Path(file).read_bytes() == before
    assert "gateway.moduleTimers.weather.measure: expected a period" in caplog.text
    # and it still takes a good one
    uuapp.publish({**gateway_part, "weather": {"factor": 3}})
    config.on_tick()
    assert gateway.config["gateway"]["weather"] == {"factor": 3}
    gateway.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>portal</html>",
        b"{",
        b'{"uuAppErrorMap": {"a/b": {"type": "error"}}}',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
def test_what_a_portal_or_a_broken_server_answers_with_200_is_not_sent(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any], body: bytes, content_type: str
) -> None:
    file = write_config(tmp_path, uuapp, {**gateway_part, "moduleTimers": {}})
    gateway = Gateway(file, init)
    weather = weather_of(gateway)
    for _ in range(3):
        weather.measure()
    fault = uuapp.faults.add("reply", command="weather/add", body=body, content_type=content_type)
    weather.send()
    assert [entry["n"] for entry in weather._storage.data] == [1, 2, 3]
    uuapp.faults.remove(fault)
    weather.send()
    assert weather._storage.is_empty()
    assert [entry["n"] for entry in uuapp.received("weather/add")][-3:] == [1, 2, 3]


def test_it_starts_and_measures_without_a_server_and_delivers_when_there_is_one(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any]
) -> None:
    file = write_config(tmp_path, uuapp, gateway_part)
    uuapp.outage()
    with Gateway(file, init) as gateway:
        weather = weather_of(gateway)
        deadline = time.monotonic() + 20
        while weather.measured < 5 and time.monotonic() < deadline:
            gateway.stopev.wait(0.01)
        assert weather.measured >= 5 and uuapp.grants == 0
        stored = set(range(1, weather.measured + 1))
        uuapp.restore()

        def all_arrived() -> bool:
            return stored <= {entry["n"] for entry in uuapp.received("weather/add")}

        assert uuapp.wait_for(all_arrived, timeout=30)


def test_stopping_in_an_outage_with_a_long_backlog_takes_no_time(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any]
) -> None:
    file = write_config(
        tmp_path, uuapp, {**gateway_part, "moduleTimers": {"weather": {"send": 60, "measure": 60}}}
    )
    gateway = Gateway(file, init)
    weather = weather_of(gateway)
    weather._storage.merge([{"n": 1000 + number} for number in range(500)])
    assert weather._storage.data[0] == {"n": 1000}
    uuapp.faults.add(Fault("delay", command="weather/add", seconds=1.0))
    gateway.start()
    assert uuapp.wait_for(lambda: any(r.command == "weather/add" for r in uuapp.requests))
    begun = time.monotonic()
    gateway.stop()
    took = time.monotonic() - begun
    assert took < 30, took  # 500 s if each were tried
    left = json.loads((tmp_path / "backup" / "weather.json").read_text())
    assert len(left) >= 495


def test_stop_handlers_get_a_few_seconds_of_requests(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any]
) -> None:
    class Goodbye:
        id = "goodbye"
        answers: List[Any] = []

        def __init__(self, uuclient: UuAppClient) -> None:
            self._uuclient = uuclient

        @on("stop")
        def stop(self) -> None:
            self.answers.append(self._uuclient.post("goodbye/say", {"text": "bye"}))

    file = write_config(tmp_path, uuapp, {})
    with Gateway(file, lambda config, uuclient: Goodbye(uuclient)):
        pass
    ((response, error),) = Goodbye.answers
    assert error is None and response.status_code == 200
    assert uuapp.received("goodbye/say") == [{"text": "bye"}]


def test_the_library_modules_are_there_only_where_they_are_configured(
    uuapp: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"gateway": {"moduleTimers": {"config": 0.05, "heartbeat": 0.05}}}))
    with Gateway(str(file)) as gateway:
        assert set(gateway._modules) == {"config"}
        gateway.stopev.wait(0.2)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "gateway.moduleTimers.heartbeat: no module has a tick handler" in caplog.text

    assert set(Gateway(write_config(tmp_path, uuapp, {}))._modules) == {"config", "heartbeat"}


def test_a_gateway_that_talks_to_nobody_imports_no_http_library(tmp_path: Path) -> None:
    code = """
import json, sys, threading
from uun_iot import Gateway, Module, on

class Ticker(Module):
    def __init__(self, config):
        super().__init__(config=config)
        self.ticked = threading.Event()
    @on("tick")
    def tick(self):
        self.ticked.set()

with open("config.json", "w") as file:
    json.dump({"gateway": {"moduleTimers": {"ticker": 0.1, "config": 0.05}}}, file)
made = []
def init(config, uuclient):
    made.append(Ticker(config["gateway"]))
    return made[0]

with Gateway("config.json", init):
    assert made[0].ticked.wait(10)
assert "requests" not in sys.modules and "urllib3" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_secret_and_no_value_of_the_configuration_is_logged(
    uuapp: Sandbox, tmp_path: Path, gateway_part: Dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway_part["camera"] = {"password": "camera-password-marker"}
    file = write_config(tmp_path, uuapp, gateway_part)
    with Gateway(file, init) as gateway:
        uuapp.publish({**gateway_part, "camera": {"password": "second-password-marker"}})
        assert weather_of(gateway).updated.wait(10)
        uuapp.revoke_tokens()
        uuapp.faults.add("refuse_grant", times=1)
        assert uuapp.wait_for(lambda: uuapp.grants >= 2, timeout=30)
    text = caplog.text
    for secret in [*uuapp.secrets, "camera-password-marker", "second-password-marker"]:
        assert secret not in text
    assert "configuration updated" in text
