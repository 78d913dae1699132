"""What the README and the examples promise, run as a reader would."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Type

import pytest

from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot import ManualClock
from uun_iot.testing import Delivery, Gateways

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


def test_the_module_in_the_docs_delivers_and_takes_a_new_configuration(
    uuapp: Sandbox,
    gateway: Gateways,
    clock: ManualClock,
    assert_nothing_lost: Callable[..., Delivery],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# hive.py\n(.*?)```", text, re.DOTALL)
    (config,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "hive.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    running = gateway(importlib.import_module("hive").init, json.loads(config))
    monkeypatch.delitem(sys.modules, "hive")
    clock.advance(60)
    assert 25 < uuapp.received("hive/weigh")[0]["weighings"][0]["kg"] < 34
    uuapp.publish({**running.config["gateway"], "hive": {"tare": 30}})
    assert uuapp.received("gateway/heartbeat")
    clock.advance(10)
    assert eventually(lambda: running._modules["hive"].tare == 30)
    running.stop()
    assert assert_nothing_lost().delivered == 71


def test_each_command_in_the_readme_is_one_line_that_makes_its_own_environment() -> None:
    readme = (ROOT / "README.md").read_text()
    begin = "python3 -m venv .venv && .venv/bin/pip install -q hatch && .venv/bin/hatch run "
    assert re.findall(rf"^{re.escape(begin)}(\w+)$", readme, re.MULTILINE) == ["demo", "test"]


@pytest.mark.slow
def test_the_demo_loses_nothing_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--seconds", "20"],
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
    assert 0 < int(table[1]) <= int(table[2])
    assert "not as it must be" not in done.stdout
    assert done.stderr == ""


class NeverReturns(Sandbox):
    """A server that stays away."""

    def restore(self) -> None:
        pass


class NeverThere(NeverReturns):
    """A server that nobody ever reaches."""

    def start(self) -> None:
        super().start()
        self.outage()


@pytest.mark.slow
@pytest.mark.parametrize(
    "server, wrong",
    [
        (NeverReturns, ["the backlog did not drain after the server's return"]),
        (
            NeverThere,
            ["nothing was delivered", "the backlog did not drain after the server's return"],
        ),
    ],
)
def test_the_demo_fails_and_says_why_where_the_server_stays_away(
    server: Type[Sandbox], wrong: List[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # a quarter of it must be enough for the gateway to begin, whatever else the machine does
    assert demo().play(20, tmp_path, server(), patience=1) is False
    output = capsys.readouterr().out
    assert re.findall(r"^  not as it must be: (.*)$", output, re.MULTILINE) == wrong
    assert re.search(r"lost 0   still on the device [1-9]", output)


GOOD = {"produced": 9, "delivered": 9, "duplicated": 0, "lost": 0, "on_device": 0,
        "at_kill": 3, "drained": True, "status": 0}  # fmt: skip


@pytest.mark.parametrize(
    "changed, wrong",
    [
        ({}, []),
        ({"duplicated": 2}, []),
        ({"delivered": 8, "on_device": 1}, []),  # measured after the last delivery
        ({"produced": 0}, ["nothing was produced"]),
        ({"delivered": 0}, ["nothing was delivered"]),
        ({"delivered": 8, "lost": 1}, ["1 of 9 were lost"]),
        ({"at_kill": 0}, ["nothing waited when the gateway was killed"]),
        ({"drained": False}, ["the backlog did not drain after the server's return"]),
        ({"status": 1}, ["the gateway ended with exit status 1"]),
    ],
)
def test_the_demo_is_content_only_if_there_was_something_to_lose(
    changed: Dict[str, Any], wrong: List[str]
) -> None:
    assert demo().Outcome(**{**GOOD, **changed}).wrong() == wrong


def demo() -> Any:
    """Return the demo as a module."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_refuses_a_length_that_tells_no_story() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--seconds", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--seconds: expected 10 to 3600" in done.stderr
