"""Timers: handles on the scheduler of a clock."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Type, Union

from .clock import SYSTEM_CLOCK, Clock
from .exceptions import json_type
from .schedulers import scheduler_of
from .series import Series, Slot
from .signals import interruption_waits
from .timer_stats import TimerStats
from .typing import IModule, Numeric

__all__ = ["ModuleTimer", "RepeatTimer", "period_problem"]


def period_problem(period: Any) -> Optional[str]:
    """Return what is wrong with a timer period, or None if it is a finite number over 0."""
    if isinstance(period, (int, float)) and not isinstance(period, bool):
        try:
            if math.isfinite(period) and period > 0:
                return None
        except OverflowError:  # an integer beyond any float
            pass
    number = isinstance(period, (int, float)) and not isinstance(period, bool)
    got = f"{float(period)!r}" if number and abs(period) < 1e300 else json_type(period)
    return f"expected a period in seconds, a finite number over 0, got {got}"


class RepeatTimer:
    """Call a function again and again, at a fixed rate.

    Calls are due at start + k × period on a monotonic clock. A call never overlaps another
    of the same timer: ticks that come due while one runs are counted and dropped, and the
    phase is kept. What the function raises is logged with its stack trace, and the timer
    goes on.

    Stop the timer before setting `period` or `runonstart`; then it may be started again.

    Args:
        period: seconds between ticks, a finite number over 0.
        f: the function to call.
        args: positional arguments for ``f``.
        kwargs: keyword arguments for ``f``.
        runonstart: make the first call right after `start`, not one period later.
        clock: what the time is read from.
        name: how logs and the thread are to name the timer; by default after ``f``.

    Raises:
        TypeError: ``period`` is no number, or ``f`` cannot be called.
        ValueError: ``period`` is not finite or not over 0.
    """

    def __init__(
        self,
        period: Numeric,
        f: Callable[..., Any],
        args: List[Any] = [],  # noqa: B006 - the documented default; copied, never changed
        kwargs: Dict[str, Any] = {},  # noqa: B006 - likewise
        runonstart: bool = True,
        *,
        clock: Clock = SYSTEM_CLOCK,
        name: Optional[str] = None,
    ) -> None:
        if not callable(f):
            raise TypeError(f"a timer needs a function to call, got {json_type(f)}")
        # two underscores: applications derive from it with attributes of their own
        self._name = name or f"timer {getattr(f, '__qualname__', type(f).__name__)}"
        self.__check(period)
        self.__period = period
        self.__runonstart = bool(runonstart)
        self._f = f
        self.__args = list(args)
        self.__kwargs = dict(kwargs)
        self.__clock = clock
        self.__slot = Slot()
        self.__series: Optional[Series] = None

    def __check(self, period: Any) -> None:
        problem = period_problem(period)
        if problem is not None:
            number = isinstance(period, (int, float)) and not isinstance(period, bool)
            raise (ValueError if number else TypeError)(f"{self._name}: {problem}")

    @property
    def period(self) -> Numeric:
        """Seconds between ticks; to be set only while the timer is stopped."""
        return self.__period

    @period.setter
    def period(self, new: Numeric) -> None:
        self.__check(new)
        with scheduler_of(self.__clock).lock:
            self.__refuse_while_running("period")
            if new != self.__period:
                self.__slot.record.warned = 0  # what was said was said of another period
            self.__period = new

    @property
    def runonstart(self) -> bool:
        """Whether the first call comes right after `start`; to be set only while stopped."""
        return self.__runonstart

    @runonstart.setter
    def runonstart(self, new: bool) -> None:
        with scheduler_of(self.__clock).lock:
            self.__refuse_while_running("runonstart")
            self.__runonstart = bool(new)

    @property
    def running(self) -> bool:
        """Whether the timer is started."""
        return self.__series is not None and not self.__series.cancelled

    @property
    def missed(self) -> int:
        """How many ticks were dropped because a call still ran or the device slept."""
        return self.stats().missed

    def stats(self) -> TimerStats:
        """Return figures of the timer, all of one moment: see `TimerStats`."""
        slot, clock = self.__slot, self.__clock
        with scheduler_of(clock).lock:
            series = self.__series
            running = series is not None and not series.cancelled
            missed = slot.record.missed + (0 if series is None else series.missed)
            stats = slot.record.stats(self._name, float(self.__period), running, missed, clock)
            if series is None or series.cancelled:
                return stats
            now = clock.monotonic()
            following = series.due_after(now, busy=slot.running is series)
            return stats._replace(next_start=following + clock.time() - now)

    def __refuse_while_running(self, what: str) -> None:
        if self.running:
            raise RuntimeError(f"{self._name} is running; stop() it before setting {what}")

    def start(self) -> None:
        """Start the timer.

        Where the call of an earlier start still runs, the first tick follows when it ends.

        Raises:
            RuntimeError: the timer is started already.
        """
        self._start_shifted()

    def _start_shifted(self, shift: float = 0.0) -> None:
        """Start the timer, all its ticks so many seconds later."""
        scheduler = scheduler_of(self.__clock)
        with scheduler.locked():
            if self.running:
                raise RuntimeError(f"{self._name} is started already; stop() it first")
            if self.__series is not None:
                self.__slot.record.missed += self.__series.missed
            series = Series(self.__slot, self._call_function, float(self.__period), self._name)
            try:
                self.__series = series
                scheduler.add(series, self.__runonstart, shift)
            except BaseException:  # no thread to be had, or Ctrl-C
                scheduler.cancel(series)
                scheduler.recover()
                raise

    def stop(self, block: bool = True) -> None:
        """Stop the timer; no further call begins.

        A timer that was never started, or is stopped already, may be stopped.

        Args:
            block: return only when the running call has ended; a call that stops its own
                timer does not wait for itself.
        """
        series = self.__series
        if series is None or (series.cancelled and self.__slot.running is None):
            return
        scheduler = scheduler_of(self.__clock)
        with scheduler.locked():
            try:
                scheduler.cancel(self.__series or series)  # may have been started anew meanwhile
            except BaseException:  # Ctrl-C
                scheduler.recover()
                raise
            ended = scheduler.end_of_call(self.__slot) if block else None
        # garbage collection may call this in a `__del__` of a thread that is in the scheduler
        if ended is not None and not scheduler.is_held_here():
            ended.acquire()

    def _rearm(self, period: Numeric, shift: float = 0.0) -> None:
        """Change the period of a running timer: no extra tick, no wait for a running call.

        The next tick is one period away, less the shift.
        """
        scheduler = scheduler_of(self.__clock)
        with interruption_waits(), scheduler.lock:
            self.__period = period
            if self.__series is not None:
                scheduler.rearm(self.__series, float(period), shift)

    def _running_thread(self) -> Optional[int]:
        """Return the identity of the thread that runs a call right now."""
        return self.__slot.thread

    def _call_function(self) -> Optional[Type[BaseException]]:
        self._f(*self.__args, **self.__kwargs)
        return None


class ModuleTimer:
    """A module with its timer, or its timers by id.

    Args:
        module_instance: the module.
        f: the method to call at each tick, or a dictionary of methods by timer id; as
            functions of the class (called with the module) or bound to it.
        period: seconds between ticks, or a dictionary of them with the same timer ids.
        clock: what the time is read from.

    Raises:
        ValueError: ``f`` and ``period`` are not of one shape, or a period is not valid.
    """

    id: str
    #: the module
    m_instance: IModule
    #: whether there are several timers, by id
    multi: bool
    timer: Union[RepeatTimer, Dict[str, RepeatTimer]]

    def __init__(
        self,
        module_instance: IModule,
        f: Union[Callable[..., Any], Dict[str, Callable[..., Any]]],
        period: Union[Numeric, Dict[str, Numeric]],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.m_instance = module_instance
        self.id = module_instance.id
        self.multi = isinstance(f, dict)
        if isinstance(f, dict) and isinstance(period, dict):
            if f.keys() != period.keys():
                raise ValueError(
                    f"timers of module `{self.id}`: f has the ids {sorted(f)}, "
                    f"period has {sorted(period)}; give both the same"
                )
            self.timer = {
                key: self._make(function, period[key], f"{self.id}:{key}", clock)
                for key, function in f.items()
            }
        elif isinstance(f, dict) or isinstance(period, dict):
            raise ValueError(
                f"timer of module `{self.id}`: f and period must both be dictionaries, or neither"
            )
        else:
            self.timer = self._make(f, period, self.id, clock)

    def _make(
        self, function: Callable[..., Any], period: Any, name: str, clock: Clock
    ) -> RepeatTimer:
        problem = None if callable(function) else "f must be callable"
        problem = problem or period_problem(period)
        if problem is not None:
            raise ValueError(f"timer `{name}`: {problem}")
        owner = getattr(function, "__self__", None)  # of a bound method, also of a built-in one
        bound = owner is not None and not isinstance(owner, ModuleType)
        args = [] if bound else [self.m_instance]
        return RepeatTimer(period, function, args, clock=clock, name=f"tick {name}")
