"""Writing a file and forking: a child that lives on must not keep others from writing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from uun_iot_core import atomic_write

# Stages new content, forks a child that lives on, and is killed before the commit.
SCRIPT = """
import os, signal, sys
from uun_iot_core.files import StagedFile
staged = StagedFile("data.json", "[1]")
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_of_a_killed_writer_does_not_block_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        child = int(writer.stdout.readline())
        try:
            assert writer.wait(10) == -signal.SIGKILL
            assert (tmp_path / ".data.json.tmp").exists()
            # in a process of its own, so that a lock still held is a time-out, not a hang
            code = "import uun_iot_core; uun_iot_core.atomic_write('data.json', '[2]')"
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=20, check=True)
        finally:
            os.kill(child, signal.SIGKILL)
    assert json.loads((tmp_path / "data.json").read_text()) == [2]
    assert not (tmp_path / ".data.json.tmp").exists()


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        atomic_write(pipe, "x")
    assert pipe.is_fifo()
