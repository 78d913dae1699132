"""What the README and the examples promise, run as a reader would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_module_in_the_readme_works_when_pasted(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    script = tmp_path / "weather.py"
    script.write_text(code.replace("wait(10)", "wait(4)"))
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sent: [{'temperature': ")
    assert isinstance(json.loads((tmp_path / "weather.json").read_text()), list)


def test_the_configuration_in_the_readme_is_valid() -> None:
    from uun_iot_core import problems

    (text,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert problems(json.loads(text)) == []


def test_each_command_in_the_readme_is_one_line_that_makes_its_own_environment() -> None:
    readme = (ROOT / "README.md").read_text()
    begin = "python3 -m venv .venv && .venv/bin/pip install -q hatch && .venv/bin/hatch run "
    assert re.findall(rf"^{re.escape(begin)}(\w+)$", readme, re.MULTILINE) == ["demo", "test"]


@pytest.mark.slow
def test_the_demo_loses_nothing_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--seconds", "12"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "the server goes down",
        "kill -9",
        "starts again",
        "the server returns",
        "heartbeat",
    ):
        assert said in done.stdout
    table = re.search(r"produced (\d+)   delivered (\d+)   duplicated \d+   lost 0", done.stdout)
    assert table is not None, done.stdout
    assert int(table[1]) >= 8
    assert done.stderr == ""


def test_the_demo_refuses_a_length_that_tells_no_story() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--seconds", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--seconds: expected 10 to 3600" in done.stderr
