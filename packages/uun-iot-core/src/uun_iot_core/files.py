"""Replacing files whole: a reader, a crash or a power cut sees the old content or the new."""

from __future__ import annotations

import errno
import io
import json
import os
import weakref
from types import TracebackType
from typing import Any, Dict, Iterable, List, Optional, Type, Union

from .forks import in_children

try:
    import fcntl
except ImportError:  # Windows: no flock; one writer at a time is then the caller's care
    fcntl = None  # type: ignore[assignment]  # the module is absent, not None, elsewhere

__all__ = [
    "LOCKLESS",
    "StagedFile",
    "atomic_write",
    "file_save",
    "make_directories",
    "sync_directory",
]

PathLike = Union[str, "os.PathLike[str]"]
#: what a file is to hold; in parts where the whole would take much memory
Content = Union[str, bytes, Iterable[bytes]]

#: errors of file systems that know no locks
LOCKLESS = tuple(
    getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP")
)
#: staged files of this process; a forked child must not hold on to their locks
_staged: "weakref.WeakSet[StagedFile]" = weakref.WeakSet()


def _let_go_in_child() -> None:
    for staged in list(_staged):
        staged._close()


def sync_directory(path: PathLike) -> None:
    """Make the entries of a directory durable (a rename or a new file in it).

    Args:
        path: the directory.

    Raises:
        OSError: the sync failed.
    """
    if os.name == "nt":  # a directory cannot be opened there; NTFS journals its entries
        return
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # some file systems do not sync directories
            raise
    finally:
        os.close(fd)


