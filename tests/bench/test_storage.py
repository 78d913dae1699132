"""The benchmark of the storage runs through, whatever it measures: no time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TITLES = (
    "One append with backup",
    "One durable merge",
    "Loading 100 entries",
    "Memory of saving 100 loaded entries",
    "Sending 10 entries in an outage",
    r"The longest of \d+ appends in a row from 100 entries on",
)


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.slow
def test_small_run_without_peers_prints_each_table(tmp_path: Path) -> None:
    options = ["--quick", "--no-peers", "--smaller", "1000", "--directory", str(tmp_path)]
    result = bench("storage", *options)  # as Markdown: see the timers'
    assert result.returncode == 0, result.stderr
    for title in TITLES:
        assert re.search(f"^{title}.*$", result.stdout, re.MULTILINE), title
    rows = re.findall(r"^  uun-iot-storage\b.*$", result.stdout, re.MULTILINE)
    assert len(rows) == len(TITLES) + 1  # it is loaded twice: also after a kill
    assert "queuelib" not in result.stdout
    assert str(tmp_path) not in result.stdout  # the tables name no machine
    assert list(tmp_path.iterdir()) == []


def test_unknown_benchmark_is_answered_with_those_there_are() -> None:
    result = bench("tocks")
    assert (result.returncode, result.stdout) == (2, "")
    assert "storage" in result.stderr
