"""What is on the disk: the backup file of a storage, a JSON list replaced as a whole."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, List, Optional, Tuple, Union

from uun_iot_core.files import atomic_write, sync_directory
from uun_iot_core.logs import get_logger

from .encoding import digest_of, dump_entries, parse_entries
from .errors import StorageError, reason_of, remedy_for
from .lock import OpenFile

__all__ = ["Journal", "UnreadEntries"]

logger = get_logger(__name__)


class UnreadEntries(Exception):
    """A backup file that could not be read when it was opened has these entries."""

    def __init__(self, entries: List[Any]) -> None:
        super().__init__(f"{len(entries)} entries")
        self.entries = entries


class Journal:
    """The backup file of one storage: loads it, saves to it, and lets go of it.

    Whatever happens, the file is a whole JSON list, the old one or the new one.

    Args:
        path: the backup file; its directories and itself are created when opened.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"backup_path must be a path or None, got {type(path).__name__}")
        if not os.fspath(path):
            raise ValueError("backup_path is empty; give the path of a file, or None")
        self.path = os.path.realpath(path)
        self._file: Optional[OpenFile] = None
        self._generation = 0
        #: digest of what the file held when we last knew
        self.digest = b""
        #: did the last opening find a readable file?
        self.was_there = False
        #: False after a failed write: the file may be the old or the new one
        self._certain = False
        #: why a file in the way cannot be read, while it could not be set aside either
        self._damage: Optional[Exception] = None
        #: was it there when it was opened, and could not be read?
        self._out_of_reach = False
        #: was it loaded without the lock? then another process may have written it since
        self._unguarded = False
        #: entries that were changed to what is no JSON, and reported
        self._reported: List[Any] = []

    @property
    def is_open(self) -> bool:
        """May it be written?"""
        return self._file is not None

    @property
    def is_inherited(self) -> bool:
        """Was it opened by the parent of this forked process?"""
        return self._file is not None and self._file.pid != os.getpid()

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
        """Lock the file and return the entries in it.

        What is there and is no JSON list is set aside, with a warning. Where the file
        cannot be created or locked, that is a warning too: saving will raise.

        Raises:
            StorageError: another process has the file, or it is no regular file.
        """
        self._refuse_special()
        with OpenFile.enter(self.path) as file:
            entries = self._load(file)
            self._file = file
            self._generation = file.generation
        return entries

    def _refuse_special(self) -> None:
        try:
            mode = os.stat(self.path).st_mode
        except OSError:
            return  # missing or out of reach: loading sees to that
        if not stat.S_ISREG(mode):
            # neither to be read (a pipe would block for ever) nor moved: it may be /dev/null, or
            # the directory in which others have their files
            what = "a directory" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
            raise StorageError(self.path, f"it is {what}", "configure the path of a file")

    def _load(self, file: OpenFile) -> List[Any]:
        obstacle: Optional[OSError]
        try:
            _make_directories(os.path.dirname(self.path))
            obstacle = file.lock()
        except OSError as exc:
            obstacle = exc
        content, entries = self._read()
        self.was_there = content is not None
        self._out_of_reach = isinstance(self._damage, OSError)
        if content is None and obstacle is None:
            try:
                if self._damage is not None:
                    self._set_aside()
                file.generation += 1
                atomic_write(self.path, b"[]")
            except OSError as exc:
                obstacle = exc
        if obstacle is not None:
            logger.warning(
                "backup file %s cannot be %s now (%s): entries are in memory only, and each "
                "backup fails until this is remedied: %s",
                self.path,
                "written" if self._damage is None else "read, set aside or written",
                reason_of(obstacle),
                remedy_for(obstacle),
            )
        # A file with line breaks was not written by json.dumps as we do: compare content.
        canonical = content is not None and b"\n" not in content
        self.digest = digest_of(content) if content and canonical else self.digest_of(entries)
        self._certain = True
        self._unguarded = obstacle is not None
        return entries

    def _read(self) -> Tuple[Optional[bytes], List[Any]]:
        """Return the file's bytes and entries; no bytes if it is missing or damaged."""
        self._damage = None
        try:
            with open(self.path, "rb") as file:
                content = file.read()
            return content, parse_entries(content)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError, RecursionError) as exc:
            self._damage = exc
        return None, []

    def _set_aside(self) -> None:
        """Move away what is no backup file; nobody may overwrite it."""
        aside, number = self.path + ".bad", 1
        while os.path.lexists(aside):
            number += 1
            aside = f"{self.path}.bad.{number}"
        reason, self._damage = self._damage, None
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return  # someone has moved it away
        except OSError:
            self._damage = reason
            raise
        logger.warning(
            "backup file %s cannot be read (%s): set aside as %s, the storage starts empty",
            self.path,
            reason_of(reason),
            aside,
        )
        sync_directory(os.path.dirname(self.path))

    # -- saving ----------------------------------------------------------------------

    def save(self, entries: List[Any], closing: bool = False) -> None:
        """Put these entries on the disk, durably; write nothing if they are there already.

        Entries that someone has changed to what is no JSON are left out, and logged once.

        Args:
            entries: all of them.
            closing: nothing was added: a storage with nothing new need not care that
                another one has written.

        Raises:
            StorageError: they could not be written, or must not be: the file is closed, or
                belongs to a parent process, or another storage of this process wrote it.
        """
        self.check_process()
        file = self._file
        if file is None:
            raise StorageError(self.path, "the storage is closed", "reopen it before saving")
        with file.turn():
            self._save(file, entries, closing)

    def _save(self, file: OpenFile, entries: List[Any], closing: bool) -> None:
        content = self._serialise(entries)
        digest = digest_of(content)
        unchanged = self._certain and digest == self.digest
        behind = self._generation != file.generation
        if unchanged and (closing or not behind) and (not entries or os.path.exists(self.path)):
            return
        if behind:
            raise StorageError(
                self.path,
                "another storage of this process has written it since this one loaded it",
                "use one storage a file, or close this one and open it again",
            )
        try:
            _make_directories(os.path.dirname(self.path))
            obstacle = file.lock()
            if obstacle is not None:
                raise obstacle
            if self._unguarded:
                self._check_guard()
            file.generation += 1
            self._generation = file.generation
            self._certain = False
            if self._damage is not None:
                self._set_aside()
            atomic_write(self.path, content)
        except OSError as exc:
            raise self._error(exc) from exc
        self.digest, self._certain = digest, True

    def _check_guard(self) -> None:
        """Do not overwrite what another process wrote before the lock could be taken."""
        found, entries = self._read()
        if found is not None and self._out_of_reach:
            # it was out of reach when it was opened (no descriptor left, say): now it is read
            self._out_of_reach = self._unguarded = False
            self.digest = self.digest_of(entries)
            raise UnreadEntries(entries)
        if found is not None and not self.holds(entries):
            raise StorageError(
                self.path,
                "it was changed since it was loaded, when it could not be locked",
                "close this storage and open it again",
            )
        self._unguarded = False

    def _error(self, exc: OSError) -> StorageError:
        return StorageError(
            self.path,
            f"cannot be written ({reason_of(exc)}); the entries stay in memory until the next "
            "backup that succeeds",
            remedy_for(exc),
        )

    def _serialise(self, entries: List[Any]) -> bytes:
        content, refused = dump_entries(entries)
        for position in refused:
            if not any(entries[position] is known for known in self._reported):
                logger.error(
                    "backup file %s: the entry at position %d was changed to what is no JSON; it "
                    "stays in memory only, the others are saved",
                    self.path,
                    position,
                )
        self._reported = [entries[position] for position in refused]
        return content

    def digest_of(self, entries: List[Any]) -> bytes:
        """Return the digest that a file with these entries has."""
        return digest_of(self._serialise(entries))

    def holds(self, entries: List[Any]) -> bool:
        """Are these the entries that the file held when we last knew?"""
        return self.digest_of(entries) == self.digest

    # -- letting go ------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file without saving; nothing if it is not open here."""
        file = self._file
        if file is None or self.is_inherited:
            return
        with file.turn():
            self._file = None
            file.leave()

    def abandon(self, entries: List[Any]) -> None:
        """Save and let go on behalf of the garbage collection: never wait, never raise."""
        if self._file is None or self.is_inherited:
            return
        file = self._file

        def close() -> None:
            try:
                self._save(file, entries, closing=True)
            except Exception as exc:
                logger.error("entries of a storage that was not closed are not saved: %s", exc)
            finally:
                self._file = None
                file.leave()

        file.abandon(close)


def _make_directories(directory: str) -> None:
    """Create a directory and its parents, each durable in the one above."""
    if os.path.isdir(directory):
        return
    above = os.path.dirname(directory)
    _make_directories(above)
    try:
        os.mkdir(directory)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory) from None
    sync_directory(above)
