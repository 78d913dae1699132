"""The benchmark of timers runs through, whatever it measures: no time is asserted."""

from __future__ import annotations

import re
import sys

import pytest

from tests.bench.test_storage import bench

TITLES = (
    "Timers of 1 s, aligned",
    "Timers of 1 s, spread over it",
    "100 timers of 0.25 s beside 20 handlers that block",
    "A process that does next to nothing",
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark of timers reads /proc")
def test_small_run_without_peers_prints_each_table() -> None:
    options = ["--no-peers", "--rounds", "1", "--seconds", "0.3", "--imports", "1"]
    result = bench("timers", *options, "--numbers", "3", "--markdown")
    assert result.returncode == 0, result.stderr
    for title in TITLES:
        assert re.search(rf"^\*\*{title}.*\*\*$", result.stdout, re.MULTILINE), title
    rows = re.findall(r"^.*\buun-iot-core\b.*$", result.stdout, re.MULTILINE)
    assert len(rows) == 3
    assert "APScheduler," not in result.stdout
