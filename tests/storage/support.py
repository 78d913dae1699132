"""What the storage tests share: reading backup files, and child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any, List, Tuple


def on_disk(path: Path) -> Any:
    """Return what a backup file and its journal say, read here by the rules of their format."""
    content = path.read_bytes()
    entries = json.loads(content)
    journal = path.with_name(path.name + ".journal")
    if not journal.exists():
        return entries
    crc = 0
    for number, line in enumerate(journal.read_bytes().splitlines()):
        payload = line[9:]
        crc = zlib.crc32(payload, crc)
        if line[:9] != b"%08x " % crc:
            break
        said = json.loads(payload)
        if number == 0:
            blanks = content.split(b"\n")[1].replace(b" ", b"0").replace(b"\t", b"1")
            if int(said["snapshot"], 16) != int(blanks, 2):
                break
            continue
        for kind, argument in said:
            if kind == "a":
                entries += argument
            elif kind == "f":
                entries = argument + entries
            elif kind == "d":
                entries = entries[argument:]
            else:
                assert kind == "r"
                place = 0
                for start, count in argument:
                    place += start
                    entries = entries[:place] + entries[place + count :]
    return entries


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
