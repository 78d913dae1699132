"""`python -m uun_iot.sandbox`, as a user runs it."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List

import pytest
import requests

from tests.iot.command import refused, run
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot import UuAppClient
from uun_iot.sandbox import Script
from uun_iot.sandbox.actions import ACTIONS
from uun_iot.sandbox.command import add_arguments

COMMAND = [sys.executable, "-W", "error", "-m", "uun_iot.sandbox"]
ANY_PORT = ["--port", "0", "--console-port", "0"]


def start(directory: Path, *arguments: str) -> Child:
    return Child([*COMMAND, *arguments], env=dict(os.environ), cwd=str(directory))


def up(child: Child) -> Dict[str, str]:
    child.wait_for_line("It runs until Ctrl-C", 20)
    pairs = [line.split(None, 1) for line in child.lines if "  " in line]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def fails(directory: Path, *arguments: str) -> "tuple[int, str]":
    with start(directory, *arguments) as child:
        status = child.wait(20)
        assert len(child.errors) >= 1 and not any("Traceback" in line for line in child.errors)
        return status, child.errors[-1]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


def call(monkeypatch: pytest.MonkeyPatch, directory: Path, said: Dict[str, str], **dto: Any) -> Any:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", said["authority"].split("  ")[0])
    monkeypatch.chdir(directory)
    with closing(UuAppClient(json.loads((directory / "config.json").read_text()))) as client:
        return client.command("weather/add", dto)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    extra = ["--config-out", "config.json", "--command", "weatherAdd=weather/add"]
    with start(tmp_path, *ANY_PORT, *extra, "--record", "requests.jsonl") as child:
        said = up(child)
        config = json.loads((tmp_path / "config.json").read_text())
        assert said["uuApp"] == f"https://{config['uuApp']['gateway']}"
        assert config["uuApp"]["uuCmdList"]["weatherAdd"] == "weather/add"
        assert config["gateway"]["moduleTimers"]["heartbeat"] > 0
        assert call(monkeypatch, tmp_path, said, id="a-1", x="\ud800")["id"] == "a-1"
        state = requests.get(f"{said['console']}api/state", timeout=10).json()
        assert state["counts"]["delivered"] == 1
        child.signal(number)
        assert child.wait() == 0
        assert child.errors == []
    recorded = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert [one["command"] for one in recorded] == ["oidc/grantToken", "weather/add"]
    assert config["uuThing"]["accessCode1"] not in (tmp_path / "requests.jsonl").read_text()
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert (tmp_path / ".sandbox" / ".gitignore").read_text() == "*\n"  # it holds keys


@pytest.mark.slow
def test_a_second_run_keeps_configuration_and_what_the_user_has_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = ["--port", port, "--console-port", "0", "--config-out", "config.json"]
    with start(tmp_path, *arguments) as child:
        up(child)
    config = json.loads(path.read_text())
    config["gateway"]["weather"] = {"place": "Brno"}
    config["uuApp"]["uuCmdList"]["mine"] = "weather/mine"
    path.write_text(json.dumps(config))
    with start(tmp_path, *arguments) as child:
        call(monkeypatch, tmp_path, up(child))
        assert json.loads(path.read_text()) == config


def test_a_terminal_that_knows_few_characters_gets_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "meteo čidlo"
    folder.mkdir()
    with Child(
        [*COMMAND, *ANY_PORT, "--config-out", "čidlo.json"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=str(folder),
    ) as child:
        said = up(child)
        assert said["config"] == r"\u010didlo.json"
        # what is to be typed is one word
        assert said["authority"].endswith(r"meteo \u010didlo/.sandbox/ca.pem')")
        assert "REQUESTS_CA_BUNDLE='/" in said["authority"]
        child.terminate()
        assert (child.wait(), child.errors) == (0, [])
    assert (folder / "čidlo.json").exists()


def test_a_folder_with_something_in_it_is_not_kept_from_git(tmp_path: Path) -> None:
    (tmp_path / "weather.py").write_text("")
    with start(tmp_path, *ANY_PORT, "--directory", ".") as child:
        up(child)
    assert not (tmp_path / ".gitignore").exists() and (tmp_path / "ca.pem").exists()


def test_it_prints_the_configuration_where_no_file_is_named(tmp_path: Path) -> None:
    with start(tmp_path, *ANY_PORT, "--no-console", "--gateways", "2") as child:
        said = up(child)
        assert "console" not in said
        text = "\n".join(child.lines)
        decoder = json.JSONDecoder()
        first, at = decoder.raw_decode(text, text.index("{"))
        second, _ = decoder.raw_decode(text, text.index("{", at))
        assert first["uuThing"] != second["uuThing"]
        assert second["oidcGrantToken"]["tokenPath"] == "./oidc-token-2"


def test_several_gateways_get_files_of_their_own(tmp_path: Path) -> None:
    arguments = ["--config-out", "config.json", "--gateways", "3", "--no-console"]
    with start(tmp_path, *ANY_PORT, *arguments) as child:
        up(child)
    names = sorted(path.name for path in tmp_path.glob("config*.json"))
    assert names == ["config-2.json", "config-3.json", "config.json"]


def test_faults_answers_and_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers" / "weather").mkdir(parents=True)
    (tmp_path / "answers" / "weather" / "add.json").write_text('{"answered": true}')
    (tmp_path / "outage.toml").write_text('[[step]]\nat = "300 ms"\noutage = true\n')
    with start(
        tmp_path, *ANY_PORT, "--config-out", "config.json", "--answers", "answers",
        "--fault", "status=503,command=weather/other", "--fault", "delay=1ms",
        "--script", "outage.toml", "--token-lifetime", "5 min",
    ) as child:  # fmt: skip
        said = up(child)
        state = f"{said['console']}api/state"
        faults = requests.get(state, timeout=10).json()["faults"]
        assert [one["text"] for one in faults] == ["status 503 for weather/other", "delay 0.001 s"]
        assert eventually(lambda: requests.get(state, timeout=10).json()["down"])
        child.wait_for_line("outage.toml: connections are refused")
        requests.delete(f"{said['console']}api/faults", timeout=10)
        assert call(monkeypatch, tmp_path, said)["answered"] is True
        token = json.loads((tmp_path / "oidc-token").read_text())
        assert token["expires_in"] == 300


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["--port", "x"], 2, "expected a port from 0 to 65535, got 'x'"),
        (["--port", "65536"], 2, "expected a port"),
        (["--fault", "nonsense"], 2, "nonsense: expected key=value"),
        (["--fault", "status=1000"], 2, "expected an HTTP status"),
        (["--command", "x"], 2, "expected NAME=UUCMD"),
        (["--token-lifetime", "0"], 2, "expected more than 0 s"),
        (["--token-lifetime", "9" * 400], 2, "expected at most 366 d, got "),
        (["--token-lifetime", "²"], 2, 'expected for example "30 s"'),
        (["--gateways", "0"], 2, "--gateways: expected a whole number from 1 to 1000, got '0'"),
        (["--gateways", "1000000"], 2, "--gateways: expected a whole number from 1 to 1000, got"),
        (["--gateways", "9" * 5000], 2, "--gateways: expected a whole number from 1 to 1000, got"),
        (["--gateways", "two"], 2, "--gateways: expected a whole number from 1 to 1000, got 'two'"),
        (["--keep", "0"], 2, "--keep: expected a whole number from 1 to 1000000, got '0'"),
        (["--keep", "1000000000"], 2, "--keep: expected a whole number from 1 to 1000000, got"),
        (["--port", "9" * 5000], 2, "expected a port from 0 to 65535"),
        (["--name", ""], 2, "--name: expected the name or IPv4 address"),
        (
            ["--name", "https://laptop.local/"],
            2,
            "--name: expected the name or IPv4 address",
        ),
        (["--host", ""], 2, "--host: expected the name or IPv4 address"),
        (["--name", "host:80"], 2, "--name: expected the name or IPv4 address"),
        (["--name", "a,b"], 2, "--name: expected the name or IPv4 address"),
        (["--name", "*"], 2, "--name: expected the name or IPv4 address"),
        (["--name", "a" * 64], 2, "--name: expected the name or IPv4 address"),
        (["--host", "::1"], 2, "--host: expected the name or IPv4 address"),
        (["--host", "192.0.2.1"], 1, "give an address of this machine with --host"),
        (["--config-out", ""], 2, "--config-out: expected a path, got ''"),
        (["--record", ""], 2, "--record: expected a path, got ''"),
        (["--script", "none.toml"], 2, "none.toml: cannot be read: No such file"),
        (["--script", "bad.toml"], 2, "bad.toml:1: step 1: at: it is missing"),
        (["--answers", "none"], 2, "none: no such directory of answers; make it"),
        (["--directory", "bad.toml"], 1, "bad.toml: cannot be used"),
        (["--config-out", "other.json"], 2, "other.json: there is a file that is not for this"),
        (["--config-out", "none/config.json"], 1, "none/config.json: cannot be written"),
        (["--config-out", "/dev/null"], 2, "/dev/null: there is a pipe or a device; name a file"),
        (["--record", "none/requests"], 1, "none/requests: cannot be written: No such file"),
    ],
)
def test_mistakes_are_one_line_with_the_remedy(
    tmp_path: Path, arguments: List[str], status: int, said: str
) -> None:
    (tmp_path / "bad.toml").write_text("[[step]]\noutage = true\n")
    (tmp_path / "other.json").write_text('{"uuApp": {"awid": "real"}, "uuThing": {}}')
    got, line = fails(tmp_path, *ANY_PORT, *arguments)
    assert (got, said in line) == (status, True), line
    assert line.startswith("python -m uun_iot.sandbox: ") and len(line) < 400
    assert (tmp_path / "other.json").read_text().startswith('{"uuApp": {"awid": "real"}')


@pytest.mark.parametrize("script", ["none.toml", "aaa/" * 100])
def test_as_a_command_of_uun_iot_it_is_named_so(tmp_path: Path, script: str) -> None:
    line = refused(run("sandbox", *ANY_PORT, "--script", script, cwd=tmp_path), 2)
    assert line.startswith("uun-iot sandbox: ") and len(line) < 300
    assert line.endswith("cannot be read: No such file or directory")


def test_it_ends_on_ctrl_c_while_it_writes_many_configurations(tmp_path: Path) -> None:
    arguments = ["--config-out", "config.json", "--gateways", "1000", "--no-console"]
    with start(tmp_path, *ANY_PORT, *arguments) as child:
        child.wait_for_line("config-2.json", 20)
        child.signal(signal.SIGINT)
        assert child.wait(20) == 0
        assert child.errors == []


@pytest.mark.parametrize("option", ["--port", "--console-port"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, option: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = "--console-port" if option == "--port" else "--port"
        status, line = fails(tmp_path, option, port, other, "0")
    assert status == 1 and f"port {port}" in line and option in line


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    script = """
import runpy, sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
hidden = ("trustme", "starlette", "uvicorn")
PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name in hidden else find(name, *more)
)
sys.argv = ["sandbox"]
runpy.run_module("uun_iot.sandbox", run_name="__main__")
"""
    with Child.python(script, cwd=str(tmp_path)) as child:
        assert child.wait() == 1
        assert child.errors == [
            "python -m uun_iot.sandbox: the sandbox needs trustme, starlette, uvicorn; "
            'install it with: pip install "uun-iot[sandbox]"'
        ]
    assert list(tmp_path.iterdir()) == []


def test_a_device_on_the_network_reaches_it_by_name_but_not_the_console(tmp_path: Path) -> None:
    arguments = ["--host", "127.0.0.2", "--name", "sandbox.test", "--config-out", "config.json"]
    with start(tmp_path, *ANY_PORT, *arguments) as child:
        said = up(child)
        config = json.loads((tmp_path / "config.json").read_text())
        name, port = config["uuApp"]["gateway"].split(":")
        assert name == "sandbox.test"
        authority = said["authority"].split("  ")[0]
        reply = requests.get(f"https://127.0.0.2:{port}/", verify=authority, timeout=10)
        assert reply.status_code == 200
        assert said["console"].startswith("http://127.0.0.1:")


def test_the_docs_name_each_option_and_their_script_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {name for action in parser._actions for name in action.option_strings}
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `--"))
    named = set(re.findall(r"--[a-z-]+", table)) | {"-h", "--help"}
    assert named == options
    (script,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(Script.parse(script).steps) == 4
    assert {key for key in ACTIONS if f"`{key} " in text or f"`{key}`" in text} == set(ACTIONS)
