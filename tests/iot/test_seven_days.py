"""Days of operation on a clock that is told to advance, beside a real server with outages."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
from array import array
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.support.sandbox import Fault, Sandbox
from uun_iot import Gateway, ManualClock, Module, UuAppClient, UuCmdSession, on

HOUR = 3600
#: in hours of each day: (begin, length, kind)
OUTAGES = ((2.0, 0.5, "status"), (9.0, 3.0, "drop"), (17.0, 0.25, "reset"))


class Weather(Module):
    """Measures each two minutes, sends each ten."""

    def __init__(self, config: Dict[str, Any], uuclient: UuAppClient) -> None:
        super().__init__(config=config["gateway"])
        self.client = uuclient
        self.command = config["uuApp"]["uuCmdList"]["weatherAdd"]
        self.measured = 0

    @on("tick", "measure")
    def measure(self) -> None:
        self.measured += 1
        self._storage.append(self.measured, backup=True)

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage(self.post)

    def post(self, entries: List[int]) -> List[int]:
        session = UuCmdSession(self.client, self.command, log_level=logging.DEBUG)
        return [] if session.post({"numbers": entries})[1] is None else entries


def figures() -> Dict[str, int]:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "blocks": sys.getallocatedblocks(),
        "resident": resident,
    }


def operate(uuapp: Sandbox, directory: Path, days: int) -> None:
    gateway_part: Dict[str, Any] = {
        "moduleTimers": {
            "heartbeat": 300,
            "config": 900,
            "weather": {"measure": 120, "send": 600},
        },
        "moduleBackupStorage": {"weather": str(directory / "weather.json")},
        "heartbeat": {"extended": True},
        "day": 0,
    }
    config = uuapp.configuration(
        token_path=str(directory / "token"),
        gateway=gateway_part,
        commands={"weatherAdd": "weather/add"},
    )
    uuapp.tokens.lifetime = 6 * HOUR  # the sandbox keeps each; with half an hour, 48 a day
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    clock = ManualClock()
    received = array("q")  # no objects, which are counted below
    seen: List[Dict[str, int]] = []
    with Gateway(str(path), lambda *args: Weather(*args), clock=clock) as gateway:
        weather = gateway._modules["weather"]
        assert isinstance(weather, Weather)
        for day in range(days):
            uuapp.publish({**gateway_part, "day": day + 1})
            now = 0.0
            for begin, length, kind in OUTAGES:
                clock.advance((begin - now) * HOUR)
                fault = uuapp.faults.add(
                    Fault(kind, status=503) if kind == "status" else Fault(kind)
                )
                clock.advance(length * HOUR)
                uuapp.faults.remove(fault)
                now = begin + length
            clock.advance((24 - now) * HOUR)
            assert gateway.config["gateway"]["day"] == day + 1
            for one in uuapp.received("weather/add"):
                received.extend(one["numbers"])
            sent = uuapp.received("gateway/heartbeat")
            assert sum(one["overruns"] for one in sent) == 0
            uuapp.records.clear()  # which would grow for ever
            seen.append(figures())
        assert not weather._storage.data or weather._storage.data[-1] == weather.measured
        left = list(weather._storage.data)
        stats = {one.name: one for one in gateway.timer_stats()}
    assert sorted({*received, *left}) == list(range(1, weather.measured + 1))
    assert len(received) == len(set(received))  # nothing twice either: no answer was lost
    assert weather.measured == days * 24 * 30 + 1
    assert stats["tick heartbeat"].calls == days * 24 * 12 + 1
    assert sum(one.missed + one.failures for one in stats.values()) == 0
    first, last = seen[0], seen[-1]
    assert last["threads"] <= first["threads"]
    assert last["descriptors"] <= first["descriptors"] + 2  # of the server's connections
    assert last["blocks"] - first["blocks"] <= 3_000, seen
    assert last["resident"] - first["resident"] <= 3_000_000, seen


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Log nothing: pytest would keep it all in memory."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@needs_proc
def test_a_day_with_outages_loses_nothing(uuapp: Sandbox, tmp_path: Path) -> None:
    operate(uuapp, tmp_path, 1)


@needs_proc
@pytest.mark.slow
@pytest.mark.long
def test_seven_days_with_outages_lose_nothing_and_cost_nothing(
    uuapp: Sandbox, tmp_path: Path
) -> None:
    operate(uuapp, tmp_path, 7)
