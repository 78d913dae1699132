"""`uun-iot check`: all problems, each on a line, and never a stack trace."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.iot.command import TIMERS, WEATHER, refused, run
from tests.support.rights import with_ordinary_rights
from tests.support.sandbox import Sandbox
from uun_iot.cli import check
from uun_iot.cli.main import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(config: Any, *arguments: str) -> Tuple[int, List[str]]:
    """Return the exit status of the command, and its lines without the file's name."""
    text = config if isinstance(config, str) else json.dumps(config)
    Path("config.json").write_text(text, encoding="utf-8")
    done = run("check", "config.json", *arguments, cwd=Path.cwd())
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert all(line.startswith("config.json: ") for line in lines)
    return done.returncode, [line[len("config.json: ") :] for line in lines]


def test_a_configuration_without_a_mistake_is_said_to_be_one() -> None:
    assert checked(TIMERS) == (0, ["nothing is wrong"])
    assert checked({}) == (0, ["nothing is wrong"])


def test_each_problem_of_each_part_is_a_line_with_its_place() -> None:
    status, lines = checked(
        {
            "gateway": {
                "moduleTimers": {"weather": {"send": 0}, "b": "often"},
                "moduleBackupStorage": {"weather": {"path": "", "limit": -1}},
                "heartbeat": {"extended": 1},
            },
            "uuApp": {
                "gateway": "https://uuapp.example",
                "uuCmdList": {"gatewayHeartbeat": 5, "weatherAdd": ""},
                "network": {"attempts": 0},
            },
            "uuThing": {"accessCode1": 5},
            "oidcGrantToken": {"gateway": "oidc.example", "uuAppName": "a b", "awid": "1"},
        }
    )
    assert status == 1
    assert lines == [
        "gateway.moduleTimers.weather.send: expected a period in seconds, a finite number over "
        "0, got 0.0",
        "gateway.moduleTimers.b: expected a period in seconds, a finite number over 0, got a "
        "string",
        "gateway.moduleBackupStorage.weather.path: expected the path of a file, got an empty "
        "string",
        "gateway.moduleBackupStorage.weather.limit: expected a number of entries, a whole number "
        "of 0 (no limit) or more, got -1",
        "gateway.heartbeat.extended: expected true or false, got a number",
        "uuApp.uuCmdList.gatewayHeartbeat: expected a string, got a number",
        "uuThing.accessCode1: expected a string, got a number",
        "uuApp.gateway: must be a host, or host:port, without scheme, user name and path; only "
        "HTTPS is spoken",
        "uuApp.uuAppName: missing or empty; calls to the uuApp need it",
        "uuApp.awid: missing or empty; calls to the uuApp need it",
        "uuThing.accessCode2: missing or empty; calls to the uuApp need it",
        "oidcGrantToken.uuAppName: cannot be a part of a URL: it is empty, or holds white space, "
        "`?`, `#` or a backslash",
        "oidcGrantToken.uuCmd: missing or empty; calls to the uuApp need it",
        "uuApp.uuCmdList.weatherAdd: must be a path such as gateway/heartbeat, got an empty string",
        "uuApp.network.attempts: must be 1 or more, got 0",
    ]


def test_what_is_only_warned_of_is_no_failure() -> None:
    status, lines = checked(
        {
            "gateway": {"moduleBackupStorage": {"weather": {"path": "s.json", "limt": 5}}},
            "uuApp": {"uuCmdList": {"weatherAdd": "weather/add"}},
        }
    )
    assert status == 0
    assert [line.rpartition(": ")[0] for line in lines[:2]] == [
        "warning: uuApp: no uuApp is configured (gateway, uuAppName, awid)",
        "warning: gateway.moduleBackupStorage.weather.limt",
    ]
    assert lines[2:] == ["nothing is wrong"]


