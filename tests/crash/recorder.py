"""What a workload does to the disk: its calls of the system, passed on and noted."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

from .calls import replaced
from .disk import Disk
from .operations import (
    Create,
    FailedSync,
    MakeDirectory,
    Mark,
    Operation,
    Rename,
    Sync,
    SyncDirectory,
    Truncate,
    Unlink,
    Write,
)
from .state import read_directory

__all__ = ["Recorder"]

_DISK_ERRORS = (errno.EIO, errno.ENOSPC, errno.EFBIG)
#: device and inode
_Key = Tuple[int, int]


class Recorder:
    """A log of all that this process does to the files below a directory.

    While its block runs, the functions of `os` that change files are wrapped: each calls the
    real one (or what another wrapper has put there) and notes what that did, in order. Files
    are told apart by their inode. At the end, the log must lead to what is really there, so
    that nothing has gone past it.

    Args:
        root: the directory.
        disk: what is known of its content already; by default all of it is durable.
    """

    def __init__(self, root: Path, disk: Optional[Disk] = None) -> None:
        self.root = os.path.realpath(root)
        self.start = Disk.of_directory(root) if disk is None else disk.copy()
        self.log: List[Operation] = []
        #: how many calls have failed for want of space or because of the device
        self.failures = 0
        self._lock = threading.RLock()
        self._real: Dict[str, Any] = {}
        self._files: Dict[_Key, int] = {}
        self._directories: Dict[_Key, str] = {_key(os.stat(root)): ""}
        self._next = self.start.next_number()
        for path, number in self.start.numbers().items():
            key = _key(os.stat(os.path.join(self.root, path)))
            if number < 0:
                self._directories[key] = path
            else:
                self._files[key] = number

    def mark(self, begun: int, returned: int) -> None:
        """Note how far the workload is."""
        with self._lock:
            self.log.append(Mark(begun, returned))

    def replay(self) -> Disk:
        """Return the disk to which the log has led."""
        disk = self.start.copy()
        for operation in self.log:
            disk.apply(operation)
        return disk

    def __enter__(self) -> Recorder:
        wrappers: Dict[str, Callable[..., Any]] = {
            "open": self._open,
            "write": self._write,
            "pwrite": self._pwrite,
            "writev": self._writev,
            "ftruncate": self._ftruncate,
            "truncate": self._truncate,
            "fsync": self._sync("fsync"),
            "fdatasync": self._sync("fdatasync"),
            "rename": self._rename("rename"),
            "replace": self._rename("replace"),
            "unlink": self._unlink("unlink"),
            "remove": self._unlink("remove"),
            "mkdir": self._mkdir,
        }
        self._real = {name: getattr(os, name, None) for name in wrappers}
        self._replaced = replaced(wrappers)
        self._replaced.__enter__()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._replaced.__exit__(None, None, None)
        if exc_type is None:
            noted, there = self.replay().kept(), read_directory(Path(self.root))
            assert noted.key == there.key, (
                f"the log leads to\n{noted.describe()}\nand there is\n{there.describe()}"
            )

    def _call(self, name: str, *arguments: Any, **more: Any) -> Any:
        try:
            return self._real[name](*arguments, **more)
        except OSError as exc:
            self.failures += exc.errno in _DISK_ERRORS
            raise

    # -- where ------------------------------------------------------------------------------

    def _place(self, path: Any, dir_fd: Optional[int] = None) -> Optional[Tuple[str, str]]:
        """Return directory and name of a path; None for one that is not below the root."""
        text = os.fsdecode(path)
        if dir_fd is not None:
            above = self._directories.get(_key(os.fstat(dir_fd)))
            if above is None:
                return None
            text = os.path.join(self.root, above, text)
        directory, name = os.path.split(os.path.abspath(text))
        directory = os.path.realpath(directory)
        if directory == self.root:
            return "", name
        if directory.startswith(self.root + os.sep):
            return directory[len(self.root) + 1 :], name
        return None

    def _file(self, fd: int) -> Optional[int]:
        return self._files.get(_key(os.fstat(fd)))

    # -- wrappers ---------------------------------------------------------------------------

    def _open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: Optional[int] = None
    ) -> int:
        with self._lock:
            place = self._place(path, dir_fd)
            there = place is not None and os.path.lexists(
                os.path.join(self.root, place[0], place[1])
            )
            fd: int = self._call("open", path, flags, mode, dir_fd=dir_fd)
            if place is not None:
                key = _key(os.fstat(fd))
                if not there:  # the inode may have belonged to a file that is gone
                    self._files[key] = self._next
                    self._next += 1
                    self.log.append(Create(place[0], place[1], self._files[key]))
                elif flags & os.O_TRUNC and key in self._files:
                    self.log.append(Truncate(self._files[key], 0))
            return fd

    def _written(self, fd: int, before: Any, count: int, offset: Optional[int] = None) -> None:
        file = self._file(fd)
        if file is not None and count:
            if offset is None:
                offset = os.lseek(fd, 0, os.SEEK_CUR) - count
            self.log.append(Write(file, offset, bytes(memoryview(before).cast("B")[:count])))

    def _write(self, fd: int, data: Any) -> int:
        with self._lock:
            count: int = self._call("write", fd, data)
            self._written(fd, data, count)
            return count

    def _pwrite(self, fd: int, data: Any, offset: int) -> int:
        with self._lock:
            count: int = self._call("pwrite", fd, data, offset)
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
                offset = os.fstat(fd).st_size - count  # Linux appends whatever the offset
            self._written(fd, data, count, offset)
            return count

    def _writev(self, fd: int, buffers: Any) -> int:
        with self._lock:
            count: int = self._call("writev", fd, buffers)
            self._written(fd, b"".join(bytes(each) for each in buffers), count)
            return count

    def _ftruncate(self, fd: int, length: int) -> None:
        with self._lock:
            self._call("ftruncate", fd, length)
            file = self._file(fd)
            if file is not None:
                self.log.append(Truncate(file, length))

    def _truncate(self, path: Any, length: int) -> None:
        fd = path if isinstance(path, int) else os.open(path, os.O_RDWR)
        try:
            os.ftruncate(fd, length)
        finally:
            if fd is not path:
                os.close(fd)

    def _sync(self, name: str) -> Callable[[Any], None]:
        def sync(fd: Any) -> None:
            with self._lock:
                found = os.fstat(fd if isinstance(fd, int) else fd.fileno())
                file, key = self._files.get(_key(found)), _key(found)
                try:
                    self._call(name, fd)
                except OSError:
                    if file is not None and not stat.S_ISDIR(found.st_mode):
                        self.log.append(FailedSync(file))
                    raise
                if stat.S_ISDIR(found.st_mode):
                    if key in self._directories:
                        self.log.append(SyncDirectory(self._directories[key]))
                elif file is not None:
                    self.log.append(Sync(file))

        return sync

    def _rename(self, call: str) -> Callable[..., None]:
        def rename(
            source: Any,
            target: Any,
            *,
            src_dir_fd: Optional[int] = None,
            dst_dir_fd: Optional[int] = None,
        ) -> None:
            with self._lock:
                old, new = self._place(source, src_dir_fd), self._place(target, dst_dir_fd)
                self._call(call, source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
                if old is None and new is None:
                    return
                assert old is not None and new is not None and old[0] == new[0], (
                    f"{call} from one directory to another is not in the model"
                )
                self.log.append(Rename(old[0], old[1], new[1]))

        return rename

    def _unlink(self, call: str) -> Callable[..., None]:
        def unlink(path: Any, *, dir_fd: Optional[int] = None) -> None:
            with self._lock:
                place = self._place(path, dir_fd)
                self._call(call, path, dir_fd=dir_fd)
                if place is not None:
                    self.log.append(Unlink(*place))

        return unlink

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: Optional[int] = None) -> None:
        with self._lock:
            place = self._place(path, dir_fd)
            self._call("mkdir", path, mode, dir_fd=dir_fd)
            if place is not None:
                below = os.path.join(*place)
                self._directories[_key(os.stat(os.path.join(self.root, below)))] = below
                self.log.append(MakeDirectory(*place))


def _key(found: os.stat_result) -> _Key:
    return found.st_dev, found.st_ino
