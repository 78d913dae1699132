"""Setting aside what cannot be read: nobody may overwrite it, and it must not stop a start."""

from __future__ import annotations

import os
from typing import Iterable

from uun_iot_core.files import atomic_write, sync_directory
from uun_iot_core.logs import get_logger

from .errors import reason_of
from .recovery import Found

__all__ = ["free_name", "make_durable", "set_aside", "sync_ancestors"]

logger = get_logger(__name__)


def set_aside(found: Found, path: str, journal_path: str) -> None:
    """Move away what cannot be read, and say so in the log.

    Args:
        found: what is damaged; brought up to date step by step.
        path: the backup file.
        journal_path: its journal.

    Raises:
        OSError: something could not be moved; call it again.
    """
    if found.damage is not None:
        aside = free_name(path)
        if _rename(path, aside):
            logger.warning(
                "backup file %s cannot be read (%s): set aside as %s, the storage starts %s",
                path,
                reason_of(found.damage),
                aside,
                "with what its journal added" if found.entries else "empty",
            )
        found.damage = None
    if found.journal_damage is not None:
        aside = free_name(journal_path)
        if _rename(journal_path, aside):
            logger.warning("journal %s is set aside as %s", journal_path, aside)
        found.journal_damage = None
    if found.rest:
        aside = free_name(journal_path)
        atomic_write(aside, found.rest, 0o600)
        logger.warning("the damaged part of %s is kept as %s", journal_path, aside)
        found.rest = b""
    sync_directory(os.path.dirname(path))


def make_durable(paths: Iterable[str]) -> None:
    """Sync files of one directory: a killed process may have left them unsynced.

    Args:
        paths: the files; those that are missing do not matter.

    Raises:
        OSError: a sync failed.
    """
    directory = ""
    for path in paths:
        directory = os.path.dirname(path)
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_directory(directory)


def sync_ancestors(directory: str) -> None:
    """Sync the directories above one, as far as they are on its file system.

    It may have been made by a process that was killed before it could do that.

    Args:
        directory: the directory.

    Raises:
        OSError: a sync failed.
    """
    device = os.stat(directory).st_dev
    above = os.path.dirname(directory)
    while above != directory:
        try:
            if os.stat(above).st_dev != device:
                return
            sync_directory(above)
        except PermissionError:
            pass  # who may not read it has not made anything in it
        directory, above = above, os.path.dirname(above)


def free_name(path: str) -> str:
    """Return a name beside a file for setting it aside, not taken yet."""
    aside, number = path + ".bad", 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{path}.bad.{number}"
    return aside


def _rename(path: str, aside: str) -> bool:
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return False  # someone has moved it away
    return True
