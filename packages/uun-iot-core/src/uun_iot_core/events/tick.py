"""The tick event: the timers of the modules."""

from __future__ import annotations

import threading
from collections import Counter
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
)

from ..clock import SYSTEM_CLOCK, Clock
from ..config import canonical, problems
from ..exceptions import ConfigError
from ..forks import watch_forks
from ..logs import get_logger
from ..supervision import Overdue
from ..timer_stats import TimerStats
from ..timers import RepeatTimer
from .base import Event, EventType, F, Handler, HandlerInfo, Register
from .calling import call_handler
from .threads import Busy

__all__ = ["EvTick", "HandlerTimer"]

logger = get_logger(__name__)


class HandlerTimer(RepeatTimer):
    """The timer of one tick handler.

    Args:
        period: seconds between ticks.
        handler: the bound function.
        info: whose it is, and of which timer.
        clock: what the time is read from.
    """

    def __init__(self, period: float, handler: Handler, info: HandlerInfo, clock: Clock) -> None:
        name = ":".join(part for part in (info.owner_id, *info.args) if part)
        super().__init__(period, handler, clock=clock, name=f"tick {name}")
        self._info = info

    def _call_function(self) -> Optional[Type[BaseException]]:
        return call_handler(self._f, self._info)


class _TickTimer:
    def __init__(self, owner: str, timer_id: Optional[str], timer: RepeatTimer) -> None:
        self.owner = owner
        self.timer_id = timer_id
        self.timer = timer


