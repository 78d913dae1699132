"""An application in the style of 0.11 runs unchanged: `uun-livecam`, with a camera of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest

from tests.support.commands import ask
from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually

from .published import Release, damage

#: `init(ev, config, uuclient)`, in which a class uses `@ev.on`, also `@ev.on("external", …)`
LIVECAM = Release(
    "uun-livecam",
    "0.6.0",
    "85927c94b533d0e2924d02facd983f40f6f75f0595fb11add60b1841484d751e",
)
SNAPSHOT = "snapshot/create"
TIMEOUT = 20.0


class _Camera(BaseHTTPRequestHandler):
    """Gives the same picture to whoever asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"picture")

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def camera() -> Iterator[int]:
    """The port of a camera's snapshots."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Camera) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Livecam:
    """A directory in which the application runs, with its own sample of a configuration.

    Args:
        installed: the directory that the application is installed in.
        directory: where it runs.
        uuapp: the server that it sends to.
        port: of the camera.
    """

    def __init__(self, installed: Path, directory: Path, uuapp: Sandbox, port: int) -> None:
        self.directory = directory
        self._script = [sys.executable, str(installed / "bin" / "uun-livecam")]
        sample = installed / "uun_livecam" / "data" / "sample-config.json"
        config: Dict[str, Any] = json.loads(sample.read_text(encoding="utf-8"))
        token = config["oidcGrantToken"]["tokenPath"]
        config.update(uuapp.configuration(token_path=token, commands={"snapshotCreate": SNAPSHOT}))
        self.gateway: Dict[str, Any] = config["gateway"]
        self.gateway["moduleTimers"] = {"heartbeat": 0.2, "config": 0.2, "snapCam": 3600}
        (one,) = self.gateway["snapCam"].values()
        one["onvif"].update(ip="127.0.0.1", port=port)
        del one["reboot"]  # what would be a cron job
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        devices = Path(__file__).parent / "devices"
        path = [str(installed), str(devices), os.environ.get("PYTHONPATH", "")]
        self._env = {key: one for key, one in os.environ.items() if key != "PYTHONWARNINGS"}
        self._env.update(
            HOME=str(directory),
            PYTHONPATH=os.pathsep.join(filter(None, path)),
            PYTHONUNBUFFERED="1",
        )

    def start(self) -> Child:
        return Child(self._script, env=self._env, cwd=str(self.directory))

    def reboot(self, camera: str) -> str:
        """Let the application's own command line send the command; return what it prints."""
        run = subprocess.run(
            [*self._script, "reboot", camera],
            env=self._env,
            cwd=str(self.directory),
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
            timeout=TIMEOUT,
        )
        return run.stdout.strip()


@pytest.fixture
def livecam(
    installed: Callable[[Release], Path], tmp_path: Path, uuapp: Sandbox, camera: int
) -> Livecam:
    place = installed(LIVECAM)
    assert damage(LIVECAM, place) == []
    return Livecam(place, tmp_path, uuapp, camera)


def pictures(uuapp: Sandbox) -> int:
    """Return how many pictures the uuApp has taken in."""
    return [one.command for one in uuapp.requests if one.processed].count(SNAPSHOT)


def test_snapshots_commands_updates_kill_and_stop(livecam: Livecam, uuapp: Sandbox) -> None:
    path = str(livecam.directory / livecam.gateway["socket"]["path"])
    (name,) = livecam.gateway["snapCam"]
    tour = len(livecam.gateway["snapCam"][name]["tour"])
    with livecam.start() as child:
        assert eventually(lambda: pictures(uuapp) == tour, TIMEOUT), child.errors
        assert eventually(lambda: uuapp.received("gateway/heartbeat"), TIMEOUT)
        assert livecam.reboot(name) == "ok"
        child.wait_for_line("the camera reboots", TIMEOUT)
        assert ask(path, b"reboot\n").startswith(b"1 ValueError")  # of no camera

        # the new period takes effect, and the update handler is called
        begun = len([line for line in child.lines if line == "[]"])  # what it prints of its jobs
        livecam.gateway["moduleTimers"]["snapCam"] = 0.1
        uuapp.publish(livecam.gateway)
        assert eventually(lambda: pictures(uuapp) >= 4 * tour, TIMEOUT), child.errors
        assert eventually(lambda: child.lines.count("[]") > begun, TIMEOUT)
        status = json.loads(ask(path, b"status\n")[2:])
        assert {"snapCam", "config", "heartbeat"} == {one["name"] for one in status["timers"]}
        assert status["online"] is True
        child.signal(signal.SIGKILL)
        assert child.wait(TIMEOUT) == -signal.SIGKILL

    uuapp.outage()
    with livecam.start() as child:  # on the socket that the killed process has left
        child.wait_for_line(r"^\[\]$", TIMEOUT)
        assert eventually(lambda: os.path.exists(path) and ask_or_none(path, b"status\n"), TIMEOUT)
        assert livecam.reboot(name) == "ok"
        seen = pictures(uuapp)
        uuapp.restore()
        assert eventually(lambda: pictures(uuapp) > seen, TIMEOUT), child.errors
        child.signal(signal.SIGTERM)
        assert child.wait(TIMEOUT) == 0
    assert not os.path.exists(path)
    assert "Traceback" not in "\n".join(child.errors)


def ask_or_none(path: str, line: bytes) -> bytes:
    """Ask, or return nothing where the socket is that of a process that is gone."""
    try:
        return ask(path, line)
    except OSError:
        return b""