def make_directories(path: PathLike) -> None:
    """Create a directory and its parents, each durable in the one above.

    Args:
        path: the directory; nothing happens if it is there.

    Raises:
        OSError: it cannot be created.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(os.path.abspath(path))
    make_directories(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    sync_directory(above)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class StagedFile:
    """New content of a file, complete and synced beside it, waiting for `commit`.

    What can fail for want of space or rights fails here, before anything has changed.
    A context manager: leaving the block without `commit` discards the content.

    Where ``path`` is a link, its target is replaced. An existing file keeps its mode and
    owner.

    Args:
        path: the file to replace; its directory must exist.
        data: the new content, whole or in parts; a string is written as UTF-8.
        mode: permission bits of a new file; by default as the umask has it.

    Raises:
        OSError: the content could not be written or synced, or ``path`` is a directory or
            a device.
    """

    def __init__(self, path: PathLike, data: Content, mode: Optional[int] = None) -> None:
        self.path = os.path.realpath(path)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            # replacing a device such as /dev/null would harm the whole machine
            raise OSError(errno.EINVAL, "not a regular file", self.path)
        if isinstance(data, str):
            data = data.encode("utf-8")
        self._data: Iterable[bytes] = [data] if isinstance(data, bytes) else data
        directory, name = os.path.split(self.path)
        # One name, not a random one: what a crash leaves behind does not pile up.
        self._temporary = os.path.join(directory, f".{name}.tmp")
        self._file: Optional[io.FileIO] = None
        self._in_place = False
        there = os.path.exists(self.path)
        try:
            self._open(0o600 if mode is not None or there else 0o666)
        except OSError as exc:
            if exc.errno != errno.EROFS or not there:
                raise
            self._in_place = True  # mounted for writing into a read-only directory
            return
        try:
            self._keep_rights(mode)
            for part in self._data:
                _write_all(self._fd, part)
            os.fsync(self._fd)
        except BaseException:
            self.discard()
            raise

    @property
    def _fd(self) -> int:
        return -1 if self._file is None else self._file.fileno()

    def _open(self, mode: int) -> None:
        """Create the temporary file; writers of one file take turns through its lock."""

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), mode)

        while True:
            try:
                # An object that closes itself: a signal's handler may raise anywhere, and a
                # descriptor that got lost with its lock would stop this process for good.
                self._file = io.FileIO(self._temporary, "x+b", opener=opener)
            except FileExistsError:
                self._wait_or_remove()
                continue
            try:
                locked = self._locked(self._fd)
            except BaseException:
                self.discard()
                raise
            if locked:
                in_children(_let_go_in_child)
                _staged.add(self)
                return
            self._close()  # taken for a left-over by another writer, before it was locked

    def _wait_or_remove(self) -> None:
        """Let another writer finish, or remove what a crash has left behind."""
        try:
            fd = os.open(self._temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return
        try:
            if self._locked(fd):
                os.unlink(self._temporary)
        finally:
            os.close(fd)

    def _locked(self, fd: int) -> bool:
        """Lock an open temporary file; return whether it is still the one at its path."""
        if fcntl is None:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as exc:
            if exc.errno not in LOCKLESS:
                raise
        try:
            return os.path.samestat(os.lstat(self._temporary), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _keep_rights(self, mode: Optional[int]) -> None:
        """Give the new content the owner and mode of the old, or the mode asked for."""
        if not hasattr(os, "fchmod"):
            return
        try:
            old = os.stat(self.path)
        except FileNotFoundError:
            if mode is not None:
                os.fchmod(self._fd, mode)
            return
        try:
            os.fchown(self._fd, old.st_uid, old.st_gid)
        except PermissionError:
            pass  # only root may give a file away; ours is then the owner
        os.fchmod(self._fd, old.st_mode & 0o7777)

    def commit(self) -> None:
        """Put the new content in place, durably.

        Raises:
            OSError: the file still has its old content.
        """
        if self._in_place:
            self._overwrite()
            return
        try:
            try:
                if os.name == "nt":
                    self._close()  # an open file cannot be renamed there
                os.replace(self._temporary, self.path)
            except OSError as exc:
                if exc.errno not in (errno.EBUSY, errno.EXDEV):
                    raise
                self._overwrite()  # a mount point cannot be replaced, only written
            else:
                self._close()
                sync_directory(os.path.dirname(self.path))
        finally:
            self.discard()

    def _overwrite(self) -> None:
        fd = os.open(self.path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            written = 0
            for part in self._data if self._in_place else self._staged_parts():
                _write_all(fd, part)
                written += len(part)
            os.ftruncate(fd, written)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _staged_parts(self) -> Iterable[bytes]:
        """Read the content back: what it was made from may be used up."""
        with open(self._temporary, "rb") as file:
            while True:
                part = file.read(1 << 20)
                if not part:
                    return
                yield part

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def discard(self) -> None:
        """Remove the staged content; after `commit` there is nothing to remove."""
        if self._fd < 0:
            return
        try:
            os.unlink(self._temporary)
        except OSError:
            pass
        self._close()

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.discard()


def atomic_write(path: PathLike, data: Content, mode: Optional[int] = None) -> None:
    """Replace the content of a file, whole and durably.

    Args:
        path: the file; its directory must exist.
        data: the new content, whole or in parts; a string is written as UTF-8.
        mode: permission bits of a new file; by default as the umask has it. An existing
            file keeps its own.

    Raises:
        OSError: the file still has its old content.
    """
    with StagedFile(path, data, mode) as staged:
        staged.commit()


def file_save(path: str, data: Union[List[Any], Dict[str, Any]]) -> bool:
    """Save data to a file as JSON, unless the file has them already.

    The file is replaced whole and synced: after a crash it holds the old data or the new.

    Args:
        path: the file.
        data: a dictionary or list.

    Returns:
        True if saved, False if the file already contains the same data.

    Raises:
        TypeError, ValueError: the data are not JSON; the file is unchanged.
        OSError: the file could not be written; it is unchanged.
    """
    text = json.dumps(data)
    try:
        with open(path, encoding="utf-8") as file:
            old = json.load(file)
        # compared as text: in Python 1 == True == 1.0, in JSON they differ
        if json.dumps(old, sort_keys=True) == json.dumps(json.loads(text), sort_keys=True):
            return False
    except (FileNotFoundError, ValueError, RecursionError):
        pass  # nothing there, or nothing readable: write it
    atomic_write(path, text)
    return True
