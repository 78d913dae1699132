"""`StopWatch`: says what keeps a stop waiting."""

from __future__ import annotations

import threading
from typing import Callable, List

from .events.threads import Busy
from .logs import get_logger
from .timer_stats import stack_of

__all__ = ["StopWatch"]

logger = get_logger(__name__)

#: seconds until it is said what keeps a stop waiting, and between the sayings after that
AFTER = 10.0
EVERY = 60.0


class StopWatch:
    """Says in the log what keeps a stop waiting, with its stack; a context manager.

    Args:
        busy: returns what still runs.
    """

    def __init__(self, busy: Callable[[], List[Busy]]) -> None:
        self._busy = busy
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="uun_iot stop watch", daemon=True)

    def _watch(self) -> None:
        wait = AFTER
        waited = 0.0
        while not self._done.wait(wait):
            waited += wait
            wait = EVERY
            for name, ident in self._busy():
                logger.warning(
                    "stopping has waited %.0f s for `%s`:\n%s", waited, name, stack_of(ident)
                )

    def begin(self) -> None:
        """Begin to watch."""
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had: stopping matters more than saying
            self._done.set()

    def end(self) -> None:
        """Watch no more; also where it has not begun."""
        if not self._done.is_set():
            self._done.set()
            if self._thread.ident is not None:
                self._thread.join()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *exc: object) -> None:
        self.end()
