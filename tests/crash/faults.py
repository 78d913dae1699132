"""Calls of the system that fail, now and then, as they do on a worn or full disk."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional

from .calls import replaced

__all__ = ["failing_syncs", "full_disk", "short_writes"]


@contextmanager
def failing_syncs(fails: Callable[[int], bool]) -> Iterator[None]:
    """Have `os.fsync` and `os.fdatasync` fail, of files and directories.

    Args:
        fails: asked with the number of the call, from 0.
    """
    calls = iter(range(1_000_000))

    def failing(real: Callable[[Any], None]) -> Callable[[Any], None]:
        def sync(fd: Any) -> None:
            if fails(next(calls)):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(fd)

        return sync

    with replaced({"fsync": failing(os.fsync), "fdatasync": failing(os.fdatasync)}):
        yield


@contextmanager
def short_writes(length: Callable[[int, int], int]) -> Iterator[None]:
    """Have `os.write` write less than it was asked to, as it may.

    Args:
        length: given the number of the call and the bytes asked for, returns how many to
            write.
    """
    calls = iter(range(1_000_000))
    real = os.write

    def write(fd: int, data: Any) -> int:
        view = memoryview(data).cast("B")
        return real(fd, view[: max(1, min(len(view), length(next(calls), len(view))))])

    with replaced({"write": write}):
        yield


@contextmanager
def full_disk(room: Optional[int] = None) -> Iterator[Callable[[Optional[int]], None]]:
    """Have `os.write` take only so many bytes in all, then fail.

    Yields a function that sets the room anew; None for plenty.
    """
    left = [room]
    real = os.write

    def write(fd: int, data: Any) -> int:
        view = memoryview(data).cast("B")
        if left[0] is None:
            return real(fd, view)
        if left[0] <= 0 < len(view):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(fd, view[: left[0]])
        left[0] -= count
        return count

    def make_room(room: Optional[int]) -> None:
        left[0] = room

    with replaced({"write": write}):
        yield make_room
