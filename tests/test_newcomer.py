"""What README.md tells a newcomer to type, typed in an empty folder, with the built wheels only."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import List

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("uun-iot-core", "uun-iot-client", "uun-iot-storage", "uun-iot")
#: seconds in which a newcomer has it running
AT_MOST = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to type into"),
]


def blocks() -> List[List[str]]:
    """Return the commands of the README's section, block by block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"## Ten minutes to a running module\n(.*?)\n## ", text, re.DOTALL)
    return [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


def test_the_readme_says_what_is_typed_here() -> None:
    assert blocks() == [
        [
            "python3 -m venv .venv && . .venv/bin/activate",
            'pip install "uun-iot[sandbox,testing,system]>=1"',
            "uun-iot new weather && cd weather",
            "uun-iot dev",
        ],
        ["python -m pytest"],
        ["uun-iot check config.json", "uun-iot run --once", "uun-iot install-service --dry-run"],
    ]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> List[str]:
    """The four wheels, built from this tree."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder),
         *(str(ROOT / "packages" / name) for name in DISTRIBUTIONS)],
        check=True,
        timeout=AT_MOST,
    )  # fmt: skip
    found = {path.name.partition("-")[0].replace("_", "-"): str(path) for path in folder.iterdir()}
    assert sorted(found) == sorted(DISTRIBUTIONS)
    return [found[name] for name in DISTRIBUTIONS]


class Shell:
    """A shell that is typed into, line by line.

    Args:
        folder: where it begins.
    """

    def __init__(self, folder: Path) -> None:
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environ.pop("VIRTUAL_ENV", None)
        environ["HOME"] = str(folder)
        # a venv's own python3 has no say in what the newcomer's is
        own = str(Path(sys.executable).parent)
        kept = [one for one in environ["PATH"].split(os.pathsep) if one != own]
        environ["PATH"] = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), *kept])
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._changed = threading.Condition()
        self._lines: List[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def type(self, line: str) -> int:
        """Type a line, and return how many lines of output there were before."""
        assert self._process.stdin is not None
        with self._changed:
            begin = len(self._lines)
        self._process.stdin.write(f"{line}\necho 'ended with' $?\n")
        self._process.stdin.flush()
        return begin

    def wait_for(self, pattern: str, begin: int, timeout: float = AT_MOST) -> "re.Match[str]":
        """Wait for a line of output."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines[begin:]:
                    match = re.search(pattern, line)
                    if match is not None:
                        return match
                left = end - time.monotonic()
                if any(line.startswith("ended with") for line in self._lines[begin:]):
                    left = 0  # nothing will come any more
                assert left > 0, f"no line {pattern!r} in\n" + "\n".join(self._lines[begin:])
                self._changed.wait(left)

    def run(self, line: str) -> List[str]:
        """Type a line, wait for its end, which must be a good one, and return its output."""
        begin = self.type(line)
        status = self.wait_for(r"^ended with (\d+)$", begin)[1]
        with self._changed:
            output = self._lines[begin:-1]
        assert status == "0", f"{line}: {status}\n" + "\n".join(output)
        return output

    def press_ctrl_c(self) -> None:
        """Interrupt what runs in the foreground."""
        for one in psutil.Process(self._process.pid).children(recursive=True):
            one.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End the shell, and what runs in it."""
        for one in psutil.Process(self._process.pid).children(recursive=True):
            one.kill()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as reply:
        text: str = reply.read().decode("utf-8")
        return text


def test_a_newcomer_sees_data_arrive_within_ten_minutes(tmp_path: Path, wheels: List[str]) -> None:
    begin = time.monotonic()
    first, tests, device = blocks()
    *others, whole = wheels
    shell = Shell(tmp_path)
    try:
        for line in first[:-1]:
            if line.startswith("pip install"):
                extras = re.findall(r"\[.*\]", line)[0]
                line = "pip install -q " + " ".join([*others, f'"{whole}{extras}"'])
            shell.run(line)
        for _ in range(2):
            started = shell.type(first[-1])
            console = shell.wait_for(r"^console: (http://\S+)$", started)[1]
            shell.wait_for(r"200  gateway/heartbeat  ", started)
            sent = shell.wait_for(r'200  weather/add  .*"temperature": (-?[\d.]+)', started)[1]
            assert "<html" in fetch(console)
            assert "weather/add" in fetch(f"{console}api/requests")
            shell.press_ctrl_c()
            assert shell.wait_for(r"^ended with (\d+)$", started)[1] == "0"
            # a sensor of the newcomer's own
            module = tmp_path / "weather" / "weather.py"
            text = module.read_text()
            module.write_text(re.sub(r"return round\(random.*\)", "return 4711.5", text))
        assert sent == "4711.5"
        taken = time.monotonic() - begin
        assert any("3 passed" in line for line in shell.run(tests[0]))
        assert shell.run(device[0])[-1] == "config.json: nothing is wrong"
        shell.run(device[1])
        unit = shell.run(device[2])
        assert "Type=notify" in unit and any("weather:init" in line for line in unit)
        stored = json.loads((tmp_path / "weather" / "backup" / "weather.json").read_text())
        assert [one["temperature"] for one in stored] == [4711.5]  # no uuApp has taken it
        shell.run("pip wheel --quiet --no-deps -w dist .")  # the project can be built, too
        (built,) = (tmp_path / "weather" / "dist").iterdir()
        assert "weather.py" in zipfile.ZipFile(built).namelist()
        where = shell.run("python -c 'import uun_iot; print(uun_iot.__file__)'")[-1]
        assert where.startswith(str(tmp_path / ".venv"))
    finally:
        shell.close()
    print(f"\nfrom nothing to data of a module of one's own in {taken:.0f} s")
    assert taken < AT_MOST
