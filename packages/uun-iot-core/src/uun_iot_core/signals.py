"""Ending a process by a signal: stop the gateway elsewhere, then let the main thread exit.

A signal handler runs in the main thread between any two instructions, perhaps while that
thread holds a lock. Whatever takes a lock there can deadlock, so the handler only starts a
thread; that thread stops the gateway and then makes the main thread raise `SystemExit`.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional, Tuple

from .logs import get_logger
from .main_thread import is_stopping
from .wakeful import WAKE_EVERY, WakefulEvent

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["SignalExit", "interruption_waits", "is_ctrl_c"]

logger = get_logger(__name__)


@contextlib.contextmanager
def interruption_waits() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, where it would raise in this thread.

    An exception between any two instructions may leave the lock of a `threading.Event` held.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: List[int] = []
    try:
        signal.signal(signal.SIGINT, lambda sig, frame: came.append(sig))
    except ValueError:  # this is a subinterpreter, which signals do not reach
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def is_ctrl_c(exc: BaseException) -> bool:
    """Return whether an exception is Ctrl-C's, rather than one of the code that it came out of.

    Python raises it in the main thread, which runs handlers where a `ManualClock` is advanced.
    """
    return (
        isinstance(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
    )


class SignalExit:
    """The end of the process that a signal has asked for.

    Args:
        gateway: the gateway to stop.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._signal: Optional[int] = None
        self.exiting = False  # the main thread has raised `SystemExit`, or is about to
        self._main_waits = False  # the main thread has come to `join` by itself
        self._sent = 0  # how many signals of our own went to the main thread
        self._noticed = 0  # how many of them it has answered
        self._lock = threading.Lock()  # never taken in a signal handler
        self._done = WakefulEvent()
        #: of what is left to `finish`
        self._late: Optional[Tuple[Optional[Callable[[Gateway], None]]]] = None

    @property
    def requested(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._signal is not None

    @property
    def code(self) -> int:
        """Exit status of the process: 1 after SIGUSR1, else 0."""
        return 1 if self._signal == getattr(signal, "SIGUSR1", None) else 0

    def handle(self, sig: int, cleanup: Optional[Callable[[Gateway], None]]) -> None:
        """Begin the end; called in a signal handler, so it takes no lock.

        The first call starts the thread that stops the gateway. When that has ended, the
        same signal comes once more and raises `SystemExit`. A second SIGINT or SIGTERM
        ends the process at once.
        """
        if self._signal is None:
            self._signal = sig
            self._own_signals(sig, cleanup)
            try:
                # not threading.Thread: its start() takes a lock that this thread may hold
                _thread.start_new_thread(self._launch, (cleanup,))
            except (RuntimeError, MemoryError):  # no thread to be had
                at_its_end = getattr(threading, "_SHUTTING_DOWN", False)  # since Python 3.9
                if at_its_end or not threading.main_thread().is_alive():  # it holds no lock of ours
                    self._late = (cleanup,)
                    if not is_stopping():
                        self.finish()
                else:  # the `with` block stops it
                    self.exiting = True
                    raise SystemExit(self.code) from None
        elif self._done.is_set() and not self.exiting:
            self.exiting = True
            self._noticed = self._sent
            raise SystemExit(self.code)
        elif self._noticed < self._sent:
            self._noticed = self._sent  # ours; the main thread is at its end already
        elif sig in (signal.SIGINT, signal.SIGTERM):
            os._exit(128 + sig)

    def _own_signals(self, sig: int, cleanup: Optional[Callable[[Gateway], None]]) -> None:
        """Take over the signals, whatever the application registered for them."""
        if threading.current_thread() is threading.main_thread():
            for one in {sig, signal.SIGINT, signal.SIGTERM}:
                signal.signal(one, lambda number, frame: self.handle(number, cleanup))

    def _launch(self, cleanup: Optional[Callable[[Gateway], None]]) -> None:
        # A thread made in a bare one would be a daemon, and the process could end under it.
        stopping = threading.Thread(
            target=self._stop, args=(cleanup,), name="uun_iot signal", daemon=False
        )
        try:
            stopping.start()
        except (RuntimeError, MemoryError):
            self._stop(cleanup)

    def finish(self) -> None:
        """End the process for a signal that came while the main thread stopped the gateway."""
        if self._late is not None:
            self._clean_up(self._late[0])
            self._done.set()
            self._end_process()

    def _stop(self, cleanup: Optional[Callable[[Gateway], None]]) -> None:
        self._clean_up(cleanup)
        sig = self._signal
        assert sig is not None
        with self._lock:
            main_is_there = threading.main_thread().is_alive()
            self._done.set()
            if self._main_waits:
                return
        if main_is_there:
            self._interrupt_main(sig)
        else:
            self._end_process()

    def _clean_up(self, cleanup: Optional[Callable[[Gateway], None]]) -> None:
        sig = self._signal
        assert sig is not None
        try:
            logger.info("stopping after %s", signal.Signals(sig).name)
            self._gateway.stop()
            self._gateway._forget_modules()
            if cleanup is not None:
                cleanup(self._gateway)
        except BaseException:  # the process must end whatever the cleanup raises
            logger.error("stopping after a signal failed", exc_info=True)

    def _interrupt_main(self, sig: int) -> None:
        """Interrupt whatever the main thread waits for, until it is on its way out."""
        main = threading.main_thread()
        while not self.exiting and main.is_alive():
            self._sent += 1
            if callable(signal.getsignal(sig)) and hasattr(signal, "pthread_kill"):
                signal.pthread_kill(main.ident or 0, sig)
            else:
                _thread.interrupt_main()
            # once more where it came between Python's last look and the beginning of the wait
            main.join(WAKE_EVERY)

    def _end_process(self) -> None:
        """End a process whose main thread has run out; nobody is there to raise in."""
        if self.code:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(self.code)

    def join(self) -> None:
        """Wait for the end, and raise `SystemExit`; for the main thread at its own end."""
        with self._lock:
            self._main_waits = True
        if not self.exiting:
            self._done.wait()
        self.exiting = True
        raise SystemExit(self.code)
