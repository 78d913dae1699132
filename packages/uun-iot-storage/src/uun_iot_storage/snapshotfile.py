"""A backup file as one storage knows it: which snapshot it is, and whether it still is that."""

from __future__ import annotations

import os
from typing import Any, List, Optional, Sequence

from uun_iot_core.files import StagedFile
from uun_iot_core.logs import get_logger

from .encoding import dump_parts
from .lines import Header
from .lock import OpenFile
from .recovery import Found, Stat, read_backup, stat_of
from .setaside import free_name
from .snapshot import SnapshotText, digest_of, new_identity, parse_snapshot

__all__ = ["SnapshotFile"]

logger = get_logger(__name__)


class SnapshotFile:
    """The backup file itself, without its journal.

    Args:
        path: of the file.
        journal_path: of its journal.
    """

    def __init__(self, path: str, journal_path: str) -> None:
        self.path = path
        self._journal_path = journal_path
        #: of a journal that belongs to it; None if there can be none
        self.header: Optional[Header] = None
        #: bytes that it has
        self.size = 0
        self._digest = ""  # of its JSON text, where that is known
        self._stat: Optional[Stat] = None

    def remember(self, found: Found) -> None:
        """Take what was found for what is there."""
        snapshot = found.snapshot
        self._stat = None if snapshot is None else found.stat
        self.header = None
        self._digest = ""
        if snapshot is not None:
            if snapshot.identity is not None:
                self._digest = snapshot.digest
                self.header = Header(snapshot.identity, snapshot.digest, found.length)
            self.size = found.stat[2] if found.stat else 0

    def is_same(self) -> bool:
        """Is the file still the one that we know? Someone may have replaced or touched it."""
        try:
            return self._stat is not None and stat_of(os.stat(self.path)) == self._stat
        except OSError:
            return False

    def holds(self, entries: List[Any]) -> bool:
        """Are these the entries in it?"""
        if not self._digest:  # of another program, which lays the same entries out as it likes
            self._digest = digest_of(read_backup(self.path, self._journal_path).entries)
        return digest_of(entries) == self._digest

    def check_stranger(self, file: OpenFile) -> None:
        """Look at the file before it is replaced: is it still what we know?

        Someone may have touched, removed or written it while it was open here. What another
        program has written is kept beside it.

        Raises:
            StorageError: it was another process of ours, after the lock file had been removed.
        """
        if self._stat is None or self.is_same():
            return
        file.lock_again()
        try:
            with open(self.path, "rb") as stranger:
                snapshot = parse_snapshot(stranger.read())
            if self.header is None or snapshot.identity == self.header.snapshot:
                if not self._digest or snapshot.digest == self._digest:
                    return  # touched
        except FileNotFoundError:
            logger.warning("backup file %s was removed: it is written again", self.path)
            return
        except (OSError, ValueError, RecursionError):
            pass
        aside = free_name(self.path)
        try:
            os.link(self.path, aside)
        except OSError as exc:
            aside = f"lost ({exc.strerror})"
        logger.warning(
            "backup file %s was written by another program while it was open here; it is "
            "replaced, what was in it is %s",
            self.path,
            aside,
        )

    def stage(self, entries: List[Any], previous: Optional[str]) -> NewSnapshot:
        """Write a new one beside it, to be put in its place.

        Args:
            entries: all of them.
            previous: identity of the snapshot that it replaces, if there was one.

        Raises:
            OSError: it could not be written; nothing is left behind.
        """
        no_json: List[int] = []
        text = SnapshotText(dump_parts(entries, no_json), new_identity(), previous)
        return NewSnapshot(StagedFile(self.path, text), text, len(entries), no_json)

    def forget(self) -> None:
        """Know nothing of the file: it is about to be replaced, which may fail half way."""
        self.header = self._stat = None

    def replaced(self, new: NewSnapshot) -> None:
        """Take the new one, which has been put in place, for what is there."""
        self._stat = stat_of(os.stat(self.path))
        self.header = Header(new.text.identity, new.text.digest, new.length)
        self._digest = new.text.digest
        self.size = new.text.size


class NewSnapshot:
    """A snapshot that stands beside the backup file, and is not in its place yet.

    Args:
        staging: the file.
        text: its content, written.
        length: number of its entries.
        no_json: positions of entries that were saved as text, see `dump_parts`.
    """

    def __init__(
        self, staging: StagedFile, text: SnapshotText, length: int, no_json: Sequence[int]
    ) -> None:
        self.staging = staging
        self.text = text
        self.length = length
        self.no_json = no_json
