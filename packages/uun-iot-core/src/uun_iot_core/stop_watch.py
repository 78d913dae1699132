"""`StopWatch`: says what keeps a stop waiting."""

from __future__ import annotations

import threading
from typing import Callable, List

from .events.threads import Busy
from .logs import get_logger
from .timer_stats import stack_of

__all__ = ["StopWatch"]

logger = get_logger(__name__)


class StopWatch:
    """Says in the log what keeps a stop waiting, with its stack; a context manager.

    Args:
        busy: returns what still runs.
        after: seconds until it is said.
        every: seconds between the sayings after that.
    """

    def __init__(self, busy: Callable[[], List[Busy]], after: float, every: float) -> None:
        self._busy = busy
        self._after = after
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="uun_iot stop watch", daemon=True)

    def _watch(self) -> None:
        wait = self._after
        waited = 0.0
        while not self._done.wait(wait):
            waited += wait
            wait = self._every
            for name, ident in self._busy():
                logger.warning(
                    "stopping has waited %.0f s for `%s`:\n%s", waited, name, stack_of(ident)
                )

    def __enter__(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had: stopping matters more than saying
            self._done.set()

    def __exit__(self, *exc: object) -> None:
        if not self._done.is_set():
            self._done.set()
            self._thread.join()
