"""`Sources`: the event sources of a gateway, and the order in which they start and stop."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Optional, Set, Type, TypeVar

from .events.attach import completed
from .events.base import Event
from .events.external import EvExternal
from .events.start import EvStart
from .events.stop import EvStop
from .events.threads import Busy
from .events.tick import EvTick
from .events.update import EvConfUpdate
from .modules import tell
from .supervision import Overdue

__all__ = ["Sources"]

E = TypeVar("E", bound=Event)


class Sources:
    """The event sources of a gateway: those of the application, and the library's for the rest.

    Args:
        config: the configuration.
        update: the library's source of updates, which may have handlers already.
        given: the sources of the application.

    Raises:
        ModuleError: two that are given are of one event of the library.
    """

    def __init__(self, config: Dict[str, Any], update: EvConfUpdate, given: List[Event]) -> None:
        self._config = config
        own = [EvStart(config), EvStop(config), EvTick(config), update, EvExternal(config)]
        #: all of them, in order
        self.all = completed(own, given)
        self.starting = self._source(EvStart)
        self.stopping = self._source(EvStop)
        self.tick = self._source(EvTick)
        #: it, and what the application derives from it for events of its own
        self.ticks = [one for one in self.all if isinstance(one, EvTick) and one is not self.tick]
        self.ticks.insert(0, self.tick)
        self.update = self._source(EvConfUpdate)
        self.external = self._source(EvExternal)
        known = (self.starting, self.stopping, self.tick, self.update, self.external)
        self._others = [event for event in self.all if event not in known]
        self._at: Optional[Busy] = None  # which of those starts or stops right now, and where

    def _source(self, kind: Type[E]) -> E:
        """Return the source of an event; an idle one where the application has another kind."""
        for event in self.all:
            if isinstance(event, kind) and event.event_type == kind.event_type:
                return event
        return kind(self._config)

    def start(self) -> None:
        """Call the start handlers, then start what calls handlers later."""
        self.update.start()
        self.starting.start()
        for event in self._others:
            self._at = f"event {event.event_type!r}", threading.get_ident()
            event.start()
        self._at = None
        self.tick.start()
        self.external.start()

    def stop(self) -> None:
        """Begin no call any more, call the stop handlers, and wait for all that run."""
        self.cancel()
        for event in self._others:
            self._at = f"event {event.event_type!r}", threading.get_ident()
            tell(event, "stop", self._at[0])
        self._at = None
        self.stopping.stop()
        self.tick.stop()
        self.external.stop()
        self.starting.stop()
        self.update.stop()

    def cancel(self) -> None:
        """Begin no call any more; do not wait for what runs."""
        for tick in self.ticks:
            tick.cancel()
        self.update.cancel()
        self.external.cancel()

    def limited(self) -> Set[str]:
        """Return the ids of the modules that have handlers with limits, beside those of ticks."""
        limited = (self.stopping, self.update, self.external)
        return {str(info.owner_id) for event in limited for _, info in event._handlers}

    def overdue(self, limits: Dict[str, Any]) -> List[Overdue]:
        """Return which calls run for longer than `gateway.watchdog.limits` has it.

        A start handler may run for as long as the gateway does.
        """
        found = [one for tick in self.ticks for one in tick.overdue(limits)]
        for event in (self.stopping, self.update, self.external):
            found += event.overdue(limits)
        return found

    def busy(self) -> List[Busy]:
        """Return which handlers still run, and which event of the application is not done."""
        own = (self.stopping, self.tick, self.external, self.starting, self.update)
        at = self._at
        return [*([] if at is None else [at]), *(busy for event in own for busy in event.busy())]
