"""`Supervision`: tells systemd of a gateway's life, and feeds the watchdog while it is well."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterator, List, Optional, Set

from .clock import Clock
from .logs import get_logger
from .systemd import Notifier, watchdog_seconds
from .timers import RepeatTimer

__all__ = ["Overdue", "Supervision"]

logger = get_logger(__name__)


class Overdue:
    """A call that has run for longer than its limit.

    Args:
        name: of its timer.
        call: how many calls of the timer have begun.
        taken: seconds that it has run for.
        limit: seconds that it may.
    """

    # by hand: to make a named tuple takes a hundredth of the time that the import takes
    def __init__(self, name: str, call: int, taken: float, limit: float) -> None:
        self.name = name
        self.call = call
        self.taken = taken
        self.limit = limit


class Supervision:
    """Tells systemd when a gateway is ready, takes an update, stops; and that it is alive.

    The watchdog is fed by a timer of the very scheduler that runs the handlers, so it is fed
    only while that is alive; and only while no handler has run for longer than its limit.

    Args:
        clock: the gateway's.
        timers: returns how many timers the gateway has.
        overdue: returns which calls are over their limits.
    """

    def __init__(
        self, clock: Clock, timers: Callable[[], int], overdue: Callable[[], List[Overdue]]
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._overdue = overdue
        self._notifier = Notifier()
        self._feeder: Optional[RepeatTimer] = None
        self._said: Set[str] = set()
        self._hungry = False
        self._ending = False
        #: what the status line says beside the number of timers
        self.remark = ""

    def started(self) -> None:
        """Tell that the gateway has started; begin to feed the watchdog."""
        self._said = set()
        self._hungry = self._ending = False
        self._notifier.ready(self._status())
        seconds = watchdog_seconds()
        if seconds is not None:
            # half of the time, as sd_watchdog_enabled(3) advises
            self._feeder = RepeatTimer(
                seconds / 2, self._feed, clock=self._clock, name="systemd watchdog"
            )
            self._feeder.start()

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that an update begins, and that it has ended."""
        self._notifier.reloading()
        try:
            yield
        finally:
            if not self._ending:  # a stop that came meanwhile is what counts
                self._notifier.ready(self._status())

    def stopping(self, for_good: bool) -> None:
        """Tell that the gateway stops; the watchdog is fed on, until `stopped`.

        Args:
            for_good: whether the process ends with it; else the gateway may start again.
        """
        self._ending = True
        if for_good:
            self._notifier.stopping()
        else:
            self._notifier.status("stopping")

    def stopped(self) -> None:
        """Tell that the gateway has stopped."""
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            feeder.stop()
        self._notifier.status("stopped")

    def _status(self) -> str:
        count = self._timers()
        status = f"running, {count} timer{'' if count == 1 else 's'}"
        return f"{status}; {self.remark}" if self.remark else status

    def _feed(self) -> None:
        overdue = self._overdue()
        if not overdue:
            if self._hungry:
                self._hungry = False
                logger.info("no handler is over its limit any more: the watchdog is fed again")
                self._notifier.status(self._status())
            self._notifier.alive()
            return
        self._hungry = True
        self._said &= {f"{one.name} {one.call}" for one in overdue}
        for one in overdue:
            text = f"{one.name} has run for {one.taken:.0f} s, its limit is {one.limit:g} s"
            key = f"{one.name} {one.call}"
            if key not in self._said:
                logger.error("%s: the watchdog of systemd is not fed", text)
                self._said.add(key)
            self._notifier.status(text)
