"""`uun-iot run`: real processes, real signals, a real listener in the place of systemd."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.iot.command import TIMERS, UUN_IOT, WEATHER, child, refused, run, ticks
from tests.support.systemd import Systemd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "weather.py").write_text(WEATHER)
    (tmp_path / "config.json").write_text(json.dumps(TIMERS))
    return tmp_path


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number, status",
    [("SIGTERM", 0), ("SIGINT", 0), ("SIGUSR2", 0), ("SIGUSR1", 1)],
)
def test_a_signal_ends_it_cleanly(project: Path, number: str, status: int) -> None:
    with child("run", "weather", cwd=project) as running:
        running.wait_for_line("^measure$")
        running.signal(getattr(signal, number))
        assert running.wait() == status
        assert "stop" in running.lines  # perhaps beside the first tick of `send`
        assert any(f"stopping after {number}" in line for line in running.errors)


def test_a_module_that_stops_the_gateway_ends_it(project: Path) -> None:
    (project / "weather.py").write_text(
        WEATHER + "def stopping(config, uuclient):\n"
        "    weather = Weather(config['gateway'])\n"
        "    weather.measure = None\n"
        "    return [weather, Stopper()]\n"
        "class Stopper:\n"
        "    @on('start')\n"
        "    def stop(self, evs):\n"
        "        import gc, uun_iot\n"
        "        one, = (g for g in gc.get_objects() if isinstance(g, uun_iot.Gateway))\n"
        "        one.stop()\n"
    )
    done = run("run", "weather:stopping", cwd=project)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_the_modules_are_made_is_no_stack_trace(project: Path) -> None:
    (project / "slow.py").write_text(
        "import threading\n"
        "def init(config, uuclient):\n"
        "    print('making', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    with child("run", "slow", cwd=project) as running:
        running.wait_for_line("making")
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert running.errors[-1] == "uun-iot run: interrupted"
        assert not any("Traceback" in line for line in running.errors)


SIGNALLED = """
import os, signal, sys
from uun_iot import Gateway
from uun_iot.cli.run import run_until_told

class Early(Gateway):
    def __enter__(self):
        if sys.argv[1] == "before the start":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__enter__()

class Starting:
    id = "starting"
    def _gateway_started(self):
        if sys.argv[1] == "within the start":
            os.kill(os.getpid(), signal.SIGTERM)
    def _gateway_stopped(self):
        print("closed", flush=True)

