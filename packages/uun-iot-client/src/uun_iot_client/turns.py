"""Turns between processes: one at a time asks for the token that all of them share."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Callable, Iterator, List, Optional, Set

from uun_iot_core.forks import in_children

try:
    import fcntl
except ImportError:  # Windows: no flock; each process then asks for a token of its own
    fcntl = None  # type: ignore[assignment]  # the module is absent, not None, elsewhere

__all__ = ["turn"]

_POLL = 0.05  # seconds between two looks: a lock cannot be waited for with a time-out

# Locks of this process; a forked child must not hold on to them.
_held: Set[int] = set()


def _let_go_in_child() -> None:
    for fd in list(_held):
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()


@contextlib.contextmanager
def turn(path: str, seconds: float, pause: Callable[[float], None]) -> Iterator[bool]:
    """Hold the turn for a file within the block, if it comes in time.

    The lock dies with the process, whatever kills it. It is a file beside, which is there only
    while somebody has the turn or waits for it.

    Args:
        path: the file.
        seconds: to wait for the turn; 0 to take it only if nobody has it.
        pause: waits for so many seconds, or raises if this must not be waited for any longer.

    Yields:
        False if another process has the turn; True if none has, and also where no lock can be
        made (a directory without rights, a file system without locks).
    """
    lock = _lock_of(path)
    ends = time.monotonic() + seconds
    opened: List[int] = []
    try:
        while True:
            try:
                if lock is not None:
                    _try(lock, opened)
                break
            except BlockingIOError:
                left = ends - time.monotonic()
                if left <= 0:
                    yield False
                    return
                pause(min(_POLL, left))
        yield True
    finally:
        for fd in opened:
            try:
                # removed before it is let go: whoever waits for it notices, and makes a new one
                if fd in _held:
                    with contextlib.suppress(OSError):
                        os.unlink(str(lock))
                _held.discard(fd)
            finally:
                os.close(fd)


def _lock_of(path: str) -> Optional[str]:
    """Return the path of the lock, its directory made; None where there can be none."""
    if fcntl is None:
        return None
    try:
        directory, name = os.path.split(os.path.realpath(path))
        os.makedirs(directory, exist_ok=True)
    except (OSError, ValueError):
        return None
    return os.path.join(directory, f".{name}.lock")


def _try(lock: str, opened: List[int]) -> None:
    """Take the lock, unless there can be none.

    Args:
        lock: its path.
        opened: gets its descriptor, before it is locked: whatever is raised then, by a signal
            handler perhaps, the caller closes it.

    Raises:
        BlockingIOError: another has it.
    """
    while True:
        try:
            opened.append(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except (OSError, ValueError):  # a path may hold what no path can
            return
        fd = opened[-1]
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(lock), os.fstat(fd)):
                in_children(_let_go_in_child)
                _held.add(fd)
                return
        except FileNotFoundError:
            pass  # it was removed by the one before, who let go of it just now
        except BlockingIOError:
            os.close(opened.pop())
            raise
        except OSError:
            os.close(opened.pop())
            return
        os.close(opened.pop())
