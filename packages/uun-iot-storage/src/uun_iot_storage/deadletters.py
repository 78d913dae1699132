"""The file of dead letters: entries that the server kept refusing, out of the others' way."""

from __future__ import annotations

import json
import os
import threading
from datetime import datetime, timezone
from typing import Any, Iterable, List, Sequence, Set, Tuple

from uun_iot_core.files import sync_directory
from uun_iot_core.logs import get_logger
from uun_iot_core.timestamps import get_iso_timestamp

from .entries import Slot

__all__ = ["DeadLetters", "add_dead_letters"]

logger = get_logger(__name__)

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


class DeadLetters:
    """What becomes of the entries of one storage that the server refuses.

    Args:
        storage_id: name of the storage in log messages.
        max_attempts: refusals after which an entry is set aside; 0 for never.
        has_backup: has it a backup file?

    Raises:
        TypeError, ValueError: ``max_attempts`` is no whole number of 0 or more, or there is
            no backup file to set something aside beside it.
    """

    def __init__(self, storage_id: str, max_attempts: int, has_backup: bool) -> None:
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int):
            raise TypeError(f"max_attempts of storage `{storage_id}` must be an integer")
        if max_attempts < 0 or (max_attempts and not has_backup):
            raise ValueError(
                f"max_attempts of storage `{storage_id}` must be 0, or more together with a "
                "backup_path, since what is set aside needs a file"
            )
        self.max_attempts = max_attempts
        self._storage_id = storage_id
        #: the file, beside the backup file
        self.path = ""
        #: how many entries were set aside
        self.count = 0
        #: held from counting the refusals on until the entries have left the storage
        self.mutex = threading.Lock()

    def refused(self, slots: Iterable[Slot]) -> List[Slot]:
        """Count a refusal of each entry; return those that have too many."""
        dead = []
        for slot in slots:
            slot.attempts += 1
            if slot.attempts >= self.max_attempts:
                dead.append(slot)
        return dead

    def put(self, dead: Sequence[Slot]) -> Set[Slot]:
        """Save entries as dead letters; where that fails, it is logged.

        Returns:
            Those that may leave the storage.
        """
        if not dead:
            return set()
        try:
            add_dead_letters(self.path, [(slot.entry, slot.attempts) for slot in dead])
        except (OSError, TypeError, ValueError) as exc:
            logger.error(
                "storage `%s`: %d entries that the server keeps refusing cannot be set aside in "
                "%s (%s); they stay",
                self._storage_id,
                len(dead),
                self.path,
                type(exc).__name__ if isinstance(exc, (TypeError, ValueError)) else exc,
            )
            return set()
        logger.warning(
            "storage `%s`: the server has refused %d entries %d times; they are set aside in %s, "
            "%d in all",
            self._storage_id,
            len(dead),
            self.max_attempts,
            self.path,
            self.count + len(dead),
        )
        return set(dead)