class EvTick(Event):
    """Calls the tick handlers at the periods of ``gateway.moduleTimers``.

    Each handler has a timer of its own, so several handlers of one timer id do not delay
    each other.

    Args:
        config: the whole configuration; where no gateway arms the timers, `start` does so.
        clock: what the timers read the time from.
    """

    event_type = EventType.TICK

    def __init__(
        self, config: Optional[Dict[str, Any]] = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__(config)
        self._clock = clock
        self._arms_itself = True  # no gateway does
        self._all: List[EvTick] = [self]  # the sources of ticks that there are
        self._timers: List[_TickTimer] = []
        self._armed: Optional[str] = None  # what the timers were made for
        self._started = False
        #: over which part of their period timers that share it are spread; 0 to 1
        self.spread = 0.0
        self._lock = threading.Lock()  # an update's timers and a stop take turns
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread that is no more may hold the lock."""
        self._lock = threading.Lock()

    @classmethod
    def subscribe(cls, function: F) -> Register[F]:
        """Register a handler ``(self)`` of the module's only timer."""
        return Register(HandlerInfo(cls.event_type), function)

    @classmethod
    def subscribe_timer(cls, timer_id: str) -> Callable[[F], Register[F]]:
        """Return a decorator that registers a handler ``(self)`` of one of the module's timers.

        Args:
            timer_id: of the timer, below ``gateway.moduleTimers.<module id>``.

        Raises:
            TypeError: it is no string, or an empty one.
        """
        if not isinstance(timer_id, str) or not timer_id:
            raise TypeError("subscribe_timer(timer_id): the timer id must be a non-empty string")
        info = HandlerInfo(cls.event_type, (timer_id,))
        return lambda function: Register(info, function)

    def _join_gateway(self, gateway: Any) -> None:
        # the gateway arms the ticks, but not what is derived from them with a type of its own
        self._clock, self._arms_itself = gateway._clock, self.event_type != EventType.TICK
        self._all = gateway._sources.ticks

    def add_handlers(self, handlers: Iterable[Tuple[Handler, HandlerInfo]]) -> None:
        """Take in handlers; their timers are made at the next start.

        Args:
            handlers: pairs of a bound function and what it handles.
        """
        super().add_handlers(handlers)
        self._armed = None

    # -- what the configuration says ------------------------------------------------------

    def problems(self, periods: Mapping[str, Any]) -> List[str]:
        """Return where the periods do not fit the handlers, as ``path: message`` lines.

        Args:
            periods: the value of ``gateway.moduleTimers``; each period is valid already.
        """
        found = []
        for owner, ids in self._ids().items():
            path = f"gateway.moduleTimers.{owner}"
            named = sorted(id for id in ids if id is not None)
            if None in ids and named:
                found.append(
                    f"{path}: module `{owner}` has tick handlers with a timer id "
                    f"({', '.join(named)}) and without; give all of them an id, or none"
                )
            elif owner not in periods:
                continue
            elif isinstance(periods[owner], dict) and None in ids:
                found.append(
                    f"{path}: expected one period, since the tick handler of `{owner}` "
                    "has no timer id, got an object"
                )
            elif not isinstance(periods[owner], dict) and named:
                found.append(
                    f"{path}: expected an object with a period for each of the timer ids "
                    f"{', '.join(named)}, got one period"
                )
        return found

    def _ids(self) -> Dict[str, List[Optional[str]]]:
        ids: Dict[str, List[Optional[str]]] = {}
        for _, info in self._handlers:
            ids.setdefault(str(info.owner_id), []).append(_timer_id(info))
        return ids

    def arm(self, periods: Mapping[str, Any]) -> None:
        """Make the timers that are not there yet, while none is started, and set all periods.

        What has no period is logged, and which period has no handler.

        Args:
            periods: the value of ``gateway.moduleTimers``, free of `problems`.
        """
        text = canonical(periods)
        if text == self._armed:
            return
        self._armed = text
        before = {(id(one.timer._f), one.timer_id): one.timer for one in self._timers}
        self._timers = []
        idle: Dict[str, None] = {}  # modules without any period, in order
        for handler, info in self._handlers:
            owner, timer_id = str(info.owner_id), _timer_id(info)
            period = _lookup(periods, owner, timer_id)
            if period is None:
                if owner in periods:
                    logger.warning(
                        "%s is missing: the tick handler `%s` of `%s` is not called",
                        _path(owner, timer_id),
                        timer_id,
                        owner,
                    )
                else:
                    idle[owner] = None
                continue
            timer = before.pop((id(handler), timer_id), None)
            if timer is None:
                timer = HandlerTimer(period, handler, info, self._clock)
            else:
                timer.period = period  # it keeps its figures
            self._timers.append(_TickTimer(owner, timer_id, timer))
        for owner in idle:
            logger.info("%s is not set: module `%s` has no timer", _path(owner, None), owner)
        self._warn_of_idle_periods(periods)

    def _warn_of_idle_periods(self, periods: Mapping[str, Any]) -> None:
        if self is not self._all[0]:
            return  # it is said by that one
        known = {
            (owner, one) for tick in self._all for owner, of in tick._ids().items() for one in of
        }
        for owner, value in periods.items():
            for timer_id in value if isinstance(value, dict) else [None]:
                if (owner, timer_id) not in known:
                    logger.warning(
                        "%s: no module has a tick handler for it", _path(owner, timer_id)
                    )

    def rearm(self, periods: Mapping[str, Any]) -> None:
        """Give the timers the periods of an updated configuration, at once.

        Args:
            periods: the new value of ``gateway.moduleTimers``, free of `problems`.
        """
        with self._lock:
            wanted = [_lookup(periods, entry.owner, entry.timer_id) for entry in self._timers]
            for entry, period, place in zip(self._timers, wanted, _places(wanted)):
                self._rearm(entry, period, place * self.spread)
        known = {(entry.owner, entry.timer_id) for entry in self._timers}
        for owner, ids in self._ids().items():
            for timer_id in ids:
                if (owner, timer_id) not in known and _lookup(periods, owner, timer_id) is not None:
                    logger.info(
                        "%s is new: it takes effect at the next start", _path(owner, timer_id)
                    )

    def _rearm(self, entry: _TickTimer, period: Optional[float], place: float) -> None:
        owner, timer_id, timer = entry.owner, entry.timer_id, entry.timer
        if period is None:
            if timer.running:
                timer.stop(block=False)
                logger.info("%s is gone: its timer is stopped", _path(owner, timer_id))
            return
        if period != timer.period:
            timer._rearm(period, place * period)
            logger.info("%s is now %s s", _path(owner, timer_id), period)
        if self._started and not timer.running:
            timer.start()

    def clear_handlers(self) -> None:
        """Forget all handlers and timers."""
        super().clear_handlers()
        self._timers = []

    # -- start and stop ---------------------------------------------------------------------

    def start(self) -> None:
        """Start all timers; their first ticks come at once, unless they are spread.

        Raises:
            ConfigError: the configuration is not valid, or does not fit the handlers.
        """
        if self._arms_itself and self._config is not None:
            periods_of_all = self._config.get("gateway", {}).get("moduleTimers", {})
            found = problems(self._config) or self.problems(periods_of_all)
            if found:
                raise ConfigError("; ".join(found))
            self.arm(periods_of_all)
        with self._lock:
            self._started = True
            periods = [entry.timer.period for entry in self._timers]
            for entry, period, place in zip(self._timers, periods, _places(periods)):
                entry.timer._start_shifted(place * self.spread * period)

    def cancel(self) -> None:
        """Let no further tick begin; do not wait for those under way."""
        with self._lock:
            self._started = False
            for entry in self._timers:
                entry.timer.stop(block=False)

    def stop(self) -> None:
        """Let no further tick begin, and return when those under way have ended."""
        self.cancel()
        for entry in self._timers:
            entry.timer.stop()

    def stats(self) -> List[TimerStats]:
        """Return the figures of each timer."""
        return [entry.timer.stats() for entry in list(self._timers)]

    def number_of_timers(self) -> int:
        """Return how many timers there are."""
        return len(self._timers)

    def overdue(self, limits: Mapping[str, Any]) -> List[Overdue]:
        """Return which calls run for longer than they may.

        Args:
            limits: seconds by module id, or by module id and timer id; valid already.
        """
        found = []
        for entry in list(self._timers):
            value = limits.get(entry.owner)
            limit = value.get(entry.timer_id) if isinstance(value, dict) else value
            if limit is None:
                continue
            stats = entry.timer.stats()
            if stats.running_for is not None and stats.running_for > limit:
                found.append(Overdue(stats.name, stats.calls, stats.running_for, limit))
        return found

    def warn_of_idle_limits(self, limits: Mapping[str, Any], others: Set[str]) -> None:
        """Log which limits are of no handler.

        Args:
            limits: the value of ``gateway.watchdog.limits``.
            others: ids of modules that have a handler of another event that it limits.
        """
        ids = self._ids()
        for owner, value in limits.items():
            for timer_id in value if isinstance(value, dict) else [None]:
                if timer_id is None and owner in others:
                    continue
                if owner not in ids or (timer_id is not None and timer_id not in ids[owner]):
                    place = ".".join(filter(None, ("gateway.watchdog.limits", owner, timer_id)))
                    logger.warning("%s: no module has a handler for it", place)

    def busy(self) -> List[Busy]:
        """Return which handlers run right now."""
        return [
            (f"uun_iot {entry.timer._name}", entry.timer._running_thread())
            for entry in self._timers
            if entry.timer._running_thread() is not None
        ]


def _places(periods: Sequence[Optional[float]]) -> Iterator[float]:
    """Yield for each timer its place among those of its period, from 0 to less than 1."""
    totals: Counter[Optional[float]] = Counter(periods)
    seen: Counter[Optional[float]] = Counter()
    for period in periods:
        yield seen[period] / totals[period]
        seen[period] += 1


def _timer_id(info: HandlerInfo) -> Optional[str]:
    return info.args[0] if info.args else None


def _lookup(periods: Mapping[str, Any], owner: str, timer_id: Optional[str]) -> Optional[float]:
    value = periods.get(owner)
    if timer_id is None:
        return value
    return value.get(timer_id) if isinstance(value, dict) else None


def _path(owner: str, timer_id: Optional[str]) -> str:
    return ".".join(part for part in ("gateway.moduleTimers", owner, timer_id) if part)
