"""A journal's file: lines are added at its end, each with one write and one sync.

What has not been written whole is cut off again. A descriptor whose sync has failed is of no
use any more: the system may have dropped what it could not write and report success the next
time, so the file is given up for a new snapshot.
"""

from __future__ import annotations

import os
import stat

from uun_iot_core.files import sync_directory

from .lock import OpenFile

__all__ = ["add_to_journal", "create_journal", "sync_journal"]

_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)

#: the length of a file belongs to what this syncs
_sync = getattr(os, "fdatasync", os.fsync)


def create_journal(file: OpenFile, path: str, content: bytes) -> None:
    """Create a journal with this content, durably; `file` holds its descriptor then.

    Args:
        file: the backup file, which gives owner and rights.
        path: of the journal; nothing may be there.
        content: header and first line.

    Raises:
        OSError: there is no journal; FileExistsError, where there was one.
    """
    fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _copy_rights(fd, file.path)
        _write(fd, content)
        _sync(fd)
        sync_directory(os.path.dirname(path))
    except BaseException:
        os.close(fd)
        try:
            os.unlink(path)
        except OSError:
            pass  # it belongs to the present snapshot, and only says what was asked for
        raise
    file.journal_fd = fd


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
    view = memoryview(content)
    while view:  # the system may take a part, where space or a limit ends; the next says why
        view = view[os.write(fd, view) :]


def add_to_journal(file: OpenFile, content: bytes, size: int, sync: bool) -> None:
    """Add a line to the journal.

    Args:
        file: holds the journal's descriptor; not any more where the journal is given up.
        content: the line.
        size: of the journal so far, in bytes.
        sync: make it durable; else that is left to `sync_journal`.

    Raises:
        OSError: the line is not there, or the journal is given up.
    """
    fd = file.journal_fd
    try:
        _write(fd, content)
    except BaseException:
        try:
            os.ftruncate(fd, size)
        except OSError:
            file.close_journal()
        raise
    if sync:
        sync_journal(file)


def sync_journal(file: OpenFile) -> None:
    """Make all lines durable.

    Args:
        file: holds the journal's descriptor; not any more where the journal is given up.

    Raises:
        OSError: the journal is given up.
    """
    try:
        _sync(file.journal_fd)
    except BaseException:
        file.close_journal()
        raise
