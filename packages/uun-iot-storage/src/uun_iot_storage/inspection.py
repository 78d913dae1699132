"""Looking into a backup file from outside, and putting dead letters back.

Looking takes no lock and writes nothing, so a gateway that has the file open, or is about to
open it, notices nothing. Putting back takes the gateway's own lock.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, List, NamedTuple, Optional, Tuple

from uun_iot_core.files import atomic_write, sync_directory

from .errors import StorageError, reason_of
from .lines import JournalText, parse_journal, replay, salvage
from .recovery import refuse_special, stat_of
from .snapshot import Snapshot, parse_snapshot
from .storage import Storage

__all__ = ["Backup", "DeadLetter", "look_into", "requeue"]

#: how often a file that is replaced while it is read is read again
_ATTEMPTS = 20


class DeadLetter(NamedTuple):
    """An entry that the server kept refusing.

    Args:
        time: when it was set aside, ISO 8601, by the device's own clock.
        attempts: how often it was refused.
        entry: the entry.
    """

    time: Optional[str]
    attempts: Optional[int]
    entry: Any


@dataclass(frozen=True)
class Backup:
    """What a backup file and the files beside it hold.

    Args:
        path: the backup file.
        entries: the stored entries, oldest first.
        damage: why the backup file cannot be read; None where it can, or is missing.
        in_file: how many entries the backup file itself holds.
        journal: bytes of the journal; None where there is none.
        backups: how many whole backups the journal holds.
        journal_damage: what is wrong with the journal; None where nothing is.
        dead: the dead letters.
        dead_damage: how many lines of their file cannot be read.
        aside: files that were set aside because they could not be read.
    """

    path: str
    entries: List[Any]
    damage: Optional[str]
    in_file: int
    journal: Optional[int]
    backups: int
    journal_damage: Optional[str]
    dead: List[DeadLetter]
    dead_damage: int
    aside: List[str]


def look_into(path: str) -> Backup:
    """Read a backup file, its journal and its dead letters, as a storage would load them.

    Args:
        path: the backup file.

    Raises:
        StorageError: there is none of these files, or one cannot be opened, or the backup
            file was replaced again and again while it was read.
    """
    path = os.path.realpath(path)
    content, journal = _read_both(path)
    dead, dead_damage = _dead_letters(path)
    if content is None and journal is None and not dead and not dead_damage:
        raise StorageError(path, "does not exist", "give the path of a storage's backup file")
    snapshot: Optional[Snapshot] = None
    damage: Optional[str] = None
    if content is not None:
        try:
            snapshot = parse_snapshot(content)
        except (ValueError, RecursionError) as exc:
            damage = reason_of(exc)
    in_file = 0 if snapshot is None else len(snapshot.entries)
    text = None if journal is None else parse_journal(journal)
    return Backup(
        path=path,
        entries=_entries(snapshot, text),
        damage=damage,
        in_file=in_file,
        journal=None if journal is None else len(journal),
        backups=0 if text is None else text.backups,
        journal_damage=_damage_of(text),
        dead=dead,
        dead_damage=dead_damage,
        aside=_aside(path),
    )


def _read_both(path: str) -> Tuple[Optional[bytes], Optional[bytes]]:
    """Return backup file and journal as they were at one moment."""
    for _ in range(_ATTEMPTS):
        before = _stat(path)
        content, journal = _read(path), _read(path + ".journal")
        # a journal that has grown meanwhile is still of this backup file
        if before == _stat(path) and (content is None) == (before is None):
            return content, journal
    raise StorageError(path, "is being replaced all the time", "try again")


def _stat(path: str) -> Optional[Tuple[int, ...]]:
    try:
        return stat_of(os.stat(path))
    except OSError:
        return None


def _read(path: str) -> Optional[bytes]:
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StorageError(path, f"cannot be read ({reason_of(exc)})", "check its rights") from exc


def _entries(snapshot: Optional[Snapshot], journal: Optional[JournalText]) -> List[Any]:
    """Return what a storage would load; see `recovery`."""
    entries = [] if snapshot is None else snapshot.entries
    if journal is None or journal.header is None:
        return entries
    header = journal.header
    if snapshot is not None:
        if header == (snapshot.identity, snapshot.digest, len(entries)):
            return replay(entries, journal.changes)
        if header.snapshot == snapshot.previous:
            return entries  # the journal is contained in this backup file
    return entries + salvage(journal)


def _damage_of(journal: Optional[JournalText]) -> Optional[str]:
    if journal is None or not journal.rest or journal.torn:
        return None
    return f"{len(journal.rest)} bytes from the {journal.backups + 2}. line on cannot be read"


def _aside(path: str) -> List[str]:
    directory, name = os.path.split(path)
    wanted = re.compile(re.escape(name) + r"(\.journal)?\.bad(\.\d+)?")
    try:
        return sorted(
            os.path.join(directory, one) for one in os.listdir(directory) if wanted.fullmatch(one)
        )
    except OSError:
        return []


def _dead_letters(path: str) -> Tuple[List[DeadLetter], int]:
    content = _read(path + ".dead") or b""
    letters = [_letter(line) for line in content.splitlines() if line.strip()]
    found = [letter for letter in letters if letter is not None]
    return found, len(letters) - len(found)


def _letter(line: bytes) -> Optional[DeadLetter]:
    """Return what a line of the file of dead letters says; None where it is cut off."""
    try:
        said = json.loads(line)
        return DeadLetter(said.get("time"), said.get("attempts"), said["entry"])
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def requeue(path: str) -> int:
    """Put the dead letters of a storage back, in front of what is stored; return how many.

    They are stored durably before their file is replaced: a crash in between leaves them in
    both, and loses none. Lines that cannot be read stay where they are.

    Args:
        path: the backup file.

    Raises:
        StorageError: a process has the file open, or something could not be written.
        ValueError: an entry cannot be stored.
    """
    path = os.path.realpath(path)
    if not look_into(path).dead:
        return 0
    with Storage("requeue", path) as storage:
        # again, since only now nobody else can add to them
        letters, _ = _dead_letters(path)
        storage.merge([letter.entry for letter in letters], new_data=False)
        _keep_unreadable(path + ".dead")
    return len(letters)


def _keep_unreadable(path: str) -> None:
    lines = (_read(path) or b"").splitlines(keepends=True)
    kept = b"".join(line for line in lines if line.strip() and _letter(line) is None)
    try:
        if kept:
            atomic_write(path, kept)
        else:
            os.unlink(path)
            sync_directory(os.path.dirname(path))
    except OSError as exc:
        raise StorageError(
            path,
            f"cannot be replaced ({reason_of(exc)}); its entries are stored again all the same",
            "remove it",
        ) from exc
