"""What the storage tests share: reading backup files, and child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, List, Tuple


def on_disk(path: Path) -> Any:
    """Return the content of a backup file, as any JSON reader sees it."""
    return json.loads(path.read_text(encoding="utf-8"))


def identity(path: Path) -> Tuple[int, int]:
    """Return what changes whenever the file is written."""
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns


def start_python(script: str, *args: str) -> subprocess.Popen[str]:
    """Start a child process with a script; its output is read through the pipe."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str, *args: str) -> List[str]:
    """Run a script in a child process; return the lines it printed."""
    process = start_python(script, *args)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines()
