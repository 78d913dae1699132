"""Reading what is on the disk: a backup file and its journal, whatever state they are in."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Any, List, Optional, Tuple

from uun_iot_core.logs import get_logger

from .errors import StorageError, reason_of
from .lines import JournalText, parse_journal, replay, salvage
from .snapshot import Snapshot, parse_snapshot

__all__ = ["Found", "Token", "read_backup", "refuse_special", "stat_of"]

logger = get_logger(__name__)

#: tells one state on the disk from another: digest and identity of the snapshot, and the
#: checksum of the journal's last line if there is one
Token = Tuple[str, Optional[str], Optional[int]]

#: tells whether a file is still the one that we know
Stat = Tuple[int, int, int, int]


def stat_of(found: os.stat_result) -> Stat:
    """Return what changes when a file is replaced or written."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def refuse_special(path: str) -> None:
    """Refuse what is there and no file.

    It is neither to be read (a pipe would block for ever) nor moved: it may be ``/dev/null``, or
    the directory in which others have their files.

    Raises:
        StorageError: it is a directory or the like.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # missing or out of reach: reading sees to that
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise StorageError(path, f"it is {what}", "give the path of a file")


@dataclass
class Found:
    """What a backup file and its journal hold.

    Args:
        entries: what was stored.
        length: how many of them the backup file itself holds, whatever its journal says.
        snapshot: the backup file, its entries left out; None where it is missing or damaged.
        stat: of the backup file.
        damage: why the backup file cannot be read.
        journal: is there a journal?
        journal_of: identity of the snapshot that it belongs to, where it says so.
        journal_damage: why the journal cannot be read.
        rest: of a journal, from a damage in its middle on.
        token: of this state.
    """

    entries: List[Any] = field(default_factory=list)
    length: int = 0
    snapshot: Optional[Snapshot] = None
    stat: Optional[Stat] = None
    damage: Optional[Exception] = None
    journal: bool = False
    journal_of: Optional[str] = None
    journal_damage: Optional[OSError] = None
    rest: bytes = b""
    token: Optional[Token] = None

    @property
    def is_irregular(self) -> bool:
        """Must something be set aside, or written, before anything can be added?"""
        return self.snapshot is None or bool(self.journal_damage or self.rest)


def read_backup(path: str, journal_path: str) -> Found:
    """Read a backup file and its journal, and say in the log what is not as it should be.

    Args:
        path: the backup file.
        journal_path: its journal.
    """
    found = Found()
    try:
        with open(path, "rb") as file:
            found.stat = stat_of(os.fstat(file.fileno()))
            snapshot = parse_snapshot(file.read())
        found.entries, found.length = snapshot.entries, len(snapshot.entries)
        found.snapshot = snapshot._replace(entries=[])
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError, RecursionError) as exc:
        found.damage = exc
    if isinstance(found.damage, OSError):
        return found  # out of reach, perhaps for now: nothing can be told of it
    crc: Optional[int] = None
    try:
        with open(journal_path, "rb") as file:
            journal = parse_journal(file.read())
        crc = _apply(found, journal, path, journal_path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as exc:
        found.journal = True
        found.journal_damage = exc
        logger.warning(
            "journal %s cannot be read (%s): what was stored since the backup file was written "
            "last is not there",
            journal_path,
            reason_of(exc),
        )
    if found.snapshot is not None:
        found.token = found.snapshot.digest, found.snapshot.identity, crc
    return found


def _apply(found: Found, journal: JournalText, path: str, journal_path: str) -> Optional[int]:
    """Take a journal into account; return the checksum of its last line, if it counts."""
    found.journal = True
    header, snapshot = journal.header, found.snapshot
    if header is None:
        _look_at_rest(found, journal, journal_path)
        return None
    found.journal_of = header.snapshot
    if snapshot is not None:
        if header == (snapshot.identity, snapshot.digest, found.length):
            found.entries = replay(found.entries, journal.changes)
            _look_at_rest(found, journal, journal_path)
            return journal.crc
        if header.snapshot == snapshot.previous:
            return None  # all of it is in this snapshot; it was about to be removed
    kept = salvage(journal)
    logger.warning(
        "backup file %s %s while there was a journal: the %d entries that the journal added are "
        "kept, behind the %d of the file; some may be twice",
        path,
        "was lost or damaged" if snapshot is None else "was written by another program",
        len(kept),
        len(found.entries),
    )
    found.entries = found.entries + kept
    _look_at_rest(found, journal, journal_path)
    return journal.crc


def _look_at_rest(found: Found, journal: JournalText, journal_path: str) -> None:
    if not journal.rest:
        return
    if journal.torn:
        logger.info(
            "journal %s: the last write was cut off; %d backups before it are whole",
            journal_path,
            journal.backups,
        )
        return
    found.rest = journal.rest
    logger.warning(
        "journal %s is damaged: the %d backups before the damage count, what comes after it "
        "(%d bytes, %d lines) is set aside",
        journal_path,
        journal.backups,
        len(journal.rest),
        journal.rest.count(b"\n"),
    )