def test_a_file_that_is_no_json_is_a_problem_and_one_that_is_not_there_a_mistake() -> None:
    status, lines = checked('{"gateway": {},}')
    assert status == 1 and "line 1, column 1" in lines[0] and "not valid JSON" in lines[0]
    assert checked("\ufeff{}") == (0, ["nothing is wrong"])
    assert checked("[" * 100_000)[0] == 1
    line = refused(run("check", "confg.json", cwd=Path.cwd()), 2)
    assert line == "uun-iot check: confg.json: there is no such file"
    os.mkdir("folder")
    assert run("check", "folder", cwd=Path.cwd()).returncode == 1


def test_a_key_that_is_there_twice_is_a_problem_beside_the_others() -> None:
    text = (
        '{"gateway": {"moduleTimers": {"a": 1}, "moduleTimers": {"b": 0}, "socket": {"path": 5}}}'
    )
    status, lines = checked(text)
    assert status == 1
    assert [line.partition(": ")[0] for line in lines] == [
        "gateway.moduleTimers",
        "gateway.moduleTimers.b",
        "gateway.socket.path",
    ]
    assert "more than once" in lines[0]
    status, lines = checked('{"gateway": {"socket": 7, "x": {"y": {}, "y": {}}}}')
    assert (status, [line.partition(": ")[0] for line in lines]) == (
        1,
        ["gateway.x.y", "gateway.socket"],
    )


def test_a_folder_where_nothing_may_be_written_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    os.mkdir("closed", 0o500)
    config = {"gateway": {"moduleBackupStorage": {"a": "closed/in/s.json"}}}
    Path("config.json").write_text(json.dumps(config))
    assert with_ordinary_rights(lambda: main(["check", "config.json"])) == 1
    said = "config.json: gateway.moduleBackupStorage.a: this user may not write in "
    assert capsys.readouterr().out.startswith(said)


def test_a_file_in_the_way_of_a_folder_is_named() -> None:
    Path("s.json").write_text("[]")
    status, lines = checked({"gateway": {"moduleBackupStorage": {"a": "s.json/in/t.json"}}})
    assert status == 1
    assert lines[0].endswith("s.json is no directory")


def test_a_number_that_is_no_secret_is_shown() -> None:
    gateway = {
        "moduleTimers": {"a.b": {"c.d": 10**400}, "a": {"b.c": 1}},
        "timerSpread": 3,
        "watchdog": {"limits": {"a": {"b": -2}, "c": 0}},
        "moduleBackupStorage": {"a": {"path": "a", "syncInterval": -0.5}, "b": 4711},
        "socket": 4712,
    }
    status, lines = checked({"gateway": gateway, "uuThing": {"accessCode1": 4713}})
    assert status == 1
    got = [line for line in lines if ", got " in line]
    assert {line.partition(": ")[0]: line.rpartition(", got ")[2] for line in got} == {
        "gateway.moduleTimers.a.b.c.d": "1" + 58 * "0" + "…",
        "gateway.timerSpread": "3",
        "gateway.watchdog.limits.a.b": "-2",
        "gateway.watchdog.limits.c": "0",
        "gateway.moduleBackupStorage.a.syncInterval": "-0.5",
        "gateway.moduleBackupStorage.b": "4711",
        "gateway.socket": "a number",
        "uuThing.accessCode1": "a number",
    }


def test_a_timer_of_the_library_without_its_command_is_warned_of_once() -> None:
    Path("weather.py").write_text("def init(config, uuclient):\n    return []\n")
    app: Dict[str, Any] = {"gateway": "uuapp.example", "uuAppName": "a", "awid": "1"}
    config = {
        "gateway": {"moduleTimers": {"heartbeat": 10, "config": 10}},
        "uuApp": app,
        "uuThing": {"accessCode1": "1", "accessCode2": "2"},
        "oidcGrantToken": {**app, "uuCmd": "oidc/grantToken"},
    }
    said = (
        "warning: gateway.moduleTimers.{}: nothing is called, since uuApp.uuCmdList.{} is not set"
    )
    expected = [
        said.format("heartbeat", "gatewayHeartbeat"),
        said.format("config", "gatewayGetConfiguration"),
        "nothing is wrong",
    ]
    assert checked(config) == checked(config, "--app", "weather") == (0, expected)
    nobody = {"gateway": config["gateway"], "uuApp": {"uuCmdList": {"a": "a/b"}}}
    _, lines = checked(nobody, "--app", "weather")
    assert [line.partition(" (")[0] for line in lines] == [
        "warning: uuApp: no uuApp is configured",
        "nothing is wrong",
    ]
    app["uuCmdList"] = dict.fromkeys(["gatewayHeartbeat", "gatewayGetConfiguration"], "a/b")
    assert checked(config) == (0, ["nothing is wrong"])


