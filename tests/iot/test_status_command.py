"""`uun-iot status`: what it makes of the answers of a gateway, and of having none."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Type

import pytest

from tests.iot.command import TIMERS, WEATHER, child, refused, run
from tests.support.wait import eventually

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="there are no UNIX sockets on this system"
)

STATUS: Dict[str, Any] = {
    "version": "1.0.0",
    "pid": 4711,
    "started": "2026-11-24T17:00:00.000Z",
    "uptime": 3600.5,
    "online": True,
    "timers": [
        {
            "name": "weather:send",
            "period": 300.0,
            "running": True,
            "lastTick": "2020-11-24T17:55:00.000Z",
            "nextTick": None,
            "runningFor": None,
            "duration": 0.12,
            "maxDuration": 0.5,
            "lateness": 0.001,
            "maxLateness": 0.01,
            "calls": 12,
            "missed": 0,
            "overruns": 0,
            "failures": 1,
            "lastError": {"type": "ValueError", "at": "2026-11-24T17:50:00.000Z"},
        }
    ],
    "storages": {
        "weather": {
            "path": "/abs/weather.json",
            "entries": 3,
            "bytes": 1200,
            "oldestAge": 12.5,
            "appended": 100,
            "sent": 97,
            "failed": 0,
            "dropped": 0,
            "setAside": 2,
            "bytesWritten": 4000,
            "autonomyHours": 50,
        }
    },
    "token": {"state": "fresh", "expires": "2026-11-24T19:00:00.000Z", "expiresIn": 3600.0},
    "configuration": {"file": "/abs/config.json", "lastUpdate": None, "rolledBack": True},
}


class Answering:
    """A socket that answers each command with the same bytes, as the gateway's does.

    Args:
        path: of the socket.
        answer: what is answered; None closes the connection only.
    """

    def __init__(self, path: str, answer: Optional[bytes]) -> None:
        self.answer = answer
        self.asked: List[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rb") as file:
                line = file.readline()
                if line == b"end\n":
                    return
                self.asked.append(line)
                if self.answer is not None:
                    connection.sendall(self.answer)

    def __enter__(self) -> "Answering":
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ending:
            ending.connect(self._socket.getsockname())
            ending.sendall(b"end\n")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: a socket's path is 107 bytes at most."""
    folder = Path(f"/tmp/uun-iot-{secrets.token_hex(4)}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def answer(status: Any) -> bytes:
    return b"0 " + json.dumps(status).encode() + b"\n"


def test_a_table_is_printed(short: Path) -> None:
    with Answering(str(short / "s"), answer(STATUS)) as gateway:
        done = run("status", "--socket", str(short / "s"), cwd=short, env={"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    assert gateway.asked == [b"status\n"]
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "uun-iot 1.0.0, process 4711, up 60 min, online",
        "token: fresh, 60 min left",
        "configuration: /abs/config.json, of -, ROLLED BACK",
    ]
    assert lines[4].split() == ["timer", "period", "last", "next", "took", "late", "calls",
                                "missed", "failed"]  # fmt: skip
    assert lines[5].split() == ["weather:send", "5", "min", "2020-11-24", "17:55", "-", "120", "ms",
                                "1", "ms", "12", "0", "1", "(ValueError)"]  # fmt: skip
    assert lines[8].split() == [
        "weather",
        "3",
        "1.2",
        "kB",
        "12.5",
        "s",
        "97",
        "0",
        "2",
        "2.1",
        "d",
    ]


def test_a_running_gateway_answers(short: Path) -> None:
    config: Dict[str, Any] = json.loads(json.dumps(TIMERS))
    config["gateway"]["moduleBackupStorage"] = {"weather": "weather.json"}
    config["gateway"]["socket"] = {"path": "s"}
    (short / "config.json").write_text(json.dumps(config))
    (short / "weather.py").write_text(WEATHER)
    with child("run", "weather", cwd=short) as running:
        running.wait_for_line("^measure$")
        status = json.loads(run("status", "--json", cwd=short).stdout)
        assert set(status) >= set(STATUS)
        assert status["pid"] == running.pid and status["storages"]["weather"]["entries"] >= 1
        done = run("status", cwd=short)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert f"process {running.pid}, up " in lines[0] and lines[0].endswith("no heartbeat")
        (timer,) = [line.split() for line in lines if line.startswith("weather:measure ")]
        assert timer[1:3] == ["200", "ms"] and "-" not in timer
        (storage,) = [line.split() for line in lines if line.startswith("weather ")]
        assert int(storage[1]) >= 1
        running.terminate()
        assert running.wait() == 0
    assert "no gateway listens there" in refused(run("status", cwd=short), 1)


def test_json_is_passed_on_and_the_socket_is_found_in_the_configuration(short: Path) -> None:
    (short / "config.json").write_text(json.dumps({"gateway": {"socket": {"path": "s"}}}))
    with Answering(str(short / "s"), answer(STATUS)):
        done = run("status", "--json", cwd=short)
    assert (done.returncode, json.loads(done.stdout)) == (0, STATUS)


@pytest.mark.parametrize("status", [
    {},
    {"timers": [{}, 5], "storages": {"a": None, "b": {}}, "token": 5, "configuration": []},
    {"timers": [{"name": "\x1b[2Ja", "runningFor": 5, "period": "x"}], "online": None},
    {"uptime": None, "storages": [], "timers": {}},
    {"storages": ["of the application"]},
    {"timers": 3, "online": []},
])  # fmt: skip
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(short: Path, status: Any) -> None:
    with Answering(str(short / "s"), answer(status)):
        done = run("status", "--socket", "s", cwd=short)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_status_of_the_application_is_shown_as_it_is(short: Path) -> None:
    with Answering(str(short / "s"), b"0 all is well\n") as gateway:
        assert run("status", "--socket", "s", cwd=short).stdout == "all is well\n"
        done = run("status", "--socket", "s", "--json", cwd=short)
        assert "the answer is no JSON" in refused(done, 1)
        gateway.answer = b"1 the gateway stops\n"
        assert refused(run("status", "--socket", "s", cwd=short), 1) == (
            "uun-iot status: s: the gateway stops"
        )
        gateway.answer = None
        done = run("status", "--socket", "s", cwd=short)
        assert "the gateway did not answer" in refused(done, 1)


def test_without_a_gateway_or_a_socket_it_says_so(short: Path) -> None:
    def said(*arguments: str, status: int = 1) -> str:
        return refused(run("status", *arguments, cwd=short), status)

    assert "nothing: no gateway listens there; is it running?" in said("--socket", "nothing")
    (short / "file").write_text("")
    assert "file: no gateway listens there" in said("--socket", "file")
    assert "too long" in said("--socket", "s" * 200)
    assert "config.json: the configuration file cannot be read" in said(status=2)
    for config in ("{}", '{"gateway": 5}', '{"gateway": {"socket": {"path": ""}}}'):
        (short / "config.json").write_text(config)
        assert "config.json: gateway.socket.path is not set" in said(status=2)
    for seconds in ("0", "-1", "nan", "1e9"):
        assert "--watch" in said("--watch", seconds, "--socket", "s", status=2)


def test_watch_asks_again_and_again_also_while_the_gateway_is_away(short: Path) -> None:
    with child("status", "--socket", "s", "--watch", "0.1", cwd=short) as watching:
        watching.wait_for_line("no gateway listens there")
        with Answering(str(short / "s"), answer(STATUS)):
            watching.wait_for_line("process 4711")
        os.unlink(short / "s")
        watching.wait_for_line("no gateway listens there", start=len(watching.lines))
        watching.signal(signal.SIGINT)
        assert (watching.wait(), watching.errors) == (0, [])


def test_watch_prints_nothing_but_json_where_that_is_asked_for(short: Path) -> None:
    with child("status", "--socket", "s", "--json", "--watch", "0.1", cwd=short) as watching:
        assert eventually(lambda: any("no gateway listens" in one for one in watching.errors))
        with Answering(str(short / "s"), answer(STATUS)):
            watching.wait_for_line("4711")
        watching.signal(signal.SIGINT)
        assert watching.wait() == 0
        assert all(json.loads(line) == STATUS for line in watching.lines)
