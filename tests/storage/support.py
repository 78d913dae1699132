"""What the storage tests share: reading backup files, and child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, List, Tuple

from tests.support.backup import on_disk

__all__ = ["identity", "on_disk", "run_python", "snapshot", "start_python"]


def snapshot(path: Path) -> Any:
    """Return what the backup file alone says, as any JSON reader sees it."""
    return json.loads(path.read_text(encoding="utf-8"))


def identity(path: Path) -> Tuple[Any, ...]:
    """Return what changes whenever the file or its journal is written."""
    found = []
    for one in (path, path.with_name(path.name + ".journal")):
        if one.exists():
            status = os.stat(one)
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


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