def test_no_secret_is_shown_and_nothing_steers_the_terminal() -> None:
    secret = "hunter2-4711"
    status, lines = checked(
        {
            "gateway": {"moduleTimers": {"\x1b[2Jweather\nnext": secret}},
            "uuThing": {"accessCode1": [secret], "accessCode2": secret},
            "uuApp": {"gateway": f"user:{secret}@host"},
        }
    )
    assert status == 1
    assert "gateway.moduleTimers.\\x1b[2Jweather\\nnext: expected a period" in lines[0]
    assert secret not in "".join(lines)


# -- the modules ----------------------------------------------------------------------------------


def test_it_says_where_the_configuration_does_not_fit_the_modules() -> None:
    Path("weather.py").write_text(WEATHER)
    config: Dict[str, Any] = {
        "gateway": {
            "moduleTimers": {"weather": 60, "wether": 5},
            "moduleBackupStorage": {"weather": "s.json"},
        }
    }
    status, lines = checked(config, "--app", "weather:init")
    assert status == 1
    assert lines[0].startswith("gateway.moduleTimers.weather: expected an object with a period")
    config["gateway"]["moduleTimers"]["weather"] = {"measure": 5, "sent": 5}
    status, lines = checked(config, "--app", "weather:init")
    assert (status, lines[-1]) == (0, "nothing is wrong")
    assert {line.split(" ")[1].rstrip(":") for line in lines[:-1]} == {
        "gateway.moduleTimers.weather.send",
        "gateway.moduleTimers.weather.sent",
        "gateway.moduleTimers.wether",
    }
    assert sorted({*os.listdir()} - {"__pycache__"}) == ["config.json", "weather.py"]  # no s.json


def test_a_backup_file_of_no_module_is_warned_of() -> None:
    Path("weather.py").write_text(WEATHER)
    storages = {"weather": "s.json", "wether": "t.json"}
    config = {"gateway": {**TIMERS["gateway"], "moduleBackupStorage": storages}}
    said = (
        "warning: gateway.moduleBackupStorage.wether: no module has this id; the modules are "
        "config, weather"
    )
    assert checked(config, "--app", "weather:init") == (0, [said, "nothing is wrong"])
    del storages["wether"]
    assert checked(config, "--app", "weather:init") == (0, ["nothing is wrong"])


