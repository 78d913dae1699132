"""The one place that decides when: a heap of due calls and the threads that serve it.

Leader and followers: one thread, the leader, waits for the earliest due call. When it is
due, the leader calls up another thread to wait in its place and runs the handler itself.
Threads exist only while timers are started: one that waits, one for each handler that runs
at the same moment, and a small reserve. There is no upper bound, since with one the slow
handlers would starve the others.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import weakref
from math import inf
from typing import List, Optional, Set, Tuple, Type

from .clock import Clock, ManualClock
from .logs import get_logger
from .series import SHORTEST_PERIOD, Series, Slot
from .timer_stats import TimerStats, stack_of

__all__ = ["Scheduler", "scheduler_of"]

logger = get_logger(__name__)

#: idle threads kept ready; others leave
RESERVE = 2
#: seconds after which an idle thread leaves
IDLE_SECONDS = 30.0
#: seconds of the longest single wait on a clock of the application's, which may jump
LONGEST_WAIT = 30.0


class Scheduler:
    """Calls the handlers of all timers of one clock when they are due.

    Args:
        clock: where the time is read. On a `ManualClock` no thread is made: its `advance`
            runs what is due.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threaded = not isinstance(clock, ManualClock)
        # the system's own clock is what a wait is measured with, and needs no second look
        own = type(clock).monotonic is Clock.monotonic
        self._longest_wait = threading.TIMEOUT_MAX if own else LONGEST_WAIT
        self._reset()
        _watch_forks(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._leader_wake = threading.Condition(self._lock)
        self._standby = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._heap: List[Tuple[float, int, Series]] = []
        self._numbers = itertools.count()
        self._stale = 0  # heap entries that are no longer valid
        self._live: Set[Series] = set()  # started and not cancelled
        self._running: Set[Slot] = set()
        self._look_at = inf  # when the earliest call that runs may be one to warn of
        self._leading = False
        self._waking = False  # a thread has been called up and has not come yet
        self._idle = 0
        self._threads = 0

    def after_fork(self) -> None:
        """Start anew in a forked child: the parent's timers and threads are not here."""
        for series in self._live:
            series.cancelled = True
        for slot in {*self._running, *(series.slot for series in self._live)}:
            slot.running = slot.waiting = slot.thread = None
        self._reset()

    # -- series -----------------------------------------------------------------------

    def add(self, series: Series, at_once: bool, shift: float = 0.0) -> None:
        """Start a series.

        Args:
            series: what to call.
            at_once: make the first call now, else one period from now.
            shift: seconds by which all calls are later than that.

        Raises:
            RuntimeError: no thread can be started and none is there.
        """
        with self._lock:
            series.origin = self._clock.monotonic() + shift
            series.k = 0 if at_once else 1
            self._live.add(series)
            self._push(series, series.due)
            if not self._call_up() and self._threads == 0 and self._threaded:
                self._cancel(series)
                raise RuntimeError(f"{series.name}: no thread can be started for its timer")

    def cancel(self, series: Series) -> None:
        """Let no further call of the series begin."""
        with self._lock:
            self._cancel(series)

    def stats(self, slot: Slot, series: Optional[Series], name: str, period: float) -> TimerStats:
        """Return the figures of a timer, all of one moment.

        Args:
            slot: of the timer.
            series: its present one, if it was ever started.
            name: what logs call it.
            period: its period in seconds.
        """
        with self._lock:
            missed = slot.record.missed + (0 if series is None else series.missed)
            running = series is not None and not series.cancelled
            return slot.record.stats(name, period, running, missed, self._clock)

    def rearm(self, series: Series, period: float, shift: float = 0.0) -> None:
        """Give a series another period, from now on; its next call is one period away.

        Args:
            series: which.
            period: seconds.
            shift: seconds by which all calls are sooner than that; less than the period.
        """
        with self._lock:
            if series.cancelled:
                return
            series.period = max(period, SHORTEST_PERIOD)
            series.slot.record.warned = 0  # what was said was said of another period
            series.origin = self._clock.monotonic() - shift
            running = series.slot.running is series
            series.k = 0 if running else 1  # at the end of a running call one step is made
            if series.entry is not None:
                self._invalidate(series)
                self._push(series, series.due)

    def wait_idle(self, slot: Slot) -> None:
        """Return when no call of the timer runs; a call does not wait for itself."""
        with self._lock:
            while slot.running is not None and slot.thread != threading.get_ident():
                self._ended.wait()

    def _cancel(self, series: Series) -> None:
        if series.cancelled:
            return
        series.cancelled = True
        series.call = _nothing  # its heap entry may stay for long, and must not keep a module alive
        self._live.discard(series)
        if series.slot.waiting is series:
            series.slot.waiting = None
        if series.entry is not None:
            self._invalidate(series)
        if not self._live:  # nothing to wait for: the threads end
            self._leader_wake.notify_all()
            self._standby.notify_all()

    def _push(self, series: Series, due: float) -> None:
        series.entry = next(self._numbers)
        heapq.heappush(self._heap, (due, series.entry, series))
        if self._leading and self._heap[0][2] is series:
            self._leader_wake.notify()

    def _invalidate(self, series: Series) -> None:
        series.entry = None
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].entry == entry[1]]
            heapq.heapify(self._heap)
            self._stale = 0

    def _head(self) -> Optional[float]:
        """Return when the earliest valid entry is due."""
        while self._heap:
            due, number, series = self._heap[0]
            if series.entry == number:
                return due
            heapq.heappop(self._heap)
            self._stale -= 1
        return None

    def _take_due(self) -> Optional[Series]:
        """Take the earliest series that is due and may run now."""
        while True:
            due = self._head()
            if due is None:
                return None
            now = self._clock.monotonic()
            if due > now:
                return None
            series = heapq.heappop(self._heap)[2]
            series.entry = None
            if series.slot.running is not None:
                series.slot.waiting = series  # the call of an earlier start still runs
                continue
            self._begin(series, now)
            return series

    def _begin(self, series: Series, now: float) -> None:
        slot = series.slot
        slot.running = series
        slot.record.begin(series.due, now)
        self._look_at = min(self._look_at, slot.record.warn_when(series.period))

    def _run(self, series: Series) -> None:
        """Run a call with the lock released, then queue what follows."""
        slot = series.slot
        slot.thread = threading.get_ident()
        self._running.add(slot)
        self._lock.release()
        failure: Optional[Type[BaseException]] = None
        try:
            failure = series.call()
        except BaseException as exc:  # also SystemExit: it must not end the scheduler's thread
            failure = type(exc)
            try:
                logger.error("%s: the handler failed", series.name, exc_info=True)
            except Exception:  # a broken log handler of the application must not either
                pass
        finally:
            self._lock.acquire()
            now = self._clock.monotonic()
            slot.running = slot.thread = None
            self._running.discard(slot)
            slot.record.end(now, series.period, failure)
            if not series.cancelled:
                series.step(now)
                self._push(series, series.due)
            waiting, slot.waiting = slot.waiting, None
            if waiting is not None:
                self._push(waiting, now)
            self._ended.notify_all()
            if slot.record.last_overran(series.period):
                self._say([slot.record.warning(series.name, series.period, now)])

    # -- calls that take long ---------------------------------------------------------------

    def _look_at_running(self, now: float) -> None:
        """Warn of the calls that run for longer than they should."""
        self._look_at = inf
        said: List[Optional[str]] = []
        for slot in self._running:
            series = slot.running
            if series is None:
                continue
            record, period = slot.record, series.period
            warning = record.warning(series.name, period, now)
            if warning is not None:
                said.append(f"{warning}; it is at\n{stack_of(slot.thread)}")
            self._look_at = min(self._look_at, record.warn_when(period))
        self._say(said)

    def _say(self, warnings: List[Optional[str]]) -> None:
        """Log with the lock released, since the application's log may be slow."""
        if not any(warnings):
            return
        self._lock.release()
        try:
            for warning in filter(None, warnings):
                logger.warning("%s", warning)
        except Exception:  # a broken log handler of the application
            pass
        finally:
            self._lock.acquire()

    # -- a manual clock's way -----------------------------------------------------------

    def next_due(self) -> Optional[float]:
        """Return when the next call is due, in the clock's monotonic seconds."""
        with self._lock:
            return self._head()

    def run_one_due(self) -> None:
        """Run the earliest call that is due, in this thread."""
        with self._lock:
            series = self._take_due()
            if series is not None:
                self._run(series)

    # -- threads --------------------------------------------------------------------------

    def _call_up(self) -> bool:
        """See to it that a thread waits, or will; return False where none can be had."""
        if not self._threaded or self._leading or self._waking:
            return True
        if self._idle:
            self._waking = True
            self._standby.notify()
            return True
        try:
            thread = threading.Thread(target=self._work, name="uun_iot idle")
            self._waking = True
            self._threads += 1
            thread.start()
        except RuntimeError:  # thread limit, or the interpreter is shutting down
            self._waking = False
            self._threads -= 1
            return False
        return True

    def _work(self) -> None:
        thread = threading.current_thread()
        with self._lock:
            self._waking = False
            try:
                while self._live:
                    if self._leading:
                        if not self._stand_by():
                            break
                        continue
                    series = self._lead()
                    if series is None:
                        continue
                    self._call_up()  # also where nothing else is due: somebody must watch the call
                    thread.name = f"uun_iot {series.name}"
                    self._run(series)
                    thread.name = "uun_iot idle"
            finally:
                self._threads -= 1

    def _stand_by(self) -> bool:
        """Wait to be called up; return False where this thread is not needed."""
        if self._idle >= RESERVE:
            return False
        self._idle += 1
        called = self._standby.wait(IDLE_SECONDS)
        self._idle -= 1
        # A call may have reached a thread whose wait had just run out: the flag decides.
        called = called or self._waking
        self._waking = False
        return called

    def _lead(self) -> Optional[Series]:
        """Wait for the next due call; return None where no timer is left."""
        self._leading = True
        try:
            while self._live:
                series = self._take_due()
                if series is not None:
                    return series
                now = self._clock.monotonic()
                if now > self._look_at:
                    self._look_at_running(now)
                    continue
                due = self._head()
                until = self._look_at if due is None else min(due, self._look_at)
                self._leader_wake.wait(
                    None if until == inf else min(max(until - now, 0.0), self._longest_wait)
                )
            return None
        finally:
            self._leading = False


def _nothing() -> None:
    """The call of a cancelled series."""


_schedulers: "weakref.WeakSet[Scheduler]" = weakref.WeakSet()
_making = threading.Lock()
_forks_watched = False


def _watch_forks(scheduler: Scheduler) -> None:
    """Have the scheduler start anew in forked children."""
    global _forks_watched
    _schedulers.add(scheduler)
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        _forks_watched = True


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for scheduler in list(_schedulers):
        scheduler.after_fork()


def scheduler_of(clock: Clock) -> Scheduler:
    """Return the clock's one scheduler; it is made at the first call.

    Args:
        clock: the clock.
    """
    with _making:
        if clock._scheduler is None:
            clock._scheduler = Scheduler(clock)
        return clock._scheduler
