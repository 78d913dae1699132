"""The file of dead letters: entries that the server kept refusing, out of the others' way."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Any, Iterable, Tuple

from uun_iot_core.files import sync_directory
from uun_iot_core.timestamps import get_iso_timestamp

__all__ = ["add_dead_letters"]

_FLAGS = (
    os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
)


def add_dead_letters(path: str, letters: Iterable[Tuple[Any, int]]) -> None:
    """Add entries to a file of dead letters, durably, one JSON object a line.

    Each has the keys ``time`` (ISO 8601, by the device's own clock), ``attempts`` and
    ``entry``. The file is readable by its owner alone.

    Args:
        path: the file; it is created if it is missing.
        letters: entries, each with the number of times that it was refused.

    Raises:
        OSError: they were not added.
    """
    now = get_iso_timestamp(datetime.now(timezone.utc))
    lines = [
        json.dumps({"time": now, "attempts": attempts, "entry": entry}) + "\n"
        for entry, attempts in letters
    ]
    content = "".join(lines).encode("ascii")
    fd = os.open(path, _FLAGS, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size:
            os.lseek(fd, -1, os.SEEK_END)
            if os.read(fd, 1) != b"\n":
                content = b"\n" + content  # a crash has cut off the last line
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    sync_directory(os.path.dirname(path))  # always: an attempt before may have failed just here
