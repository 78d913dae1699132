"""`Bell`: what one thread of a scheduler sleeps on."""

from __future__ import annotations

import threading

__all__ = ["Bell"]


class Bell:
    """Wakes the one thread that sleeps on it; all under a lock that its user holds.

    It costs half of what a `threading.Condition` does, and knows whom it wakes.
    """

    __slots__ = ("_lock", "asleep")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        #: the thread sleeps, and has not been rung
        self.asleep = False

    def ring(self) -> None:
        """Wake the thread, if it sleeps; the caller holds the lock."""
        if self.asleep:
            if self._lock.locked():  # else Ctrl-C has come right behind this
                self._lock.release()
            self.asleep = False

    def sleep(self, lock: threading.RLock, seconds: float) -> bool:
        """Sleep with the lock released until rung, or until the time is over.

        Args:
            lock: which the caller holds, once.
            seconds: how long at most; below 0 there is no end.

        Returns:
            Whether it was rung.
        """
        self.asleep = True
        lock.release()
        rung = self._lock.acquire(True, seconds)
        lock.acquire()
        if self.asleep:
            self.asleep = False
            return rung
        if not rung:  # it was rung when the time was over already
            self._lock.acquire()
        return True
