"""The outages in examples/outages, on a clock that is told to advance: nothing is lost."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.support.sandbox import Ledger, Sandbox, Script
from uun_iot import ManualClock, Module, UuAppClient, UuCmdSession, on
from uun_iot.testing import Delivery, Gateways

OUTAGES = Path(__file__).parents[2] / "examples" / "outages"
MINUTE = 60.0
HOUR = 60 * MINUTE
COMMAND = "weather/add"


class Weather(Module):
    """Measures and sends; entries have ids that count."""

    id = "weather"

    def __init__(self, config: Dict[str, Any], uuclient: UuAppClient) -> None:
        super().__init__(config=config["gateway"])
        self.client = uuclient
        self.command = config["uuApp"]["uuCmdList"]["weatherAdd"]
        self.measured = 0
        self.longest = 0

    @on("tick", "measure")
    def measure(self) -> None:
        self.measured += 1
        self._storage.append({"id": f"run-{self.measured}"}, backup=True)
        self.longest = max(self.longest, len(self._storage))

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage(self.post)

    def post(self, entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        session = UuCmdSession(self.client, self.command, log_level=logging.DEBUG)
        for at, entry in enumerate(entries):
            if session.post(entry)[1] is not None:
                return entries[at:]
        return []

    @property
    def backlog(self) -> int:
        return len(self._storage)


def deliveries(uuapp: Sandbox) -> List[str]:
    return [entry["id"] for entry in uuapp.received(COMMAND)]


CASES = [
    ("05-minutes-refused", 5 * MINUTE, 5, 15),
    ("10-minutes-unavailable", 10 * MINUTE, 5, 15),
    ("15-minutes-no-answer", 15 * MINUTE, 5, 15),
    ("20-minutes-lost-answers", 20 * MINUTE, 5, 15),
    ("30-minutes-of-everything", 30 * MINUTE, 10, 30),
    ("13-hours", 13 * HOUR, 60, 300),
]


@pytest.mark.parametrize("name, length, measure, send", CASES)
def test_nothing_is_lost(
    name: str,
    length: float,
    measure: float,
    send: float,
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    assert_nothing_lost: Callable[..., Delivery],
) -> None:
    script = Script.load(OUTAGES / f"{name}.toml")
    part = {
        "moduleTimers": {"config": 300, "weather": {"measure": measure, "send": send}},
        "moduleBackupStorage": {"weather": "backup/weather.json"},
    }
    uuapp.publish(part)
    running = gateway(
        lambda config, uuclient: Weather(config, uuclient),
        {"gateway": part, "uuApp": {"uuCmdList": {"weatherAdd": COMMAND}}},
    )
    weather = running._modules["weather"]
    assert isinstance(weather, Weather)
    uuapp.play(script)
    begin = script.steps[0].at
    clock.advance(begin - 1)
    before = deliveries(uuapp)
    assert weather.backlog <= send / measure  # all is well before
    clock.advance(1 + length - 1)
    # the outage was one: what was measured in it waits, and nothing had an answer
    assert weather.longest >= 0.95 * length / measure
    ended = [one for one in uuapp.requests if one.time >= clock.time() - length + 2]
    assert all(one.status != 200 or "half" in one.faults for one in ended)
    # a probe of the client's breaker, then all that waited
    clock.advance(script.seconds - begin - length + 20 * MINUTE)
    weather.send()
    assert uuapp.script_done
    assert weather.backlog == 0
    running.stop()
    delivery = assert_nothing_lost()
    assert delivery.stored == delivery.delivered == weather.measured
    assert (delivery.duplicated > 0) == (name == "20-minutes-lost-answers")
    produced = [f"run-{number}" for number in range(1, weather.measured + 1)]
    received = deliveries(uuapp)
    assert set(received) == set(produced) == set(uuapp.entries(COMMAND))
    # what the console counts, by the numbers in the ids alone, is the same
    ledger = Ledger()
    ledger.add(COMMAND, received)
    counts = ledger.counts()
    assert (counts.delivered, counts.missing) == (len(produced), 0)
    assert counts.duplicated == len(received) - len(produced) == delivery.duplicated
    assert len(before) >= (begin - send) / measure
    assert weather._storage.backup_path is not None
    assert json.loads(Path(weather._storage.backup_path).read_text()) == []


def test_each_example_has_its_test() -> None:
    assert {path.stem for path in OUTAGES.iterdir()} == {case[0] for case in CASES}
