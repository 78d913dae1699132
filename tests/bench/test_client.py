"""The benchmark of the client runs through, whatever it measures: no time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ("get, 1 thread", "post, 1 thread", "session, 1 thread", "post, 8 threads", "first request",
        "import")  # fmt: skip


@pytest.mark.slow
def test_small_run_without_the_published_client_prints_each_row() -> None:
    options = ["--no-peers", "--rounds", "1", "--number", "8"]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "client", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for row in ROWS:
        assert re.search(rf"^  {row}\b.*×\)", result.stdout, re.MULTILINE), row
    assert str(ROOT) not in result.stdout  # the tables name no machine