sys.exit(run_until_told(Early("config.json", lambda config, uuclient: Starting())))
"""


@pytest.mark.parametrize("when", ["before the start", "within the start"])
def test_a_signal_around_the_start_is_a_clean_end(project: Path, when: str) -> None:
    (project / "config.json").write_text("{}")
    done = run(when, cwd=project, program=[sys.executable, "-c", SIGNALLED])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("closed") <= 1


# -- once -----------------------------------------------------------------------------------------


def test_once_calls_each_timer_once_in_order_also_where_they_are_spread(project: Path) -> None:
    config = json.loads(json.dumps(TIMERS))
    config["gateway"]["moduleTimers"]["weather"] = {"measure": 0.001, "send": 86400}
    config["gateway"]["timerSpread"] = True
    (project / "config.json").write_text(json.dumps(config))
    done = run("run", "weather", "--once", cwd=project)
    assert done.returncode == 0
    assert ticks(done) == ["measure", "send", "stop"]


def test_once_fails_where_a_handler_fails(project: Path) -> None:
    (project / "failing.py").write_text(
        "from uun_iot import on\n"
        "class Weather:\n"
        "    id = 'weather'\n"
        "    @on('tick', 'measure')\n"
        "    def measure(self): raise ValueError('cold')\n"
        "    @on('tick', 'send')\n"
        "    def send(self): print('send')\n"
        "def init(config, uuclient): return Weather()\n"
    )
    done = run("run", "failing", "--once", cwd=project)
    assert (done.returncode, done.stdout) == (1, "send\n")
    assert "ValueError: cold" in done.stderr
    assert "tick weather:measure failed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_once_may_be_interrupted(project: Path, sig: int, status: int) -> None:
    (project / "slow.py").write_text(
        "import time\n"
        "from uun_iot import on\n"
        "class Slow:\n"
        "    id = 'weather'\n"
        "    @on('tick', 'measure')\n"
        "    def measure(self): print('begun', flush=True); time.sleep(1); print('ended')\n"
        "    @on('tick', 'send')\n"
        "    def send(self): print('send')\n"
        "    @on('stop')\n"
        "    def stop(self): print('stop')\n"
        "def init(config, uuclient): return Slow()\n"
    )
    with child("run", "slow", "--once", "--log", "error", cwd=project) as running:
        running.wait_for_line("begun")
        running.signal(sig)
        assert running.wait(20) == status
        assert sorted(running.lines) == ["begun", "ended", "stop"]
        said = ["uun-iot run: interrupted"] if sig == signal.SIGINT else []
        assert running.errors == said


def test_once_says_where_there_is_nothing_to_do(project: Path) -> None:
    (project / "config.json").write_text("{}")
    done = run("run", "weather:none", "--once", cwd=project)
    assert done.returncode == 0
    assert "there is nothing to do" in done.stderr


# -- logging --------------------------------------------------------------------------------------


def test_lines_for_a_terminal_have_a_time_and_a_level(project: Path) -> None:
    done = run("run", "weather", "--once", "--log", "DEBUG", cwd=project)
    line = next(line for line in done.stderr.splitlines() if "the gateway is started" in line)
    assert time.strptime(line[:8], "%H:%M:%S")
    assert line[9:].startswith("DEBUG   uun_iot.core.")
    quiet = run("run", "weather", "--once", "--log", "error", cwd=project)
    assert quiet.stderr == ""
    assert "--log" in run("run", "weather", "--log", "loud", cwd=project).stderr


def test_lines_for_the_journal_have_a_severity(project: Path) -> None:
    done = run("run", "weather:broken", "--systemd", cwd=project)
    lines = done.stderr.splitlines()[:-1]  # the last one is the command's own
    assert len(lines) > 3 and all(line.startswith(("<3>", "<6>")) for line in lines)


def test_the_journal_is_noticed_and_a_variable_left_from_it_is_not(
    project: Path, tmp_path: Path
) -> None:
    for matches in (True, False):
        with open(tmp_path / f"journal {matches}", "wb") as journal:
            found = os.fstat(journal.fileno())
            stream = f"{found.st_dev}:{found.st_ino if matches else found.st_ino + 1}"
            status = subprocess.run(
                [*UUN_IOT, "run", "weather", "--once"],
                cwd=project,
                env={**os.environ, "JOURNAL_STREAM": stream},
                stdout=subprocess.DEVNULL,
                stderr=journal,
                timeout=60,
            ).returncode
        lines = (tmp_path / f"journal {matches}").read_text().splitlines()
        assert status == 0 and lines
        assert all(line.startswith("<6>uun_iot.") is matches for line in lines)


# -- systemd --------------------------------------------------------------------------------------


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    if sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    listener = Systemd(f"@uun-iot-{secrets.token_hex(8)}")
    yield listener
    listener.close()


def test_systemd_is_told_of_readiness_life_and_stop(project: Path, systemd: Systemd) -> None:
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    with child("run", "weather", "--systemd", cwd=project, env=env) as running:
        assert systemd.wait_for("READY") == {"READY": "1", "STATUS": "running, 2 timers"}
        for _ in range(3):
            systemd.wait_for("WATCHDOG", timeout=5)
        running.signal(signal.SIGTERM)
        assert systemd.wait_for("STOPPING")["STOPPING"] == "1"
        assert running.wait() == 0


HANGS = """
import threading
from uun_iot import on
go_on = threading.Event()

class Weather:
    id = "weather"
    calls = 0
    @on("tick", "measure")
    def measure(self):
        self.calls += 1
        if self.calls == 2:
            print("hangs", flush=True)
            threading.Event().wait()
    @on("tick", "send")
    def send(self):
        pass

