"""The command `uun-iot-client`, as people run it."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from tests.support.processes import Child
from tests.support.sandbox import Sandbox

COMMAND = "weather/add"


@pytest.fixture
def config_file(config: Dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


def run(
    *arguments: str, cwd: Path, stdin: str = "", program: Optional[List[str]] = None
) -> "subprocess.CompletedProcess[str]":
    module = [sys.executable, "-W", "error", "-m", "uun_iot_client"]
    return subprocess.run(
        [*(program or module), *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_call_sends_a_post_and_prints_the_reply(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    done = run("call", COMMAND, "-c", "config.json", "--data", '{"a": "ž"}', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"uuAppErrorMap": {}, "a": "ž"}
    assert (uuapp.requests[-1].method, uuapp.received(COMMAND)) == ("POST", [{"a": "ž"}])


def test_call_reads_data_from_standard_input_or_a_file_and_may_get(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    done = run("call", COMMAND, "--get", "--data", "-", cwd=tmp_path, stdin='{"a": 1}')
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "dto.json").write_text('{"a": 2}')
    assert run("call", COMMAND, "--data", "@dto.json", cwd=tmp_path).returncode == 0
    assert run("call", COMMAND, cwd=tmp_path).returncode == 0
    assert uuapp.received(COMMAND) == [{"a": 1}, {"a": 2}, {}]
    assert [each.method for each in uuapp.requests if each.command == COMMAND] == [
        "GET",
        "POST",
        "POST",
    ]
    assert uuapp.grants == 1  # the token file


def test_call_sends_files_and_prints_all_pages(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG" * 100)
    done = run("call", COMMAND, "--file", "data=image.png", "--data", '{"n": 1, "t": "x"}',
               cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (received,) = uuapp.received(COMMAND)
    assert (received["n"], received["t"]) == ("1", "x")
    assert (received["data"].filename, received["data"].size) == ("image.png", 400)
    items = [{"n": n} for n in range(250)]

    def page(dto_in: Dict[str, Any]) -> Dict[str, Any]:
        start = dto_in["pageInfo"]["pageIndex"] * 100
        return {"itemList": items[start : start + 100]}

    uuapp.answer("weather/list", page)
    done = run("call", "weather/list", "--get", "--all", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, items)


def test_token_prints_the_token_and_nothing_else(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    done = run("token", "-c", str(config_file), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{uuapp.tokens.given_out[0]}\n"
    assert run("token", cwd=tmp_path).stdout == done.stdout
    assert uuapp.grants == 1


def test_a_failure_is_one_line_and_status_1(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    uuapp.faults.add("status", command=COMMAND, status=500)
    done = run("call", COMMAND, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("uun-iot-client: 500 ") and done.stderr.count("\n") == 1
    uuapp.faults.add("refuse_grant")
    (tmp_path / "token" / "oidc-token").unlink()
    done = run("token", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "identityNotAuthenticated" in done.stderr and done.stderr.count("\n") == 1


def test_attempts_are_made_as_often_as_told(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503, times=1)
    done = run("call", COMMAND, "--attempts", "2", "--deadline", "30", "-v", cwd=tmp_path)
    assert done.returncode == 0
    assert "attempt 2 of 2" in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["call", COMMAND, "-c", "absent.json"], "absent.json: cannot be read"),
        (["call", COMMAND, "-c", "damaged.json"], "damaged.json: not valid JSON"),
        (["call", COMMAND, "-c", "list.json"], "list.json: the configuration must be"),
        (["call", COMMAND, "--data", "{"], "--data: not valid JSON"),
        (["call", COMMAND, "--data", "[]"], "--data: must be a JSON object"),
        (["call", COMMAND, "--data", "@absent"], "--data: the file cannot be read"),
        (["call", COMMAND, "--file", "absent"], "--file: expected FIELD=PATH"),
        (["call", COMMAND, "--file", "a=absent"], "--file: absent cannot be read"),
        (["call", COMMAND, "--file", "a=list.json", "--get"], "--file sends a POST"),
        (["call", COMMAND, "--attempts", "0"], "attempts must be 1 or more"),
        (["call", COMMAND, "--deadline", "0"], "deadline must be seconds"),
        (["call"], "required"),
        ([], "required"),
    ],
)
def test_a_wrong_command_line_is_status_2(
    config_file: Path, tmp_path: Path, arguments: List[str], said: str
) -> None:
    (tmp_path / "damaged.json").write_text('{"uuThing": {"accessCode1": "marker"')
    (tmp_path / "list.json").write_text("[]")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "marker" not in done.stderr


def test_no_secret_is_seen_however_much_is_logged(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    outputs = []
    for fault in (None, "drop", "refuse_grant"):
        if fault is not None:
            uuapp.faults.add(fault)
            uuapp.revoke_tokens()
        outputs.append(run("call", COMMAND, "-vv", cwd=tmp_path))
    assert [each.returncode for each in outputs] == [0, 1, 1]
    assert "urllib3" in outputs[0].stderr  # its lines are there, too
    for secret in uuapp.secrets:
        assert not [each for each in outputs if secret in each.stdout + each.stderr]


def test_help_says_what_there_is(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "call" in done.stdout and "token" in done.stdout
    assert run("call", "--help", cwd=tmp_path).returncode == 0
    assert run("--version", cwd=tmp_path).stdout.startswith("uun-iot-client ")


def test_the_script_is_installed(uuapp: Sandbox, config_file: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / (
        "uun-iot-client.exe" if os.name == "nt" else "uun-iot-client"
    )
    assert script.exists(), (
        "an environment made before there was a script: hatch env remove default"
    )
    done = run("token", cwd=tmp_path, program=[str(script)])
    assert (done.returncode, done.stdout) == (0, f"{uuapp.tokens.given_out[0]}\n")


def test_what_the_terminal_cannot_show_is_escaped(
    uuapp: Sandbox, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    uuapp.answer(COMMAND, {"name": "čaj"})
    done = run("call", COMMAND, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["name"] == "čaj"


def test_output_that_nobody_takes_is_one_line_and_status_1(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    uuapp.answer(COMMAND, {"long": "x" * 1_000_000})
    module = [sys.executable, "-W", "error", "-m", "uun_iot_client", "call", COMMAND]
    with subprocess.Popen(
        module, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as gone:
        assert gone.stdout is not None and gone.stderr is not None
        assert gone.stdout.read(1) == "{"
        gone.stdout.close()
        assert gone.stderr.read().splitlines() == [
            "uun-iot-client: the output cannot be written: its reader has gone"
        ]
    assert gone.returncode == 1
    command = f"{shlex.join(module)} --data - <&- >&-"
    closed = subprocess.run(command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (closed.returncode, closed.stderr) == (2, "uun-iot-client: --data: not valid JSON\n")
    command = f"{shlex.join(module)} >&-"
    closed = subprocess.run(command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert closed.returncode == 1
    assert closed.stderr == "uun-iot-client: the output cannot be written: it is closed\n"
    with open("/dev/full", "w") as full:
        done = subprocess.run(module, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and os.strerror(errno.ENOSPC) in done.stderr


def test_an_interrupted_command_ends_with_one_line_and_130(
    uuapp: Sandbox, config_file: Path
) -> None:
    slow = uuapp.faults.add("delay", command=COMMAND, seconds=60)
    arguments = ["-m", "uun_iot_client", "call", COMMAND, "-c", str(config_file)]
    with Child([sys.executable, *arguments]) as child:
        assert uuapp.wait_for(
            lambda: any(each.command == COMMAND for each in uuapp.requests), timeout=30
        )
        child.signal(signal.SIGINT)
        assert child.wait(10) == 130
        assert child.errors == ["uun-iot-client: interrupted"]
    uuapp.faults.remove(slow)


def test_what_an_interruption_leaves_half_made_says_nothing(
    uuapp: Sandbox, config_file: Path, tmp_path: Path
) -> None:
    program = """
import http.client, sys
from uun_iot_client.cli import main
def interrupted(self, *args, **kwargs):
    raise KeyboardInterrupt
http.client.HTTPResponse.__init__ = interrupted
sys.exit(main())
"""
    started = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    done = run("call", COMMAND, cwd=tmp_path, program=started)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "uun-iot-client: interrupted\n"
