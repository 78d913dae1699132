"""Scripted outages: what a timeline says happens when it says it, and mistakes in it are named."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest
import requests

from tests.support.sandbox import Sandbox, Script
from uun_iot import ManualClock
from uun_iot.sandbox import Fault, ScriptError
from uun_iot.sandbox.actions import parse_action, parse_flag
from uun_iot.sandbox.durations import parse_duration, show_duration

STORY = """
title = "one thing after another"
[[step]]
at = "30 s"
status = 503
for = "20 s"
[[step]]
at = "60 s"
drop_connections = true
[[step]]
at = "60 s"
expire_tokens = true
[[step]]
at = "60 s"
delay = "2 s"
for = "10 s"
[[step]]
at = "90 s"
configuration = { moduleTimers = { weather = 5 } }
[[step]]
at = "100 s"
outage = true
for = "1 h"
[[step]]
at = "3720 s"
certificate = "expired"
for = "1 min"
"""


class Client:
    def __init__(self, uuapp: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
        monkeypatch.setenv("NO_PROXY", "localhost")
        self.uuapp = uuapp
        self.session = requests.Session()
        self.token = ""
        self.grant()

    def grant(self) -> None:
        config = self.uuapp.configuration()
        app, thing = config["uuApp"], config["uuThing"]
        dto_in = {
            "grant_type": "password",
            "accessCode1": thing["accessCode1"],
            "accessCode2": thing["accessCode2"],
            "scope": f"openid https://{app['gateway']}/{app['uuAppName']}/{app['awid']}",
        }
        reply = self.session.post(self.uuapp.url("oidc/grantToken"), json=dto_in, timeout=10)
        self.token = reply.json()["id_token"]

    def call(self, command: str = "weather/add", **dto_in: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.session.post(self.uuapp.url(command), json=dto_in, headers=headers, timeout=10)


def test_a_story_happens_at_its_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    with Sandbox(clock=clock) as uuapp:
        client = Client(uuapp, monkeypatch)
        with client.session:
            uuapp.play(Script.parse(STORY))
            seen: List[str] = []
            uuapp.on_change = lambda: seen.append(f"{clock.monotonic():g}")

            clock.advance(29.9)
            assert client.call().status_code == 200
            clock.advance(0.1)
            assert client.call().status_code == 503
            assert uuapp.timeline is not None
            assert uuapp.timeline.to_come[0] == (20.0, "end of: status 503")
            clock.advance(20)
            assert client.call().status_code == 200

            connections = uuapp.connections
            clock.advance(10)
            assert client.call().status_code == 401  # the tokens have expired
            assert uuapp.connections == connections + 1
            client.grant()
            assert client.call().status_code == 200
            assert uuapp.requests[-1].faults == ["delay"]  # and takes no time on such a clock
            clock.advance(10)
            assert client.call().status_code == 200 and uuapp.requests[-1].faults == []

            assert uuapp.published == {}
            clock.advance(20)
            assert uuapp.published == {"moduleTimers": {"weather": 5}}

            clock.advance(10)
            assert uuapp.down
            with pytest.raises(requests.ConnectionError):
                client.call()
            clock.advance(3600)
            assert not uuapp.down and client.call().status_code == 401
            client.grant()
            assert client.call().status_code == 200

            clock.advance(20)
            with pytest.raises(requests.exceptions.SSLError):
                client.call()
            assert not uuapp.script_done
            clock.advance(60)
            assert client.call().status_code == 200
            assert uuapp.script_done and uuapp.timeline.to_come == []
        expected = ["30", "50", "60", "70", "90", "100", "3700", "3720", "3780"]
        assert sorted(set(seen), key=float) == expected


def test_a_script_runs_on_the_system_s_clock_too() -> None:
    with Sandbox() as uuapp:
        changed = threading.Event()
        uuapp.on_change = changed.set
        uuapp.play(Script.parse('[[step]]\nat = "50 ms"\nstatus = 503\n'))
        assert changed.wait(10)
        assert [fault.status for fault in uuapp.faults.in_force()] == [503]


def test_what_comes_at_once_has_happened_when_play_returns_and_in_the_file_s_order() -> None:
    text = "".join(f"[[step]]\nat = 0\nstatus = {status}\n" for status in (500, 502, 503))
    with Sandbox(clock=ManualClock()) as uuapp:
        uuapp.play(Script.parse(text))
        assert [fault.status for fault in uuapp.faults.in_force()] == [500, 502, 503]
        uuapp.clear()
        assert uuapp.faults.in_force() == []


def test_another_script_takes_the_place_of_one_under_way() -> None:
    clock = ManualClock()
    with Sandbox(clock=clock) as uuapp:
        uuapp.play(Script.parse("[[step]]\nat = 5\nstatus = 500\n"))
        uuapp.play(Script.parse("[[step]]\nat = 6\nstatus = 501\n"))
        clock.advance(10)
        assert [fault.status for fault in uuapp.faults.in_force()] == [501]


def test_a_stopped_sandbox_does_nothing_more() -> None:
    clock = ManualClock()
    uuapp = Sandbox(clock=clock)
    with uuapp:
        uuapp.play(Script.parse("[[step]]\nat = 5\noutage = true\n"))
    clock.advance(10)
    with uuapp:
        assert not uuapp.down
    with pytest.raises(RuntimeError, match="start"):
        uuapp.play(Script.parse("[[step]]\nat = 5\noutage = true\n"))


def test_one_thing_may_follow_another_without_a_gap() -> None:
    clock = ManualClock()
    steps = "[[step]]\nat = 1\noutage = true\nfor = 1\n[[step]]\nat = 2\noutage = true\nfor = 1\n"
    with Sandbox(clock=clock) as uuapp:
        uuapp.play(Script.parse(steps))
        clock.advance(2)
        assert uuapp.down
        clock.advance(1)
        assert not uuapp.down


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"t\.toml: there is no \[\[step\]\]; add one"),
        ("[[step]\n", r"t\.toml: this is not TOML: .*line 1"),
        ("x = 1", r"t\.toml: x: there is no such key"),
        ("title = 1", r"t\.toml: title: expected a text, got 1"),
        ("[step]\nat = 1", r"t\.toml: step: expected tables; write \[\[step\]\]"),
        ("\n[[step]]\nstatus = 503", r't\.toml:2: step 1: at: it is missing; write .*at = "30 s"'),
        ("[[step]]\nat = 'soon'\noutage = true", r"t\.toml:1: step 1: at: expected .*'soon'"),
        ("[[step]]\nat = -1\noutage = true", r"t\.toml:1: step 1: at: expected .*-1"),
        ("[[step]]\nat = 1\noutage = true\nfor = 0", r"step 1: for: expected more than 0 s"),
        ("[[step]]\nat = 1", r"t\.toml:1: step 1: expected one of status, .*got nothing"),
        ("[[step]]\nat = 1\nstatsu = 503", r"step 1: expected one of status, .*got statsu"),
        ("[[step]]\nat = 1\nstatus = 503\noutage = true", r"got status and outage"),
        ("[[step]]\nat = 1\nstatus = 99", r"step 1: status: expected an HTTP status .*99"),
        ("[[step]]\nat = 1\ndelay = 0", r"step 1: fault 'delay': seconds must be over 0"),
        ("[[step]]\nat = 1\nfault = 'dorp'", r"step 1: fault: expected one of delay, .*'dorp'"),
        ("[[step]]\nat = 1\nfault = 'drop'\ntimes = 'x'", r"times: expected int, got 'x'"),
        ("[[step]]\nat = 1\nfault = 'drop'\ntimes = true", r"times: expected int, got True"),
        ("[[step]]\nat = 1\nfault = 'drop'\ncolour = 1", r"colour: there is no such argument"),
        ("[[step]]\nat = 1\noutage = false", r"outage: expected true, got False"),
        ("[[step]]\nat = 1\noutage = true\ntimes = 1", r"outage takes nothing beside it"),
        ("[[step]]\nat = 1\ncertificate = 'bad'", r"certificate: expected one of valid, "),
        ("[[step]]\nat = 1\nconfiguration = 'x'", r"configuration: expected a table, got str"),
        ("[[step]]\nat = 1\nexpire_tokens = true\nfor = 2", r"for: what happens at once"),
        (
            "[[step]]\nat = 1\noutage = true\nfor = 9\n\n[[step]]\nat = 5\noutage = true",
            r"t\.toml:6: step 2: it begins while step 1 lasts",
        ),
    ],
)
def test_mistakes_are_named_with_their_place_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        Script.parse(text, "t.toml")


PLACE = r"^t\.toml:1: step 1: "
HOW = 'expected for example "30 s", .*'


@pytest.mark.parametrize(
    "step, message",
    [
        ("at = 2026-01-31", f"at: {HOW}got the date 2026-01-31$"),
        ("at = 00:01:30", f"at: {HOW}got the time 00:01:30$"),
        ("at = 2026-01-31T10:00:00Z", f"at: {HOW}got the date 2026-01-31 10:00:00"),
        ("at = nan", f"at: {HOW}got nan$"),
        ("at = inf", f"at: {HOW}got inf$"),
        ("at = -inf", f"at: {HOW}got -inf$"),
        ("at = -0.5", f"at: {HOW}got -0.5$"),
        ("at = '367 d'", "at: expected at most 366 d, got '367 d'$"),
        ("at = 1e300", r"at: expected at most 366 d, got 1e\+300$"),
        (f"at = {10**400}", "at: expected at most 366 d, got 10{58}…$"),
        (f"at = '{'9' * 400} d'", "at: expected at most 366 d, got '9+…$"),
        ("at = 1\nfor = 2026-01-31", f"for: {HOW}got the date 2026-01-31$"),
        ("at = 1\nfor = nan", f"for: {HOW}got nan$"),
        ("at = 1\nfor = '400 d'", "for: expected at most 366 d, got '400 d'$"),
        ("at = 1\ndelay = 2026-01-31", f"delay: {HOW}got the date 2026-01-31$"),
        ("at = 1\ndelay = nan", f"delay: {HOW}got nan$"),
        ("at = 1\ndelay = '61 min'", "delay: expected at most 1 h, got '61 min'$"),
        ("at = 1\nfault = 'slow'\nseconds = 3601", "seconds: expected at most 1 h, got 3601$"),
        ("at = 1\nfault = 'slow'\nseconds = inf", f"seconds: {HOW}got inf$"),
        ("at = 1\nstatus = 2026-01-31", "status: expected an HTTP .*got the date 2026-01-31$"),
        ("at = 1\nstatus = nan", "status: expected an HTTP status from 200 to 599, got nan$"),
        ("at = 1\nstatus = 503\ntimes = -1", "fault 'status': times must be at least 1, got -1$"),
        ("at = 1\nstatus = 503\ncommand = 2026-01-31", "command: expected str, got the date"),
        ("at = 1\nstatus = 503\nretry_after = nan", "retry_after: expected seconds, .*got nan$"),
        (f"at = 1\nstatus = 503\nretry_after = {10**400}", "retry_after: expected .*got 10{58}…"),
        ("at = 1\nstatus = 503\nretry_after = -1", "retry_after: expected seconds, .*got -1$"),
        ("at = 1\nfault = 'reply'\nbody = {a = [nan]}", r"body\.a\[0\]: expected a finite .*nan$"),
        ("at = 1\nfault = 'reply'\nbody = {a = 2026-01-31}", r"body\.a: expected JSON .*got date$"),
        (
            "at = 1\nconfiguration = { moduleTimers = { weather = nan } }",
            r"configuration\.moduleTimers\.weather: expected a finite number, got nan$",
        ),
        (
            "at = 1\nconfiguration = { installed = 2026-01-31 }",
            r"configuration\.installed: expected JSON .*got date$",
        ),
    ],
)
def test_a_value_that_cannot_be_played_is_named_with_its_step(step: str, message: str) -> None:
    with pytest.raises(ScriptError, match=PLACE + "(fault '[a-z]+': )?" + message):
        Script.parse(f"[[step]]\n{step}\n" + ("" if "\n" in step else "outage = true\n"), "t.toml")


def test_a_number_of_too_many_digits_is_no_toml() -> None:
    with pytest.raises(ScriptError, match=r"^t\.toml(:1: step 1: at: expected|: this is not TOML)"):
        Script.parse(f"[[step]]\nat = {'9' * 5000}\noutage = true", "t.toml")


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="none.toml: cannot be read: No such file"):
        Script.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("status=503", {"kind": "status", "status": 503}),
        (
            "status=503,times=2,command=weather/add",
            {"kind": "status", "times": 2, "command": "weather/add"},
        ),
        ("delay=2s", {"kind": "delay", "seconds": 2.0}),
        ("drop", {"kind": "drop", "processed": False}),
        ("drop,processed", {"kind": "drop", "processed": True}),
        (
            "slow, seconds=0.5, chunk_size=8",
            {"kind": "slow", "seconds": 0.5, "chunk_size": 8},
        ),
    ],
)
def test_flags_say_the_same_as_scripts(text: str, expected: Dict[str, Any]) -> None:
    with Sandbox() as uuapp:
        undo = parse_flag(text).apply(uuapp)
        (fault,) = uuapp.faults.in_force()
        assert {key: getattr(fault, key) for key in expected} == expected
        assert undo is not None
        undo()
        assert uuapp.faults.in_force() == []


@pytest.mark.parametrize(
    "fault, message",
    [
        ({"kind": "delay", "seconds": 3600.5}, "'delay': seconds: expected at most 1 h, got 3600"),
        ({"kind": "slow", "seconds": float("inf")}, "'slow': seconds: expected at most 1 h"),
        ({"kind": "redirect", "location": "http://h/\r\nX: 1"}, "'redirect': location: .*remove"),
        ({"kind": "redirect", "location": "http://h/\nX: 1"}, "'redirect': location: .*line break"),
        ({"kind": "redirect", "location": "http://h/\u20ac"}, "'redirect': location: .*in ASCII"),
        ({"kind": "status", "headers": {"X\r\nY": "1"}}, r"'status': headers\.X.*line break"),
        ({"kind": "status", "headers": {"X": "1\n"}}, r"'status': headers\.X: .*line break"),
        ({"kind": "reply", "content_type": "a\r\nb"}, "'reply': content_type: .*line break"),
        ({"kind": "status", "retry_after": "1\r\nX: 1"}, "'status': retry_after: .*line break"),
    ],
)
def test_a_fault_that_could_not_happen_is_refused(fault: Dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(**fault)


@pytest.mark.parametrize("text", ["delay=2h", "delay=1e9", "slow,seconds=3601"])
def test_flags_have_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="expected at most 1 h, got "):
        parse_flag(text)


@pytest.mark.parametrize("text", ["", "nonsense", "status", "outage,times=1", "configuration=x"])
def test_flags_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_flag(text)


def test_the_same_action_twice_makes_two_faults() -> None:
    action = parse_action({"status": 503})
    with Sandbox() as uuapp:
        first, second = action.apply(uuapp), action.apply(uuapp)
        assert first is not None and second is not None
        second()
        assert len(uuapp.faults.in_force()) == 1
        first()
        assert uuapp.faults.in_force() == []


@pytest.mark.parametrize(
    "value, seconds",
    [("30 s", 30), ("10min", 600), ("1 h 30 min", 5400), ("250 ms", 0.25), (7, 7), ("2 d", 172800)],
)
def test_durations(value: Any, seconds: float) -> None:
    assert parse_duration(value) == seconds
    assert parse_duration(show_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "value", ["", "s", "5", "5 parsecs", "-5 s", "1 s x", True, None, -1, 1e999]
)
def test_no_durations(value: Any) -> None:
    with pytest.raises(ValueError, match="expected for example"):
        parse_duration(value)
