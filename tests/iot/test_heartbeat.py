"""The heartbeat: what it sends, and what it knows of the connection."""

from __future__ import annotations

import json
import logging
import secrets
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import psutil
import pytest

from tests.support.sandbox import Sandbox
from tests.support.systemd import Systemd
from uun_iot import Gateway, ManualClock, get_datetime_from_iso_timestamp, on
from uun_iot.exceptions import ModuleError
from uun_iot.modules import Heartbeat
from uun_iot.testing import Gateways


def test_it_sends_boot_time_in_utc_and_the_use_of_processor_and_memory() -> None:
    sent: List[Dict[str, Any]] = []
    Heartbeat(sent.append).on_tick()
    (dto_in,) = sent
    assert set(dto_in) == {"bootTimestamp", "cpuUsage", "ramUsage"}
    boot = get_datetime_from_iso_timestamp(dto_in["bootTimestamp"])
    assert abs(boot - datetime.fromtimestamp(psutil.boot_time(), timezone.utc)) < timedelta(
        seconds=2
    )
    assert 0 <= dto_in["cpuUsage"] <= 100
    assert 0 < dto_in["ramUsage"] <= 100


def test_it_logs_online_and_offline_once_at_first_and_at_each_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: List[Any] = []
    heartbeat = Heartbeat(lambda dto_in: answers.pop(0))
    caplog.set_level(logging.DEBUG, "uun_iot")
    ok, refused = SimpleNamespace(status_code=200), SimpleNamespace(status_code=404)
    assert not heartbeat.online
    said = []
    for answer, online in [
        (None, False),
        (None, False),
        (ok, True),
        (ok, True),
        (False, False),
        (None, False),
        (SimpleNamespace(status_code=204), True),
        (refused, False),
    ]:
        answers.append(answer)
        heartbeat.on_tick()
        assert heartbeat.online is online
        said.append([record.message for record in caplog.records if "line" in record.message])
        caplog.clear()
    assert said == [["offline"], [], ["online"], [], ["offline"], [], ["online"], ["offline"]]


def test_it_is_offline_where_sending_raises() -> None:
    answers = iter([SimpleNamespace(status_code=200)])
    heartbeat = Heartbeat(lambda dto_in: next(answers))
    heartbeat.on_tick()
    assert heartbeat.online
    with pytest.raises(StopIteration):
        heartbeat.on_tick()
    assert not heartbeat.online


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
def test_a_server_out_of_reach_is_no_reason_to_restart_the_device(
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That the process is alive, and that the server is reachable, are told apart."""
    systemd = Systemd(f"@uun-iot-{secrets.token_hex(8)}")
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    try:
        part = {
            "moduleTimers": {"heartbeat": 30, "config": 30},
            "watchdog": {"limits": {"heartbeat": 60, "config": 60}},
        }
        with gateway(lambda config, client: None, part) as running:
            clock.advance(30)
            assert running.status()["online"] is True
            uuapp.outage()
            systemd.said()
            clock.advance(600)
            assert running.status()["online"] is False
            assert systemd.said() == [{"WATCHDOG": "1"}] * 60  # each 10 s, and nothing else
    finally:
        systemd.close()


def test_without_psutil_the_figures_are_null() -> None:
    code = """
import sys
sys.modules["psutil"] = None  # what an import of a package that is not there does
from uun_iot.modules import Heartbeat
Heartbeat(print).on_tick()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'bootTimestamp': None, 'cpuUsage': None, 'ramUsage': None}"


def test_a_module_of_the_application_takes_the_place_of_the_librarys(tmp_path: Path) -> None:
    class Own:
        id = "heartbeat"
        ticks = 0

        @on("tick")
        def tick(self) -> None:
            self.ticks += 1

    config = {
        "gateway": {"moduleTimers": {"heartbeat": 1}},
        "uuApp": {
            "gateway": "uuapp.example",
            "uuAppName": "example",
            "awid": "0",
            "uuCmdList": {"gatewayHeartbeat": "gateway/heartbeat"},
        },
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    own, clock = Own(), ManualClock()
    with Gateway(str(path), lambda config, uuclient: own, clock=clock):
        clock.advance(2)
    assert own.ticks == 3
    with pytest.raises(ModuleError, match="two modules have the id `heartbeat`"):
        Gateway(str(path), lambda config, uuclient: [own, Own()], clock=clock)


def test_before_the_first_one_nobody_knows_whether_it_is_online() -> None:
    heartbeat = Heartbeat(lambda dto_in: SimpleNamespace(status_code=200))
    assert heartbeat._gateway_status() == {"online": None}
    heartbeat.on_tick()
    assert heartbeat._gateway_status() == {"online": True}
