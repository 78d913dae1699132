"""Counters in heartbeats: they count on until one arrives, also over restarts."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.support.sandbox import Fault, Sandbox
from uun_iot import Gateway, ManualClock, Module, on
from uun_iot.modules.counters import Counters
from uun_iot.testing import Gateways
from uun_iot_core import problems
from uun_iot_storage import Storage

COMMAND = "gateway/heartbeat"
BASIC = {"bootTimestamp", "cpuUsage", "ramUsage"}
ZERO = {"sent": 0, "failed": 0, "dropped": 0, "restarts": 0, "overruns": 0, "rollBacks": 0}


class Weather(Module):
    """Stores one entry at each tick, and sends as the test says."""

    def __init__(self, config: Dict[str, Any], clock: ManualClock) -> None:
        super().__init__(config=config)
        self.clock = clock
        self.up = True
        self.lasting = 0.0

    @on("tick", "measure")
    def measure(self) -> None:
        self._storage.append({"t": 21.5}, backup=True)
        self.clock.advance(self.lasting)

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage(lambda entries: [] if self.up else entries)


class Device:
    """A gateway on a manual clock, with heartbeats each 60 s.

    Args:
        uuapp: the server.
        gateways: make it; what they keep is kept for the next device of the test.
        clock: the gateway's.
        extended: the setting; absent where None.
    """

    def __init__(
        self, uuapp: Sandbox, gateways: Gateways, clock: ManualClock, extended: Any = True
    ) -> None:
        part: Dict[str, Any] = {
            "moduleTimers": {"heartbeat": 60, "weather": {"measure": 10, "send": 20}},
            "moduleBackupStorage": {"weather": {"path": "w.json", "limit": 5}},
        }
        if extended is not None:
            part["heartbeat"] = {"extended": extended}
        self.uuapp = uuapp
        self.clock = clock
        self.gateway = gateways(
            lambda config, client: Weather(config["gateway"], clock), part, start=False
        )
        weather = self.gateway._modules["weather"]
        assert isinstance(weather, Weather)
        self.weather = weather

    def beats(self) -> List[Dict[str, Any]]:
        """Return the counters of the heartbeats so far."""
        return [
            {key: value for key, value in beat.items() if key not in BASIC}
            for beat in self.uuapp.received(COMMAND)
        ]


def test_they_count_what_has_happened_since_the_last_one_that_arrived(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        device.clock.advance(0)
        assert device.beats() == [ZERO]  # before the first entry
        device.clock.advance(59)
        sent = device.weather._storage.stats().sent
        device.clock.advance(1)
        assert device.beats()[-1] == {**ZERO, "sent": sent}
        assert sent > 2
        device.weather.lasting = 11
        device.clock.advance(9)
        device.clock.advance(51)
        assert device.beats()[-1]["overruns"] > 0
    assert not any("config.json.bad" in name for name in os.listdir(tmp_path / "gateway"))


def test_in_an_outage_they_grow_and_come_with_the_first_that_arrives(
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        device.clock.advance(1)
        outage = uuapp.faults.add(Fault("status", command=COMMAND, status=503))
        device.weather.up = False
        device.clock.advance(600)
        lost = device.weather._storage.stats()
        uuapp.faults.remove(outage)
        device.clock.advance(60)
        arrived = device.beats()[-1]
        assert arrived["failed"] >= lost.failed > 0
        assert arrived["dropped"] >= lost.dropped > 0
        device.weather.up = True
        device.clock.advance(60)
        assert device.beats()[-1]["dropped"] <= 3  # what came since the last one
    said = [one.getMessage() for one in caplog.records if one.getMessage() in ("online", "offline")]
    assert said == ["online", "offline", "online"]


def test_in_an_outage_they_are_kept_now_and_then_also_for_a_process_that_is_killed(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    device = Device(uuapp, gateway, clock)
    path = Path(f"{device.gateway._config._path}.counters")
    writes = 0
    with device.gateway:
        device.clock.advance(1)
        uuapp.faults.add(Fault("status", command=COMMAND, status=503))
        device.weather.up = False
        before = path.read_bytes()
        for _ in range(60):
            device.clock.advance(60)
            writes += path.read_bytes() != before
            before = path.read_bytes()
        assert 5 <= writes <= 6  # each ten minutes of the hour
        dropped = device.weather._storage.stats().dropped
        kept = json.loads(path.read_text())  # what is there where it is killed now
        assert dropped - 60 <= kept["dropped"] <= dropped
        assert kept["dropped"] > 200


def test_after_an_outage_the_file_is_written_once_and_not_at_each_heartbeat(
    tmp_path: Path,
) -> None:
    path = tmp_path / "counters"
    sent = 0
    counters = Counters(
        str(path), ManualClock(), lambda: {"sent": {None: sent}}, wanted=lambda: True
    )
    counters.started()
    sent = 3
    counters._saved_at = -1e9  # the last write was long ago
    counters.failed()
    assert json.loads(path.read_text())["sent"] == 3
    told = counters.pending()
    sent += 1  # while the heartbeat is under way
    counters.arrived(told)
    inode = path.stat().st_ino
    assert json.loads(path.read_text())["sent"] == 0
    for _ in range(100):
        told = counters.pending()
        sent += 1
        counters.arrived(told)
    assert path.stat().st_ino == inode  # it is replaced where it is written
    counters.stopped()
    assert json.loads(path.read_text())["sent"] == 1


def test_what_begins_anew_is_counted_on_and_never_taken_back(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    device = Device(uuapp, gateway, clock)
    device.weather.lasting = 15
    with device.gateway:
        clock.advance(300)
        sent, overruns = (sum(one[key] for one in device.beats()) for key in ("sent", "overruns"))
        assert sent > 0 and overruns > 0
        device.weather._storage.close()
        device.weather._storage = Storage("another", str(tmp_path / "another.json"))
        config = device.gateway._config
        part = config.config["gateway"]
        config._take({**part, "moduleTimers": {**part["moduleTimers"], "weather": {"send": 20}}})
        clock.advance(60)
    with device.gateway:  # without the timer that has overrun
        clock.advance(300)
        device.weather.measure()
        clock.advance(120)
    assert all(count >= 0 for beat in device.beats() for count in beat.values())
    assert sum(one["sent"] for one in device.beats()) > sent


def test_restarts_are_counted_until_a_heartbeat_arrives(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    outage = uuapp.faults.add(Fault("status", command=COMMAND, status=503))
    for _ in range(3):
        device = Device(uuapp, gateway, clock)
        with device.gateway:
            device.clock.advance(25)
    kept = json.loads((tmp_path / "gateway" / "config.json.counters").read_text())
    assert kept["restarts"] == 2
    assert kept["sent"] > 0
    uuapp.faults.remove(outage)
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        device.clock.advance(60)
        first, second = device.beats()[-2:]
        assert first["restarts"] == 3 and first["sent"] >= kept["sent"]
        assert second["restarts"] == 0
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        device.clock.advance(0)
        assert device.beats()[-1]["restarts"] == 1


def test_what_is_kept_is_told_also_where_an_update_asks_for_it_later(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    device = Device(uuapp, gateway, clock, extended=False)
    kept = tmp_path / "gateway" / "config.json.counters"
    kept.write_text(json.dumps({**ZERO, "sent": 1000}))
    with device.gateway:
        clock.advance(60)
        assert not any(device.beats())
        config = device.gateway._config
        config._take({**config.config["gateway"], "heartbeat": {"extended": True}})
        clock.advance(60)
        assert device.beats()[-1]["sent"] > 1000
    assert json.loads(kept.read_text())["sent"] < 1000


def test_a_roll_back_is_told_once(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path
) -> None:
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        config = device.gateway._config
        config._take({**config.config["gateway"], "place": "cellar"})
    path = tmp_path / "gateway" / "config.json"
    file = path.with_name("config.json.update")
    known = json.loads(file.read_text())
    reply = list(known["trial"]["configs"].values())[-1]
    known["trial"]["ends"] = [reply] * 3  # three processes ended badly with it
    file.write_text(json.dumps(known))
    with Gateway(str(path), clock=clock) as again:
        assert "place" not in again.config["gateway"]
        clock.advance(120)
        assert [beat["rollBacks"] for beat in device.beats()[-3:]] == [1, 0, 0]


@pytest.mark.parametrize("extended", [None, False])
def test_without_the_setting_nothing_is_sent_or_kept(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path, extended: Any
) -> None:
    device = Device(uuapp, gateway, clock, extended)
    with device.gateway:
        device.clock.advance(60)
    assert device.beats() == [{}, {}]
    assert "config.json.counters" not in os.listdir(tmp_path / "gateway")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"sent": "many"}', '{"sent": null}', "5", '{"sent": 1e999}']
)
def test_a_damaged_file_of_counters_keeps_nothing_from_working(
    uuapp: Sandbox, gateway: Gateways, clock: ManualClock, tmp_path: Path, content: str
) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "config.json.counters").write_text(content)
    device = Device(uuapp, gateway, clock)
    with device.gateway:
        device.clock.advance(0)
    assert device.beats() == [{**ZERO, "restarts": 1}]


@pytest.mark.parametrize(
    ("heartbeat", "place"),
    [
        (5, "gateway.heartbeat"),
        ({"extended": "yes"}, "gateway.heartbeat.extended"),
        ({"extended": 1}, "gateway.heartbeat.extended"),
        ({"extended": None}, "gateway.heartbeat.extended"),
    ],
)
def test_the_setting_is_true_or_false(heartbeat: Any, place: str) -> None:
    (problem,) = problems({"gateway": {"heartbeat": heartbeat}})
    assert problem.startswith(f"{place}: expected ")


def test_what_takes_part_in_a_sum_may_go(tmp_path: Path) -> None:
    read: Dict[str, Dict[Any, int]] = {"overruns": {"a": 5, "b": 3}}
    counters = Counters(str(tmp_path / "counters"), ManualClock(), lambda: read, lambda: True)
    told = counters.pending()
    assert told["overruns"] == 8
    counters.arrived(told)
    read["overruns"] = {"a": 5}
    assert counters.pending()["overruns"] == 0
    read["overruns"] = {"a": 1}  # another one of that name
    assert counters.pending()["overruns"] == 1
