"""Ticking each timer once, for cron and for trying out."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from types import FrameType
from typing import Any, Dict, Iterator, List, Optional

from uun_iot import Gateway, ManualClock

from .application import building

__all__ = ["run_once"]

logger = logging.getLogger("uun_iot.cli")


class _StandingClock(ManualClock):
    """A clock on which no timer becomes due a second time, and whose date is the system's."""

    def time(self) -> float:
        return time.time()


class _Aligned(Gateway):
    """A gateway all of whose first ticks are due at its start, also where they are spread."""

    def _arm_timers(self) -> None:
        super()._arm_timers()
        self._sources.tick.spread = 0.0


@contextlib.contextmanager
def _noting_signals() -> Iterator[List[int]]:
    """Give a list to which the first SIGINT or SIGTERM is added; the next one acts as ever."""
    signals: List[int] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def note(sig: int, frame: Optional[FrameType]) -> None:
        signals.append(sig)
        restore()

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    for one in before:
        signal.signal(one, note)
    try:
        yield signals
    finally:
        restore()


def run_once(config: str, init: Dict[str, Any]) -> int:
    """Start a gateway, call each tick handler that has a timer once, and stop it.

    The handlers are called one after another, in the order of the modules. Start and stop
    handlers are called as ever.

    Args:
        config: path of the configuration.
        init: the argument of the gateway that makes the modules, see `arguments_of`.

    Returns:
        The exit status: 1 if a tick handler raised; 128 + signal if SIGTERM ended it.

    Raises:
        KeyboardInterrupt: SIGINT has ended it: no further handler was called, but those of stop.
    """
    clock = _StandingClock()
    with building("the gateway"):
        gateway = _Aligned(config, **init, clock=clock)
    with _noting_signals() as signals, gateway:
        # elsewhere, since a signal's exception in a handler would be taken for the handler's
        ticking = threading.Thread(target=clock.advance, args=(0,), name="ticks")
        ticking.start()
        while ticking.is_alive() and not signals:
            ticking.join(0.1)
    ticking.join()
    if signals:
        if signals[0] == signal.SIGINT:
            raise KeyboardInterrupt
        return 128 + signals[0]
    stats = gateway.timer_stats()
    failed = [one.name for one in stats if one.failures]
    if not stats:
        logger.warning("there is nothing to do: no tick handler has a period in moduleTimers")
    for name in failed:
        logger.error("%s failed", name)
    return 1 if failed else 0
