"""What is on the disk: the backup file of a storage, a JSON list, and its journal.

The backup file (the snapshot) is replaced as a whole, atomically; the journal beside it,
``<path>.journal``, holds what has changed since, a line a backup (see `lines`). When the
journal has outgrown the snapshot, a new snapshot is written, and the rename that puts it in
place retires the journal (see `snapshot`). So a backup costs one write and one sync of what
is new, however much is stored.

A journal that was found when the file was opened is read and never continued: a process that
was killed may have left its name, or the rename of its snapshot, undurable. The first backup
writes a new snapshot then.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Any, List, Optional, Sequence, Union

from uun_iot_core.files import make_directories
from uun_iot_core.logs import get_logger

from .errors import StorageError, reason_of, remedy_for
from .journalfile import JournalFile
from .lock import OpenFile
from .recovery import Found, Token, read_backup, refuse_special
from .setaside import make_durable, set_aside, sync_ancestors
from .snapshotfile import SnapshotFile
from .unsaved import Unsaved

__all__ = ["Journal", "UnreadEntries"]

logger = get_logger(__name__)

#: bytes up to which a journal may grow, however small its snapshot is
FLOOR = 64 * 1024


class UnreadEntries(Exception):
    """A backup file that could not be read when it was opened has these entries."""

    def __init__(self, entries: List[Any]) -> None:
        super().__init__(f"{len(entries)} entries")
        self.entries = entries


class Journal:
    """The backup file of one storage: loads it, saves to it, and lets go of it.

    Args:
        path: the backup file; its directories and itself are created when opened.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"backup_path must be a path or None, got {type(path).__name__}")
        if not os.fspath(path):
            raise ValueError("backup_path is empty; give the path of a file, or None")
        self.path = os.path.realpath(path)
        #: bytes written to the disk by this storage
        self.written = 0
        #: did the last opening find a readable file?
        self.was_there = False
        #: state on the disk when we last knew; None where it is not known
        self.token: Optional[Token] = None
        self._file: Optional[OpenFile] = None
        self._key = object()
        # ready made: what a signal's handler that raises may part must be one assignment
        self._me_alone = frozenset([self._key])
        self._lines = JournalFile(self.path + ".journal")
        self._snapshot = SnapshotFile(self.path, self._lines.path)
        self._compact_at = FLOOR
        self._most = 0  # entries that the snapshot and the lines behind it hold
        #: what was found and must be set aside before anything is written
        self._irregular: Optional[Found] = None
        #: are the directories that it stands in durable?
        self._is_rooted = False
        #: was it there when it was opened, and could not be read?
        self._out_of_reach = False
        #: was it loaded without the lock? then another process may have written it since
        self._unguarded = False
        self._has_warned = False  # that there can be no journal: it may be so with each backup
        self._no_json = 0  # entries that were changed to what is no JSON, and reported

    @property
    def is_open(self) -> bool:
        """May it be written?"""
        return self._file is not None

    @property
    def is_unsynced(self) -> bool:
        """Are there lines that are written and not synced?"""
        return self._lines.is_unsynced

    @property
    def is_inherited(self) -> bool:
        """Was it opened by the parent of this forked process?"""
        file = self._file
        return file is not None and file.is_inherited

    def check_process(self) -> None:
        """Refuse a forked child.

        Raises:
            StorageError: the file was opened by the parent process.
        """
        if self.is_inherited:
            raise StorageError(
                self.path,
                "it belongs to the process that this one was forked from",
                "open a storage on another path after the fork",
            )

    # -- opening ---------------------------------------------------------------------

    def open(self) -> List[Any]:
        """Lock the file and return the entries in it and in its journal.

        What is there and cannot be read is set aside, with a warning. Where the file cannot
        be created or locked, that is a warning too: saving will raise.

        Raises:
            StorageError: another process has the file, or it is no regular file.
        """
        refuse_special(self.path)
        with OpenFile.enter(self.path) as file:
            entries = self._load(file)
            self._file = file
            file.known_to |= self._me_alone
        return entries

    def _load(self, file: OpenFile) -> List[Any]:
        obstacle: Optional[OSError]
        try:
            make_directories(os.path.dirname(self.path))
            obstacle = file.lock()
        except OSError as exc:
            obstacle = exc
        self._unguarded = obstacle is not None
        found = read_backup(self.path, self._lines.path)
        self._remember(found)
        self.was_there = found.snapshot is not None
        self._out_of_reach = isinstance(found.damage, OSError)
        self._irregular = found if found.is_irregular else None
        if obstacle is None:
            try:
                self._sync_ancestors()
                if found.is_irregular:
                    set_aside(found, self.path, self._lines.path)
                    self._write_snapshot(file, found.entries)
                    self._irregular = None
                else:
                    make_durable([self.path, self._lines.path])
            except OSError as exc:
                obstacle = exc
                self._snapshot.header = None  # whatever is there: begin with a new snapshot
        if obstacle is not None:
            logger.warning(
                "backup file %s cannot be %s now (%s): entries are in memory only, and each "
                "backup fails until this is remedied: %s",
                self.path,
                "written" if found.damage is None else "read, set aside or written",
                reason_of(obstacle),
                remedy_for(obstacle),
            )
        return found.entries

    def _sync_ancestors(self) -> None:
        self._is_rooted = False
        sync_ancestors(os.path.dirname(self.path))
        self._is_rooted = True

    def _remember(self, found: Found) -> None:
        """Take what was found for the state on the disk."""
        self.token = found.token
        self._snapshot.remember(found)
        self._lines.is_found = found.journal
        self._lines.snapshot = found.journal_of
        self._most = len(found.entries)

    # -- saving ----------------------------------------------------------------------

    def save(
        self,
        entries: List[Any],
        unsaved: Unsaved,
        newest: Optional[Sequence[str]] = None,
        closing: bool = False,
        sync: bool = True,
    ) -> None:
        """Put these entries on the disk; write nothing if they are there already.

        Entries that someone has changed to what is no JSON are saved as text, and logged once.

        Args:
            entries: all of them.
            unsaved: how the disk differs from them; brought up to date.
            newest: JSON texts of the entries added last, at the end, where they are at hand.
            closing: leave no journal behind. And nothing was added: a storage with nothing
                new need not care that another one has written.
            sync: make it durable; else a line may be left to `sync`.

        Raises:
            StorageError: they could not be written, or must not be: the file is closed, or
                belongs to a parent process, or another storage of this process wrote it.
        """
        file = self._file
        if file is None:
            raise StorageError(self.path, "the storage is closed", "reopen it before saving")
        if file.is_inherited:
            self.check_process()
        try:
            with file.mutex:
                self._save(file, entries, unsaved, newest, closing, sync)
        finally:
            file.close_abandoned()

    def _save(
        self,
        file: OpenFile,
        entries: List[Any],
        unsaved: Unsaved,
        newest: Optional[Sequence[str]] = None,
        closing: bool = False,
        sync: bool = True,
    ) -> None:
        is_behind = self._key not in file.known_to
        is_saved = not unsaved
        if is_saved and self._is_done(file, entries, closing, is_behind):
            return
        if is_behind:
            raise StorageError(
                self.path,
                "another storage of this process has written it since this one loaded it",
                "use one storage a file, or close this one and open it again",
            )
        try:
            if self._unguarded:
                self._guard(file)
            if not self._is_rooted:
                self._sync_ancestors()
            if self._irregular is not None:
                set_aside(self._irregular, self.path, self._lines.path)
                self._irregular = None
            file.known_to = self._me_alone
            if closing or is_saved or unsaved.whole or not self._can_continue(file):
                self._write_snapshot(file, entries, unsaved.needs_disk(len(entries)))
            else:
                self._add_line(file, entries, unsaved, newest, sync)
            unsaved.forget()
        except OSError as exc:
            if closing and is_saved:
                logger.warning(
                    "backup file %s cannot be replaced (%s): all is stored, part of it in %s",
                    self.path,
                    reason_of(exc),
                    self._lines.path,
                )
                return
            raise self._error(exc) from exc
        except (StorageError, UnreadEntries):
            raise
        except BaseException:  # a signal's handler raised: who knows what is on the disk
            unsaved.whole = True
            raise

    def _is_done(self, file: OpenFile, entries: List[Any], closing: bool, is_behind: bool) -> bool:
        """Is there nothing to save, though someone asks for it?"""
        if not closing:
            return not is_behind and self._is_intact(file)
        if is_behind:
            return True
        if self._lines.is_found or file.journal_fd >= 0:
            # others of this process, a module made anew for instance, have loaded what is there
            # and would find it changed, though it is the same
            return file.is_shared
        return self._snapshot.holds(entries) and (not entries or os.path.exists(self.path))

    def _guard(self, file: OpenFile) -> None:
        """Lock the file, which could not be done when it was opened.

        What another process wrote before the lock could be taken must not be overwritten.
        """
        make_directories(os.path.dirname(self.path))
        obstacle = file.lock()
        if obstacle is not None:
            raise obstacle
        found = read_backup(self.path, self._lines.path)
        if found.snapshot is not None and self._out_of_reach:
            # it was out of reach when it was opened (no descriptor left, say): now it is read
            self._remember(found)
            self._out_of_reach = self._unguarded = False
            raise UnreadEntries(found.entries)
        if found.snapshot is not None and found.token != self.token:
            raise StorageError(
                self.path,
                "it was changed since it was loaded, when it could not be locked",
                "close this storage and open it again",
            )
        self._remember(found)
        self._irregular = found if found.is_irregular else None
        self._unguarded = False

    def _is_intact(self, file: OpenFile) -> bool:
        """Are the files still those that we know? Someone may have removed or replaced them."""
        return self._snapshot.is_same() and self._lines.is_intact(file)

    def _can_continue(self, file: OpenFile) -> bool:
        is_known = self._snapshot.header is not None and not self._lines.is_found
        return is_known and self._is_intact(file)

    def _error(self, exc: OSError) -> StorageError:
        return StorageError(
            self.path,
            f"cannot be written ({reason_of(exc)}); the entries stay in memory until the next "
            "backup that succeeds",
            remedy_for(exc),
        )

    # -- a line ----------------------------------------------------------------------

    def _add_line(
        self,
        file: OpenFile,
        entries: List[Any],
        unsaved: Unsaved,
        newest: Optional[Sequence[str]],
        sync: bool,
    ) -> None:
        text = unsaved.text(entries, newest)
        try:
            header = self._snapshot.header
            assert header is not None
            self.written += self._lines.add(file, header, text, sync)
        except OSError as exc:
            if file.journal_fd < 0 and os.path.lexists(self._lines.path):
                unsaved.whole = True  # what is on the disk is not known
                self.token = None
            # a new snapshot may be the way out: after a failed sync it is the only one, and
            # where there is no space left, it is smaller if much has gone meanwhile
            is_smaller = len(entries) * 2 < self._most
            if file.journal_fd >= 0 and not is_smaller and unsaved.needs_disk(len(entries)):
                raise
            logger.log(
                logging.DEBUG if self._has_warned else logging.WARNING,
                "journal %s cannot be written (%s): a new backup file is",
                self._lines.path,
                reason_of(exc),
            )
            self._has_warned = True
            self._write_snapshot(file, entries, unsaved.needs_disk(len(entries)))
            return
        self.token = header.digest, header.snapshot, self._lines.crc
        self._most += unsaved.front + unsaved.end
        if self._is_outgrown(entries):
            self._compact(file, entries)

    def sync(self) -> None:
        """Make durable what was written without a sync.

        Raises:
            OSError: the journal is given up; save everything.
        """
        file = self._file
        if file is None or self.is_inherited:
            return
        with file.mutex:
            if self.is_unsynced and self._key in file.known_to:
                self._lines.sync(file)

    # -- a snapshot ------------------------------------------------------------------

    def _is_outgrown(self, entries: List[Any]) -> bool:
        if self._lines.size > max(self._compact_at, self._snapshot.size):
            return True
        # drained: else a large snapshot of what has long been sent would stay for long
        return len(entries) * 8 < self._most and self._snapshot.size > self._compact_at

    def _compact(self, file: OpenFile, entries: List[Any]) -> None:
        """Write a new snapshot where that is possible; the line before it is safe anyhow."""
        try:
            self._write_snapshot(file, entries)
        except OSError as exc:
            self._compact_at = self._lines.size + max(FLOOR, self._snapshot.size)
            logger.warning(
                "backup file %s cannot be replaced now (%s); its journal grows on", self.path, exc
            )

    def _write_snapshot(self, file: OpenFile, entries: List[Any], is_needed: bool = True) -> None:
        """Replace the backup file.

        Args:
            file: it.
            entries: the new content.
            is_needed: are some of these on the disk already, and must not get lost?
        """
        snapshot = self._snapshot
        snapshot.check_stranger(file)
        make_directories(os.path.dirname(self.path))
        previous = self._lines.snapshot
        if previous is None and snapshot.header is not None:
            previous = snapshot.header.snapshot
        try:
            new = snapshot.stage(entries, previous)
        except OSError as exc:
            if is_needed or exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # All that is on the disk was sent, and what says so takes its last room. Without it a
            # crash would send some of that twice; with it nothing could be stored any more.
            snapshot.header = self.token = None
            file.close_journal()
            self._lines.remove()
            new = snapshot.stage(entries, previous)
        with new.staging as staged:
            # whatever happens to the rename: the journal has come to its end
            snapshot.forget()
            self.token = None
            file.known_to = self._me_alone
            file.close_journal()
            staged.commit()
        snapshot.replaced(new)
        self.written += new.text.size
        self.token = new.text.digest, new.text.identity, None
        self._most = len(entries)
        self._compact_at = FLOOR
        self._lines.remove()
        if len(new.no_json) > self._no_json:
            logger.error(
                "backup file %s: %d entries, the first at position %d, were changed to what is no "
                "JSON; that is saved as text",
                self.path,
                len(new.no_json),
                new.no_json[0],
            )
        self._no_json = len(new.no_json)

    # -- letting go ------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file without saving; nothing if it is not open here."""
        file = self._file
        if file is None or self.is_inherited:
            return
        with file.mutex:
            self._leave(file)
        file.close_abandoned()

    def _leave(self, file: OpenFile) -> None:
        self._file = None
        if self._key in file.known_to and not self._lines.is_found:
            self._lines.leave(file)  # where others stay, it stays too, and is found by the next
        file.leave()

    def abandon(self, entries: List[Any], unsaved: Unsaved) -> None:
        """Save and let go on behalf of the garbage collection: never wait, never raise."""
        if self._file is None or self.is_inherited:
            return
        file = self._file

        def close() -> None:
            try:
                self._save(file, entries, unsaved, closing=True)
            except Exception as exc:
                logger.error("entries of a storage that was not closed are not saved: %s", exc)
            finally:
                self._leave(file)

        file.abandon(close)