def test_modules_that_cannot_be_made_are_a_problem() -> None:
    Path("weather.py").write_text(WEATHER)
    Path("config.json").write_text(json.dumps(TIMERS))
    done = run("check", "--app", "weather:broken", cwd=Path.cwd())
    assert done.returncode == 1
    assert done.stdout == "config.json: weather:broken failed: LookupError: no such sensor\n"
    assert "Traceback" in done.stderr and "weather.py" in done.stderr
    assert "has no `nothing`" in refused(
        run("check", "--app", "weather:nothing", cwd=Path.cwd()), 2
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_while_a_command_is_imported_is_one_line() -> None:
    script = """
import os, signal, sys
from uun_iot.cli.main import main

class Interrupting:
    def find_spec(self, name, *more):
        if name == "uun_iot.cli.check":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.exit(main(["check"]))
"""
    done = run(cwd=Path.cwd(), program=[sys.executable, "-c", script])
    assert refused(done, 130) == "uun-iot check: interrupted"


# -- online ---------------------------------------------------------------------------------------


def online(uuapp: Sandbox, **commands: str) -> Dict[str, Any]:
    return uuapp.configuration(gateway={"moduleTimers": {"heartbeat": 60}}, commands=commands)


def test_online_it_asks_for_a_token_and_calls_each_command(uuapp: Sandbox) -> None:
    status, lines = checked(online(uuapp, weatherAdd="weather/add"), "--online")
    assert (status, lines) == (
        0,
        [
            "oidcGrantToken: a token was obtained",
            "uuApp.uuCmdList.gatewayHeartbeat: answered",
            "uuApp.uuCmdList.gatewayGetConfiguration: answered",
            "uuApp.uuCmdList.weatherAdd: answered",
            "nothing is wrong",
        ],
    )
    asked = [(one.method, one.command) for one in uuapp.requests]
    assert asked == [
        ("POST", "oidc/grantToken"),
        ("POST", "gateway/heartbeat"),
        ("GET", "gateway/getConfiguration"),
        ("GET", "weather/add"),
    ]
    assert uuapp.received("gateway/heartbeat")[0].keys() == {
        "bootTimestamp",
        "cpuUsage",
        "ramUsage",
    }
    assert not any(secret in "".join(lines) for secret in uuapp.secrets)


def test_online_it_says_what_does_not_work(uuapp: Sandbox) -> None:
    uuapp.faults.add("status", command="weather/add", status=400)
    uuapp.faults.add("status", command="gateway/heartbeat", status=403)
    uuapp.publish({"moduleTimers": {"heartbeat": -5}})
    status, lines = checked(online(uuapp, weatherAdd="weather/add"), "--online")
    assert status == 1
    assert lines[1].startswith("uuApp.uuCmdList.gatewayHeartbeat: 403 ")
    assert lines[3] == (
        "uuApp.uuCmdList.gatewayGetConfiguration: its reply would be refused: "
        "gateway.moduleTimers.heartbeat: expected a period in seconds, a finite number over 0, "
        "got -5.0"
    )
    assert lines[4].startswith("uuApp.uuCmdList.weatherAdd: answered, that the empty input")


def test_online_without_a_token_nothing_else_is_asked(uuapp: Sandbox) -> None:
    config = online(uuapp)
    config["uuThing"]["accessCode1"] = "wrong"
    status, lines = checked(config, "--online")
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("oidcGrantToken: ") and "identityNotAuthenticated" in lines[0]
    uuapp.outage()
    status, lines = checked(online(uuapp), "--online")
    assert (status, len(lines)) == (1, 1)
    assert "refused" in lines[0]
    assert checked({}, "--online")[1] == ["uuApp: no uuApp is configured: there is nobody to ask"]


# -- anything -------------------------------------------------------------------------------------

texts = st.text(st.characters(), max_size=4)  # also surrogates, which JSON can hold
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
#: objects with the keys that something is read from, at any level
KEYS = (
    "gateway moduleTimers moduleBackupStorage path limit a watchdog limits heartbeat socket "
    "extended timerSpread uuApp uuCmdList gatewayHeartbeat network deadline uuThing accessCode1 "
    "oidcGrantToken tokenPath uuCmd uuAppName awid healthCheck config"
).split()
configurations = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)


@pytest.mark.slow
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=configurations)
@example(value={"gateway": {"moduleBackupStorage": {"a": {"path": "\ud800"}}}})
@example(value={"gateway": {"moduleTimers": {"\ud800": 0}}})
@example(value={"gateway": {"moduleBackupStorage": None}, "uuApp": None})
@example(value={"gateway": {"moduleBackupStorage": {"a": "a" * 5000}}})
def test_whatever_the_json_is_it_is_judged(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.json").write_text(json.dumps(value), encoding="utf-8")
    options = argparse.Namespace(config="config.json", application=None, events=False, online=False)
    status = check.main(options)
    output = capsys.readouterr().out
    assert output.endswith("\n")
    assert all(line.startswith("config.json: ") for line in output.splitlines())
    assert (status == 0) is output.endswith(": nothing is wrong\n")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=20) | st.text(max_size=20).map(str.encode))
def test_whatever_the_bytes_are_they_are_judged(
    content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.json").write_bytes(content)
    options = argparse.Namespace(config="config.json", application=None, events=False, online=False)
    assert check.main(options) in (0, 1)
    assert capsys.readouterr().out.startswith("config.json: ")