def init(config, uuclient):
    return Weather()
"""


def test_the_watchdog_starves_when_a_handler_hangs_past_its_limit(
    project: Path, systemd: Systemd
) -> None:
    config: Dict[str, Any] = json.loads(json.dumps(TIMERS))
    config["gateway"]["watchdog"] = {"limits": {"weather": {"measure": 1}}}
    (project / "config.json").write_text(json.dumps(config))
    (project / "hangs.py").write_text(HANGS)
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    with child("run", "hangs", cwd=project, env=env) as running:
        running.wait_for_line("hangs")
        hung = time.monotonic()
        starved = systemd_starves(systemd, 1.2)
        assert starved - hung < 3
        running.wait_for_line("tick weather:measure has run for 1 s, its limit is 1 s")
        assert running.process.poll() is None  # ending it is systemd's work
        running.kill()


def systemd_starves(systemd: Systemd, silence: float) -> float:
    """Return when the watchdog was fed last, once it was not for so many seconds."""
    import queue

    fed = time.monotonic()
    while time.monotonic() - fed < silence:
        try:
            systemd.wait_for("WATCHDOG", timeout=silence)
            fed = time.monotonic()
        except queue.Empty:
            break
    return fed


# -- the command itself ---------------------------------------------------------------------------


@pytest.mark.slow
def test_help_names_each_command_and_each_has_a_help_of_its_own(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names: List[str] = ["new", "dev", "sandbox", "run", "check", "status", "storage",
                        "install-service"]  # fmt: skip
    assert all(f"\n    {name}" in done.stdout for name in names)
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    for name in names:
        own = run(name, "--help", cwd=tmp_path)
        assert (own.returncode, own.stderr) == (0, ""), name
        assert own.stdout.startswith(f"usage: uun-iot {name} ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "uun-iot: the following arguments are required: COMMAND; see uun-iot --help"),
        (["nothing"], "uun-iot: argument COMMAND: invalid choice: 'nothing'"),
        (
            ["run", "--nothing"],
            "uun-iot run: unrecognized arguments: --nothing; see uun-iot --help",
        ),
        (["run", "--log", "x"], "uun-iot run: argument --log: invalid choice: 'x'"),
        (["storage"], "uun-iot storage: the following arguments are required: "),
        (["storage", "show"], "required: FILE; see uun-iot storage show --help"),
        (["sandbox", "--port", "x"], "uun-iot sandbox: argument --port: expected a port from 0"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    tmp_path: Path, arguments: List[str], said: str
) -> None:
    assert said in refused(run(*arguments, cwd=tmp_path), 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*UUN_IOT, "check"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "uun-iot check: No space left on device\n"


def test_it_works_without_any_stream(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    code = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.argv[1], sys.argv[1:])"
    for path, status in (("config.json", 0), ("nothing.json", 2)):
        command = [sys.executable, "-c", code, sys.executable, "-m", "uun_iot", "check", path]
        assert subprocess.run(command, cwd=tmp_path, timeout=60).returncode == status


def test_the_script_is_installed_and_tells_its_version(tmp_path: Path) -> None:
    from uun_iot import __version__

    script = Path(sys.executable).with_name("uun-iot")
    done = run("--version", cwd=tmp_path, program=[str(script)])
    assert (done.returncode, done.stdout) == (0, f"uun-iot {__version__}\n")


def test_help_imports_neither_http_nor_the_sandbox(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from uun_iot.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'requests', 'urllib3', 'trustme', 'cryptography', 'starlette', 'uvicorn',\n"
        "         'uun_iot.sandbox', 'pytest'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    for arguments in (["--help"], ["run", "--help"], ["check", "--help"], ["new", "--help"]):
        done = run(*arguments, cwd=tmp_path, program=[sys.executable, "-W", "error", "-c", code])
        assert (done.returncode, done.stderr) == (0, ""), arguments
