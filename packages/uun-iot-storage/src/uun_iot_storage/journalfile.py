"""A journal's file: lines are added at its end, each with one write and one sync.

What has not been written whole is cut off again. A descriptor whose sync has failed is of no
use any more: the system may have dropped what it could not write and report success the next
time, so the file is given up for a new snapshot.
"""

from __future__ import annotations

import os
import stat
from typing import Optional

from uun_iot_core.files import sync_directory
from uun_iot_core.logs import get_logger

from .lines import Header, header_line, line
from .lock import OpenFile

__all__ = ["JournalFile"]

logger = get_logger(__name__)

_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)

#: the length of a file belongs to what this syncs
_sync = getattr(os, "fdatasync", os.fsync)


class JournalFile:
    """The journal beside a backup file, as one storage knows and writes it.

    Its descriptor is held by the `OpenFile`, which closes it in forked children; it is not
    there any more where the journal was given up.

    Args:
        path: of the journal.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        #: identity of the snapshot that the journal on the disk belongs to, if it is known
        self.snapshot: Optional[str] = None
        #: is there one that was there when the file was opened? It is not continued
        self.is_found = False
        #: bytes that it has
        self.size = 0
        #: checksum of its last line
        self.crc = 0
        #: are there lines that are written and not synced?
        self.is_unsynced = False
        self._inode = (0, 0)

    def is_intact(self, file: OpenFile) -> bool:
        """Is it still what was written? Someone may have removed it, or written to it."""
        if file.journal_fd < 0:
            return True
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode and found.st_size == self.size

    def add(self, file: OpenFile, header: Header, text: str, sync: bool) -> int:
        """Add a line; create the journal if it is not open.

        Args:
            file: the backup file, which gives a new journal its owner and rights.
            header: of a new journal.
            text: what the line says.
            sync: make it durable; else that is left to `sync`. A new journal always is.

        Returns:
            How many bytes were written.

        Raises:
            OSError: the line is not there, or the journal is given up. FileExistsError: it
                is not open, and there is a file in its place.
        """
        if file.journal_fd >= 0:
            content, crc = line(text, self.crc)
            self._append(file, content, sync)
        else:
            head, crc = header_line(header)
            content, crc = line(text, crc)
            content = head + content
            self._create(file, content)
            self.snapshot = header.snapshot
            self.size = 0
        self.is_unsynced = not sync and self.size > 0
        self.size += len(content)
        self.crc = crc
        return len(content)

    def _create(self, file: OpenFile, content: bytes) -> None:
        fd = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _copy_rights(fd, file.path)
            _write(fd, content)
            _sync(fd)
            sync_directory(os.path.dirname(self.path))
        except BaseException:
            os.close(fd)
            try:
                os.unlink(self.path)
            except OSError:
                pass  # it belongs to the present snapshot, and only says what was asked for
            raise
        found = os.fstat(fd)
        self._inode = found.st_dev, found.st_ino
        file.journal_fd = fd

    def _append(self, file: OpenFile, content: bytes, sync: bool) -> None:
        fd = file.journal_fd
        try:
            _write(fd, content)
        except BaseException:
            try:
                os.ftruncate(fd, self.size)
            except OSError:
                file.close_journal()
            raise
        if sync:
            self.sync(file)

    def sync(self, file: OpenFile) -> None:
        """Make all lines durable.

        Raises:
            OSError: the journal is given up.
        """
        self.is_unsynced = False
        try:
            _sync(file.journal_fd)
        except BaseException:
            file.close_journal()
            raise

    def remove(self) -> None:
        """Remove it from the disk: a new snapshot holds what it says."""
        self.size = 0
        self.is_unsynced = False
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError:
            self.is_found = True  # it is retired; the next snapshot will say so again
            return
        self.is_found = False
        self.snapshot = None

    def leave(self, file: OpenFile) -> None:
        """Close it, where it is open."""
        if self.is_unsynced and file.journal_fd >= 0:
            try:
                self.sync(file)
            except OSError as exc:
                logger.error("journal %s may be incomplete: %s", self.path, exc)
        file.close_journal()


def _copy_rights(fd: int, path: str) -> None:
    if not hasattr(os, "fchmod"):
        return
    like = os.stat(path)
    try:
        os.fchown(fd, like.st_uid, like.st_gid)
    except PermissionError:
        pass  # only root may give a file away; ours is then the owner
    os.fchmod(fd, stat.S_IMODE(like.st_mode))


def _write(fd: int, content: bytes) -> None:
    done = os.write(fd, content)
    while done < len(content):  # where space or a limit ends, the next says why
        done += os.write(fd, memoryview(content)[done:])
