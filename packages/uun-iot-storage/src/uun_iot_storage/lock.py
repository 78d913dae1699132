"""The backup files that this process has open, each locked against other processes."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager
from typing import Callable, Deque, Dict, FrozenSet, Iterator, Optional

from uun_iot_core.files import LOCKLESS
from uun_iot_core.forks import in_children
from uun_iot_core.logs import get_logger

from .errors import StorageError

try:
    import fcntl
except ImportError:  # Windows: no flock; one process a file is then the caller's care
    fcntl = None  # type: ignore[assignment]  # the module is absent, not None, elsewhere

__all__ = ["OpenFile"]

logger = get_logger(__name__)


class OpenFile:
    """A backup file open in this process: its lock, its users, who of them knows it.

    The lock is taken on a file of its own beside the backup, since the backup is replaced
    at each write. It ends with the process, whatever ends that, and is not passed on to
    forked children. Storages of this process share it and take turns.

    Args:
        path: the real path of the backup file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        #: was it opened by the parent of this forked process?
        self.is_inherited = False
        #: keys of the users that know what is in it; the others are behind and must not write
        self.known_to: FrozenSet[object] = frozenset()
        self._users = 0
        self._retired = False
        self._lock_fd = -1
        #: the journal that is being written; here, since a forked child must close it
        self.journal_fd = -1
        #: keeps the other users in this process off: who holds it has their turn. Used by itself
        #: in `with`: a method around it could be interrupted by a signal's handler that raises
        self.mutex = threading.Lock()
        self._abandoned: Deque[Callable[[], None]] = deque()

    @classmethod
    @contextmanager
    def enter(cls, path: str) -> Iterator[OpenFile]:
        """Become a user of the file; the body of the block loads it in its turn.

        Who leaves the block with an error is no user.

        Args:
            path: the real path of the backup file.
        """
        in_children(_let_go_in_child)
        while True:
            file = _files.setdefault(path, cls(path))
            with file.mutex:
                if file._retired:
                    continue  # its last user left just now, and it is off the table
                file._users += 1
                try:
                    yield file
                except BaseException:
                    file.leave()
                    raise
            file.close_abandoned()
            return

    def leave(self) -> None:
        """Be a user no more; the last one lets go of the lock. Call it in one's turn."""
        self._users -= 1
        if self._users:
            return
        self._retired = True
        if _files.get(self.path) is self:
            del _files[self.path]
        self.close_journal()
        self._unlock()

    def abandon(self, close: Callable[[], None]) -> None:
        """Have ``close`` called in the next turn; at once if it is nobody's turn.

        For the garbage collection, which may strike while this very thread has its turn:
        waiting for that would never end.
        """
        self._abandoned.append(close)
        self.close_abandoned()

    def close_abandoned(self) -> None:
        """Do what `abandon` could not; to be called after each turn."""
        # Whoever finds the mutex taken leaves the work to its holder, who looks here
        # after letting it go.
        while self._abandoned and self.mutex.acquire(blocking=False):
            try:
                while self._abandoned:
                    self._abandoned.popleft()()
            finally:
                self.mutex.release()

    def lock(self) -> Optional[OSError]:
        """Lock the file for this process, unless it is locked already.

        Returns:
            Why it cannot be locked (a read-only file system, say); None when it is locked,
            or when the system knows no locks.

        Raises:
            StorageError: another process has locked it.
        """
        if fcntl is None or self._lock_fd >= 0:
            return None
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._lock_fd = os.open(self.path + ".lock", flags, 0o600)
        except OSError as exc:
            return exc
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._close_lock()
            raise StorageError(
                self.path,
                "another process has it open",
                "stop that process, or configure another path for one of the two",
            ) from exc
        except OSError as exc:
            if exc.errno not in LOCKLESS:
                self._close_lock()
                return exc
            logger.warning(
                "backup file %s: its file system knows no locks; see to it that no other "
                "process writes the file",
                self.path,
            )
        return None

    def lock_again(self) -> None:
        """Lock the file anew if someone has removed the file that the lock is on.

        Raises:
            StorageError: another process has locked it meanwhile.
        """
        if self._lock_fd < 0:
            return
        try:
            there = os.path.samestat(os.stat(self.path + ".lock"), os.fstat(self._lock_fd))
        except OSError:
            there = False
        if not there:
            old, self._lock_fd = self._lock_fd, -1
            try:
                self.lock()
            finally:
                os.close(old)

    @property
    def is_shared(self) -> bool:
        """Do several storages of this process have it open?"""
        return self._users > 1

    def close_journal(self) -> None:
        """Close the journal, if it is open."""
        fd, self.journal_fd = self.journal_fd, -1
        if fd >= 0:
            os.close(fd)

    def _unlock(self) -> None:
        if fcntl is not None and self._lock_fd >= 0:
            try:
                # not left to closing: a child forked at this moment may hold a duplicate
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            except OSError:
                pass  # a file system without locks
        self._close_lock()

    def _close_lock(self) -> None:
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)


#: real path -> file; a forked child begins with none
_files: Dict[str, OpenFile] = {}


def _let_go_in_child() -> None:
    """Close the inherited locks, which the parent keeps: the child must not outlive them."""
    for file in _files.values():
        file.is_inherited = True
        for close in (file._close_lock, file.close_journal):
            try:
                close()
            except OSError:
                pass  # the parent was just closing it
    _files.clear()
