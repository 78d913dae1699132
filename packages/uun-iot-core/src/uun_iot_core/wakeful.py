"""`WakefulEvent`: an event on which the main thread waits without missing signals."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from typing import Optional

__all__ = ["WAKE_EVERY", "WakefulEvent"]

#: seconds after which a waiting main thread looks for a signal that it was not woken for
WAKE_EVERY = 1.0


class WakefulEvent(threading.Event):
    """An event on which the main thread waits without missing signals.

    The system hands a signal to any thread of the process, often to one that is just being
    created, while Python runs the handler in the main thread and does not wake it. A plain
    ``wait()`` there would go on for ever. This one sleeps on a pipe that Python writes to when
    a signal comes, whichever thread has got it (`signal.set_wakeup_fd`). Where the application
    uses that for itself, or the system cannot wait for a pipe, it wakes up once a second and
    looks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pipe_lock = threading.Lock()
        self._pipe = -1  # to write to, while the main thread sleeps on the other end

    def set(self) -> None:
        """Set the event; whoever waits for it goes on."""
        super().set()
        with self._pipe_lock:
            if self._pipe >= 0:
                _write_byte(self._pipe)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until the event is set; return whether it is.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.
        """
        if threading.current_thread() is not threading.main_thread() or self.is_set():
            return super().wait(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        if (timeout is None or timeout > WAKE_EVERY) and self._sleep_on_pipe(end):
            return self.is_set()
        while True:
            left = WAKE_EVERY if end is None else end - time.monotonic()
            if super().wait(min(left, WAKE_EVERY)) or (end is not None and left <= WAKE_EVERY):
                return self.is_set()

    def _sleep_on_pipe(self, end: Optional[float]) -> bool:
        """Sleep until the event is set or the time is over; return False where that cannot be."""
        if os.name == "nt":
            return False  # only sockets can be waited for there
        try:
            reader, writer = os.pipe()
        except OSError:  # no descriptor is left
            return False
        previous = -1
        try:
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            if previous != -1:
                return False
            with self._pipe_lock:
                self._pipe = writer
            self._sleep(reader, end)
            return True
        finally:
            signal.set_wakeup_fd(previous)
            with self._pipe_lock:
                if self._pipe == writer:  # a handler that waits within a wait has set nothing
                    self._pipe = -1
            os.close(reader)
            os.close(writer)

    def _sleep(self, reader: int, end: Optional[float]) -> None:
        import select

        waiting = select.poll()
        waiting.register(reader, select.POLLIN)
        while not self.is_set():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return
            # a signal handler may raise here
            waiting.poll(None if left is None else min(math.ceil(left * 1000), 2**31 - 1))
            try:
                os.read(reader, 4096)
            except BlockingIOError:
                pass  # the time is over


def _write_byte(pipe: int) -> None:
    try:
        os.write(pipe, b"\0")
    except BlockingIOError:
        pass  # it is full: the reader will wake up all the same
