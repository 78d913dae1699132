"""An application in the field runs unchanged: `uun-weatherstation` against the embedded uuApp."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.support.sandbox import Request, Sandbox
from tests.support.wait import eventually

from .conftest import WEATHERSTATION
from .console import BROKEN, CLOSED, FIRST_TS, HANGING, NULL_VALUES, TYPES, WeatherConsole
from .published import Release, damage
from .station import ADD, TIMEOUT, Station, serials, shape

HEARTBEAT = "gateway/heartbeat"
GET_CONFIGURATION = "gateway/getConfiguration"

MakeStation = Callable[..., Station]


#: for what does not depend on the style: the releases differ in little else
documented_style = pytest.mark.parametrize("release", [WEATHERSTATION], ids=str, indirect=True)


def test_what_is_tested_is_the_published_release(weatherstation: Path, release: Release) -> None:
    assert damage(release, weatherstation) == []
    assert [path.name for path in weatherstation.glob("*.dist-info")] == [release.dist_info]
    assert not (weatherstation / "uun_iot").exists()


# -- the main job


@pytest.mark.parametrize("health", [False, True], ids=["without health check", "health check"])
def test_samples_of_all_types_arrive_once_and_in_order(
    make_station: MakeStation, uuapp: Sandbox, console: WeatherConsole, health: bool
) -> None:
    station = make_station(health)
    if health:
        assert shape(station.config) == shape(station.sample())
    with station.start() as run:
        run.until_delivered(batches=5)
        run.until_all_delivered()
        assert run.terminate() == 0

    account = station.account()
    assert account.lost == set() and account.stored == []
    assert account.delivered == sorted(account.produced)
    received = uuapp.received(ADD)
    assert {entry["type"] for entry in received} == set(TYPES)
    first, last = received[0], received[-1]
    assert first["timestamp"] == "2023-11-14T22:13:21.000Z"  # FIRST_TS and a second
    assert first["timestamp"] < last["timestamp"]
    assert {entry["did"] for entry in received} == {console.did}
    by_type = {entry["type"]: entry for entry in received[:4]}
    assert (by_type[1]["temp"], by_type[1]["hum"], by_type[1]["thwIndex"]) == (22.5, 48.1, None)
    assert by_type[1]["rainStormStartAt"] == "2023-11-14T22:13:20.000Z"
    assert by_type[2]["temp3"] == 0.0
    assert by_type[3]["barSeaLevel"] == pytest.approx(76.2)
    assert by_type[4]["tempIn"] == 25.0


def test_heartbeats_arrive(station: Station, uuapp: Sandbox) -> None:
    with station.start() as run:
        run.until(lambda: len(uuapp.received(HEARTBEAT)) >= 3, "three heartbeats")
        assert run.terminate() == 0
    figures = importlib.util.find_spec("psutil") is not None
    for heartbeat in uuapp.received(HEARTBEAT):
        assert set(heartbeat) == {"bootTimestamp", "cpuUsage", "ramUsage"}
        if figures:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", heartbeat["bootTimestamp"])
            assert 0 <= heartbeat["cpuUsage"] <= 100
            assert 0 < heartbeat["ramUsage"] <= 100


@documented_style
def test_entries_of_a_batch_share_a_connection(station: Station, uuapp: Sandbox) -> None:
    with station.start() as run:
        run.until_delivered(batches=5)
        assert run.terminate() == 0
    # three timers send, each in a thread of its own
    assert uuapp.connections <= 6 < len(uuapp.received(ADD))


def test_it_starts_without_a_network_and_with_damaged_files(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    station.directory.mkdir(parents=True)
    station.token_path.write_text('{"id_token": "half', encoding="utf-8")
    station.backup_path.parent.mkdir()
    station.backup_path.write_text('[{"lsid": 1}, {"ls', encoding="utf-8")
    uuapp.outage()
    with station.start() as run:
        run.until(lambda: console.batches >= 3, "samples taken offline")
        aside = list(station.backup_path.parent.glob("weatherConditions.json.bad*"))
        assert [path.read_text(encoding="utf-8") for path in aside] == ['[{"lsid": 1}, {"ls']
        assert aside[0].name in run.output
        uuapp.restore()
        run.until_delivered(batches=4)
        assert run.terminate() == 0
    assert station.account().lost == set()


# -- configuration


def times_asked(uuapp: Sandbox) -> int:
    """Return how often the application has asked for its configuration."""
    return [request.command for request in uuapp.requests].count(GET_CONFIGURATION)


def test_published_periods_change_the_rates(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    hour = 3600
    station.gateway["moduleTimers"].update(
        heartbeat=hour, weatherConditions={"get": hour, "send": hour}
    )
    with station.start() as run:
        run.until(lambda: console.batches == 1, "the first sample")
        run.until(lambda: len(uuapp.received(HEARTBEAT)) == 1, "the first heartbeat")

        uuapp.publish(
            station.changed_gateway(heartbeat=0.1, weatherConditions={"get": 0.05, "send": 0.1})
        )
        run.until(lambda: console.batches >= 10, "samples at the new rate")
        run.until_delivered(batches=10)
        run.until(lambda: len(uuapp.received(HEARTBEAT)) >= 10, "heartbeats at the new rate")

        slow = station.changed_gateway(heartbeat=hour, weatherConditions={"get": hour, "send": 0.1})
        uuapp.publish(slow)
        run.until(lambda: station.saved_config()["gateway"] == slow, "the new file")
        asked = times_asked(uuapp)
        # it asks again only when it is done with the answer before
        run.until(lambda: times_asked(uuapp) > asked, "the new periods in force")
        run.until_drained()
        samples, heartbeats = console.batches, len(uuapp.received(HEARTBEAT))
        more = eventually(
            lambda: (
                console.batches > samples + 1 or len(uuapp.received(HEARTBEAT)) > heartbeats + 1
            ),
            timeout=1.0,
        )
        assert not more, "the old rates went on"
        assert run.terminate() == 0
    assert station.account().lost == set()


def test_a_published_address_reaches_the_module_and_the_file(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    with WeatherConsole(did="001D0A70FFFF") as other, station.start() as run:
        run.until_delivered()
        before = station.saved_config()
        gateway = station.changed_gateway()
        gateway["weatherConditions"]["ipAddress"] = other.url
        uuapp.publish(gateway)

        run.until(
            lambda: any(entry["did"] == other.did for entry in uuapp.received(ADD)),
            "samples of the other console",
        )
        run.until(lambda: station.saved_config()["gateway"] == gateway, "the new file")
        assert station.saved_config() == {**before, "gateway": gateway}
        visits = len(console.visits)
        seen = other.batches
        run.until(lambda: other.batches >= seen + 5, "more samples of the other console")
        assert len(console.visits) == visits

        # what was accepted holds after a restart, with no word of the server
        assert run.terminate() == 0
        uuapp.outage()
        seen = other.batches
        with station.start() as again:
            again.until(lambda: other.batches >= seen + 3, "samples after a restart")
            assert again.terminate() == 0
        assert len(console.visits) == visits


@documented_style
def test_a_published_time_out_reaches_the_module(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    with station.start() as run:
        run.until_delivered()
        gateway = station.changed_gateway()
        gateway["weatherConditions"]["timeout"] = 0.25
        uuapp.publish(gateway)
        run.until(lambda: station.saved_config()["gateway"] == gateway, "the new file")
        console.behave(HANGING)
        # a request that began with the time-out before takes that long
        run.child.wait_for_line(r"unreachable \(0\.25 s timeout\)", 2 * TIMEOUT)
        console.behave()
        run.until_delivered()
        assert run.terminate() == 0


USELESS = {
    "a web page": "<html><body>Sign in to the network</body></html>",
    "nothing": "",
    "null": "null",
    "a list": "[]",
    "text as a period": '{"moduleTimers": {"weatherConditions": {"get": "often", "send": 1}}}',
    "zero as a period": '{"moduleTimers": {"weatherConditions": {"get": 0, "send": 1}}}',
    "one period for named timers": '{"moduleTimers": {"weatherConditions": 5}}',
    "a list of timers": '{"moduleTimers": []}',
}


@documented_style
def test_a_useless_configuration_from_the_server_changes_nothing(
    station: Station, uuapp: Sandbox
) -> None:
    with station.start() as run:
        run.until_delivered(batches=1)
        before = station.config_path.read_bytes()
        for what, answer in USELESS.items():
            said = len(run.child.errors)
            fault = uuapp.faults.add("reply", command=GET_CONFIGURATION, body=answer)
            enough = times_asked(uuapp) + 3
            run.until(lambda: times_asked(uuapp) >= enough, f"three times {what}")  # noqa: B023 - called in the loop
            run.until_delivered(batches=1)
            assert station.config_path.read_bytes() == before, what
            if "moduleTimers" in answer:
                run.child.wait_for_line(r"gateway\.moduleTimers", TIMEOUT, start=said)
            uuapp.faults.remove(fault)
        assert run.terminate() == 0
    assert station.account().lost == set()


# -- outages, crashes, stops


@pytest.mark.parametrize("health", [False, True], ids=["without health check", "health check"])
def test_kill_in_an_outage_loses_nothing_and_the_backlog_drains(
    make_station: MakeStation, uuapp: Sandbox, console: WeatherConsole, health: bool
) -> None:
    station = make_station(health)
    with station.start() as run:
        run.until_delivered()
        uuapp.outage()
        handed = console.batches
        run.until(lambda: console.batches >= handed + 6, "a backlog")
        at_kill = run.kill()
    backlog = station.account()
    assert backlog.lost == set()
    assert len(backlog.stored) >= 4 * 6 - 4  # the last answer may not have been stored yet

    with station.start() as run:
        handed = console.batches
        run.until(lambda: console.batches >= handed + 6, "a larger backlog")
        assert len(station.backup()) > len(backlog.stored)
        uuapp.restore()
        run.until(
            lambda: set(backlog.stored) <= set(station.delivered), "the old backlog delivered"
        )
        run.until_delivered()
        run.until_all_delivered()
        assert run.terminate() == 0

    account = station.account()
    assert account.lost == set() and account.stored == []
    assert account.produced <= set(account.delivered)
    assert account.duplicated <= at_kill  # a request that the outage cut off may come again
    assert len(account.duplicated) <= 1


def test_kills_while_it_sends_lose_nothing(station: Station) -> None:
    found: List[int] = []
    for batches in (1, 2, 3, 1):
        with station.start() as run:
            run.until_delivered(batches)
            found += run.kill()
        assert station.account().lost == set()
    with station.start() as run:
        run.until_delivered(batches=1)
        run.until_all_delivered()
        assert run.terminate() == 0
    account = station.account()
    assert account.lost == set() and account.stored == []
    assert account.duplicated <= set(found)


@documented_style
def test_a_server_that_fails_or_shows_a_page_gets_everything_later(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    faults: List[Dict[str, Any]] = [
        {"fault": "status", "status": 503},
        {"fault": "reply", "body": "<html>Sign in</html>", "content_type": "text/html"},
        {"fault": "reply", "body": b""},
        {"fault": "reset"},
        {"fault": "half"},
    ]
    with station.start() as run:
        run.until_delivered(batches=1)
        for number, arguments in enumerate(faults):
            fault = uuapp.faults.add(command=ADD, **arguments)
            before = console.batches
            run.until(lambda: console.batches >= before + 4, "samples meanwhile")  # noqa: B023 - called within the loop
            assert len(station.backup()) >= 4, f"fault {number}: nothing was kept"
            uuapp.faults.remove(fault)
            run.until_delivered()
        run.until_all_delivered()
        assert run.terminate() == 0
    account = station.account()
    assert account.lost == set() and account.stored == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_an_outage_leaves_the_backlog_in_the_file(
    station: Station, uuapp: Sandbox, console: WeatherConsole, number: int
) -> None:
    with station.start() as run:
        run.until_delivered()
        uuapp.outage()
        handed = console.batches
        run.until(lambda: console.batches >= handed + 5, "a backlog")
        assert run.end_by(number) == 0
    content = json.loads(station.backup_path.read_text(encoding="utf-8"))
    assert isinstance(content, list)
    account = station.account()
    assert account.lost == set()
    assert len(account.stored) >= 4 * 5
    assert account.stored == sorted(account.stored)
    assert "Traceback" not in run.output


def test_a_full_storage_keeps_the_newest(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    limit = station.sample()["gateway"]["moduleBackupStorage"]["weatherConditions"]["limit"]
    station.gateway["moduleBackupStorage"]["weatherConditions"]["limit"] = limit
    uuapp.outage()
    with station.start() as run:
        run.until(lambda: console.batches * 4 > limit + 20, "more than there is room for")
        assert len(station.backup()) <= limit
        assert run.terminate() == 0
    stored = serials(station.backup())
    assert len(stored) == limit
    handed = [serial for visit in console.visits for serial in visit.serials]
    assert stored in (handed[-limit:], handed[-limit - 4 : -4])  # the last may be on its way


# -- a weather console that is broken


@documented_style
def test_a_broken_console_hurts_nothing(
    station: Station, uuapp: Sandbox, console: WeatherConsole
) -> None:
    with station.start() as run:
        run.until_delivered(batches=1)
        for mood in BROKEN:
            console.behave(mood)
            visits = len(console.visits)
            run.until(lambda: len(console.visits) >= visits + 3, f"it asks again after {mood}")  # noqa: B023 - called in the loop
            beats = len(uuapp.received(HEARTBEAT))
            run.until(lambda: len(uuapp.received(HEARTBEAT)) > beats, f"heartbeats with {mood}")  # noqa: B023 - called in the loop
            discarded = list(station.directory.glob("null-responses/*.json"))
            assert bool(discarded) == (mood == NULL_VALUES)  # the last of them
            console.behave()
            run.until_delivered(batches=1)
        assert run.terminate() == 0
    account = station.account()
    assert account.lost == set() and account.duplicated == set()


# -- the token


@documented_style
@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_a_token_that_ends_in_the_middle_is_replaced(
    station: Station, uuapp: Sandbox, end: str
) -> None:
    with station.start() as run:
        run.until_delivered()
        assert uuapp.grants == 1
        if end == "expired":
            uuapp.expire_tokens()
        else:
            uuapp.revoke_tokens()
        run.until_delivered(batches=4)
        run.until_all_delivered()
        assert run.terminate() == 0
    assert uuapp.grants == 2
    account = station.account()
    assert account.lost == set() and account.duplicated == set()


@documented_style
def test_it_runs_over_the_ends_of_many_tokens(station: Station, uuapp: Sandbox) -> None:
    uuapp.tokens.lifetime = 1.0
    with station.start() as run:
        run.until(lambda: uuapp.grants >= 4, "four tokens")
        run.until_delivered()
        run.until_all_delivered()
        assert run.terminate() == 0
    refused: List[Request] = [request for request in uuapp.requests if request.status == 401]
    assert refused == [], "a refresh came too late"
    account = station.account()
    assert account.lost == set() and account.duplicated == set()


def test_the_token_is_for_the_owner_alone_and_serves_the_next_run(
    station: Station, uuapp: Sandbox
) -> None:
    umask = os.umask(0o022)  # the usual one, which leaves files readable to all
    try:
        for _ in range(2):
            with station.start() as run:
                run.until_delivered()
                assert stat.S_IMODE(station.token_path.stat().st_mode) == 0o600
                assert run.terminate() == 0
    finally:
        os.umask(umask)
    assert uuapp.grants == 1
    # a published program reads these two
    token = json.loads(station.token_path.read_text(encoding="utf-8"))
    assert token["id_token"] in uuapp.secrets
    assert token["expires_at"] > FIRST_TS


# -- what it says


@documented_style
@pytest.mark.parametrize("health", [False, True], ids=["without health check", "health check"])
def test_no_secret_and_no_value_is_in_the_output(
    make_station: MakeStation, uuapp: Sandbox, console: WeatherConsole, health: bool
) -> None:
    station = make_station(health)
    console.did = f"did-{secrets.token_hex(8)}"
    password = secrets.token_hex(16)
    station.gateway["weatherConditions"]["password"] = password
    with station.start("--log", "DEBUG") as run:
        run.until_delivered()
        uuapp.expire_tokens()
        run.until_delivered()
        uuapp.faults.add("status", status=500, command=ADD, times=2)
        uuapp.faults.add("reply", command=ADD, times=2, body="<html>Sign in</html>")
        gateway = station.changed_gateway(heartbeat=0.1)
        gateway["weatherConditions"]["password"] = changed = secrets.token_hex(16)
        uuapp.publish(gateway)
        run.until(lambda: station.saved_config()["gateway"] == gateway, "the new file")
        broken = {**gateway, "moduleTimers": {"weatherConditions": changed}}
        uuapp.publish(broken)
        console.behave("null")  # the application fails with a stack trace
        run.child.wait_for_line("Traceback", TIMEOUT)
        console.behave()
        uuapp.outage()
        handed = console.batches
        run.until(lambda: console.batches >= handed + 3, "samples in the outage")
        uuapp.restore()
        uuapp.revoke_tokens()
        fault = uuapp.faults.add("refuse_grant", times=1)
        run.until(lambda: fault not in uuapp.faults.in_force(), "a refused grant")
        run.until_delivered()
        assert run.terminate() == 0

    output = run.output
    assert re.search(r"^uun_iot\S* - DEBUG - ", output, re.MULTILINE)
    assert re.search(r"^uun_weatherstation\S* - ", output, re.MULTILINE)
    for secret in uuapp.secrets:
        assert secret not in output
        assert secret.rpartition(".")[2] not in output  # the signature of a token
    for value in (password, changed, console.did):
        assert value not in output
    diagnostics = "".join(path.read_text() for path in station.diagnostics_path.glob("*"))
    assert not [secret for secret in uuapp.secrets if secret in diagnostics]


@documented_style
def test_each_line_has_a_priority_under_systemd(station: Station, console: WeatherConsole) -> None:
    with station.start("--log", "DEBUG", "--systemd") as run:
        run.until_delivered(batches=1)
        console.behave("null")
        run.child.wait_for_line(r"^<3>TypeError", TIMEOUT)  # the last line of a stack trace
        assert run.terminate() == 0
    assert run.child.errors
    assert [line for line in run.child.errors if not re.match(r"<[2-7]>", line)] == []


# -- the health check


@documented_style
def test_the_health_check_ends_a_process_that_does_not_send(
    make_station: MakeStation, uuapp: Sandbox, console: WeatherConsole
) -> None:
    station = make_station(health=True)
    station.gateway["healthCheck"]["modules"]["weatherConditions"]["leeway"] = 1.5
    station.gateway["moduleTimers"]["healthCheck"]["weatherConditions"] = 2
    console.behave(CLOSED)  # nothing is stored, so nothing is sent
    with station.start() as run:
        assert run.child.wait(TIMEOUT) == 1
    assert uuapp.received(ADD) == []
    assert "SIGUSR1" in run.output
    (path,) = station.diagnostics_path.iterdir()
    assert re.fullmatch(
        r"weatherConditions_diagnostic_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.log", path.name
    )
    text = path.read_text(encoding="utf-8")
    assert "Module: weatherConditions" in text
    events = ("DIAGNOSTICS_START", "TIMER_CALL get", "GATEWAY_SIGNAL SIGUSR1", "DIAGNOSTICS_STOP")
    places = [text.find(event) for event in events]
    assert -1 not in places and places == sorted(places), text
    assert "TIMER_CALL send" in text
    assert "DATA_SEND_ATTEMPTED" not in text
    assert json.loads(station.backup_path.read_text(encoding="utf-8")) == []


@documented_style
def test_the_health_check_saves_its_diagnostic_when_sending_goes_on(
    make_station: MakeStation, console: WeatherConsole
) -> None:
    station = make_station(health=True)
    station.gateway["healthCheck"]["modules"]["weatherConditions"]["leeway"] = 1
    station.gateway["moduleTimers"]["healthCheck"]["weatherConditions"] = 2
    console.behave(CLOSED)
    with station.start() as run:
        run.child.wait_for_line("has not tried to send", TIMEOUT)
        console.behave()
        run.until_delivered()
        run.until(lambda: list(station.diagnostics_path.glob("*.log")), "a diagnostic")
        (path,) = station.diagnostics_path.iterdir()
        run.until(
            lambda: "DIAGNOSTICS_STOP" in path.read_text(encoding="utf-8"), "all of the diagnostic"
        )
        run.until_delivered()
        assert run.terminate() == 0
    text = path.read_text(encoding="utf-8")
    for event in ("DATA_RECEIVED", "DATA_SEND_IMMINENT", "DATA_SEND_ATTEMPTED", "DATA_SEND_OK"):
        assert event in text
    assert "GATEWAY_SIGNAL" not in text
    assert station.account().lost == set()
