"""The one place that decides when: a heap of due calls and the threads that serve it.

Leader and followers: one thread, the leader, waits for the earliest due call. When it is
due, the leader calls up another thread to wait in its place and runs the handler itself.
Threads exist only while timers are started: one that waits, one for each handler that runs
at the same moment, and a small reserve. There is no upper bound, since with one the slow
handlers would starve the others.

To call up a thread at each tick costs more than a short handler does. So one of the idle
threads, the deputy, looks after the leader shortly after each moment at which something is
due. Where it will look soon, and the calls of the timer were short lately, the leader stays
the leader while it runs the handler. If that does not come back, the deputy takes over.
"""

from __future__ import annotations

import threading
import time
from math import inf
from typing import Callable, List, Optional, Sequence, Set, Type

from .clock import Clock, ManualClock
from .due_queue import DueQueue
from .logs import get_logger
from .series import SHORTEST_PERIOD, Series, Slot, nothing
from .signals import interruption_waits, is_ctrl_c
from .timer_stats import stack_of

__all__ = ["Scheduler"]

logger = get_logger(__name__)

#: idle threads kept ready; others leave
RESERVE = 2
#: seconds after which an idle thread leaves
IDLE_SECONDS = 30.0
#: seconds by which a handler that runs for longer than it used to may hold up others
GUARD = 0.02
#: seconds by which a call may be late before more than one thread runs what is due
LATE = 0.003
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
        self._now: Callable[[], float] = time.monotonic if own else clock.monotonic
        self._longest_wait = threading.TIMEOUT_MAX if own else LONGEST_WAIT
        self._reset()

    def _reset(self) -> None:
        #: of all state here and of the timers; a forked child has another one
        self.lock = threading.Lock()
        self._standby = threading.Condition(self.lock)
        self._queue = DueQueue()
        self._live: Set[Series] = set()  # started and not cancelled
        self._running: Set[Slot] = set()
        self._returning: Set[Slot] = set()  # of them, those that are done but for the lock
        self._look_at = inf  # when the earliest call that runs may be one to warn of
        self._leader: Optional[int] = None  # identity of that thread
        self._bell = threading.Lock()  # what the leader sleeps on: half of a Condition's cost
        self._bell.acquire()
        self._asleep = False  # the leader waits for the bell
        self._in_place: Optional[float] = None  # since when the leader runs a handler
        self._has_deputy = False
        self._watch_at = inf  # when the deputy looks after the leader
        self._waking = False  # a thread has been called up and has not come yet
        self._idle = 0
        self._threads = 0

    def after_fork(self) -> None:
        """Start anew in a forked child: the parent's timers and threads are not here."""
        for series in self._live:
            series.cancelled = True
        here = {slot for slot in self._running if slot.thread == threading.get_ident()}
        for slot in {*self._running, *(series.slot for series in self._live)}:
            slot.waiting, slot.ended = None, ()
            if slot not in here:
                slot.running = slot.thread = None
                slot.record.busy = False
        self._reset()
        self._running |= here  # a handler has forked, and will come back
        self._threads = int(bool(here) and self._threaded)

    # -- series -----------------------------------------------------------------------

    def add(self, series: Series, at_once: bool, shift: float = 0.0) -> None:
        """Start a series; the caller holds the lock.

        Args:
            series: what to call.
            at_once: make the first call now, else one period from now.
            shift: seconds by which all calls are later than that.

        Raises:
            RuntimeError: no thread can be started and none is there.
        """
        series.origin = self._now() + shift
        series.k = 0 if at_once else 1
        self._live.add(series)
        self._push(series, series.due)
        if not self._call_up() and self._threads == 0 and self._threaded:
            self.cancel(series)
            raise RuntimeError(f"{series.name}: no thread can be started for its timer")

    def rearm(self, series: Series, period: float, shift: float = 0.0) -> None:
        """Give a series another period; its next call is one away. The caller holds the lock.

        Args:
            series: which.
            period: seconds.
            shift: seconds by which all calls are sooner than that; less than the period.
        """
        if series.cancelled:
            return
        series.period = max(period, SHORTEST_PERIOD)
        series.slot.record.warned = 0  # what was said was said of another period
        series.origin = self._now() - shift
        # after a call that runs, or that waits for one of an earlier start, one step is made
        series.k = 0 if series.entry is None else 1
        if series.entry is not None:
            self._queue.withdraw(series)
            self._push(series, series.due)

    def end_of_call(self, slot: Slot) -> threading.Lock:
        """Return a lock that may be had when the timer's call that runs now has ended.

        It may be had at once where none runs, and in the call itself. A call of a later start is
        not waited for. The caller holds the lock of the scheduler, and lets go of it first: so
        Ctrl-C in the waiting cannot leave it in disorder, as it may in a `threading.Condition`.
        """
        ended = threading.Lock()
        if slot.running and slot.thread != threading.get_ident():
            ended.acquire()
            slot.ended = (*slot.ended, ended)
        return ended

    def cancel(self, series: Series) -> None:
        """Let no further call of the series begin; the caller holds the lock."""
        if series.cancelled:
            return
        self._live.discard(series)
        if series.slot.waiting is series:
            series.slot.waiting = None
        self._queue.withdraw(series)
        series.call = nothing  # its heap entry may stay for long, and must not keep a module alive
        series.cancelled = True  # last, so that what Ctrl-C has cut can be done again
        if not self._live:  # nothing to wait for: the threads end
            self._ring()
            self._standby.notify_all()

    def recover(self) -> None:
        """Let all threads look again, after Ctrl-C in a change; the caller holds the lock."""
        self._waking = False  # who was called up comes, but perhaps nobody was
        self._standby.notify_all()
        self._ring()
        self._call_up()

    def _push(self, series: Series, due: float) -> None:
        if self._queue.push(series, due):
            self._ring()

    def _take(self, now: float) -> Optional[Series]:
        """Take the next series, which is due; None where it has to wait for a call."""
        series = self._queue.pop()
        slot = series.slot
        if slot.running is not None:
            slot.waiting = series  # the call of an earlier start still runs
            return None
        slot.running = series
        slot.record.begin(series.origin + series.k * series.period, now)
        return series

    def _run(self, series: Series) -> float:
        """Run a call with the lock released, queue what follows, and return when that was."""
        slot = series.slot
        slot.thread = threading.get_ident()
        self._running.add(slot)
        self.lock.release()
        failure: Optional[Type[BaseException]] = None
        try:
            failure = series.call()
        except BaseException as exc:  # also SystemExit: it must not end the scheduler's thread
            failure = type(exc)
            if is_ctrl_c(exc):
                raise
            try:
                logger.error("%s: the handler failed", series.name, exc_info=True)
            except BaseException:  # a broken log handler of the application must not either
                pass
        finally:
            self._returning.add(slot)
            self.lock.acquire()
            self._returning.discard(slot)
            now = self._now()
            self._running.discard(slot)
            if slot.record.end(now, series.period, failure):
                # before the call counts as ended: who stops the timer may rely on the log
                self._say([slot.record.warning(series.name, series.period, now)])
                now = self._now()
            slot.running = slot.thread = None
            if not series.cancelled:
                following = series.step(now)
                if self._queue.push(series, following) and self._asleep:
                    self._ring()
            if slot.waiting is not None:
                waiting, slot.waiting = slot.waiting, None
                self._push(waiting, now)
            ended, slot.ended = slot.ended, ()
            for waiting_for_it in ended:
                waiting_for_it.release()
        return now

    # -- calls that take long ---------------------------------------------------------------

    def _look_at_running(self, now: float) -> None:
        """Warn of the calls that run for longer than they should; for the leader."""
        self._look_at = inf
        said: List[str] = []
        for slot in self._running:
            series = slot.running
            if series is None:
                continue
            record, period = slot.record, series.period
            warning = record.warning(series.name, period, now)
            if warning is not None:
                said.append(f"{warning}; it is at\n{stack_of(slot.thread)}")
            self._look_at = min(self._look_at, record.warn_when(period))
        if said:
            self._hand_over()
            self._say(said)

    def _say(self, warnings: Sequence[Optional[str]]) -> None:
        """Log with the lock released, since the application's log may be slow."""
        if not any(warnings):
            return
        self._call_up()  # where it was left to this thread to see that nobody leads
        self.lock.release()
        try:
            for warning in filter(None, warnings):
                logger.warning("%s", warning)
        except BaseException:  # a broken log handler of the application
            pass
        finally:
            self.lock.acquire()

    # -- a manual clock's way -----------------------------------------------------------

    def next_due(self) -> Optional[float]:
        """Return when the next call is due, in the clock's monotonic seconds."""
        with self.lock:
            due = self._queue.next_due()
            return None if due == inf else due

    def run_one_due(self) -> None:
        """Run the earliest call if it is due and may run now, in this thread."""
        self.lock.acquire()
        try:
            now = self._now()
            series = self._take(now) if self._queue.next_due() <= now else None
            if series is not None:
                self._run(series)
        finally:
            self.lock.release()  # in a child that the handler has forked, another lock

    # -- threads --------------------------------------------------------------------------

    def _call_up(self) -> bool:
        """See to it that a thread leads, or will; return False where none can be had."""
        if not self._threaded or self._leader is not None or self._waking:
            return True
        if self._idle:
            self._waking = True
            self._standby.notify()
            return True
        if self._returning:  # in a rush: the first of them will see that nobody leads
            return True
        thread = threading.Thread(target=self._work, name="uun_iot idle")
        self._threads += 1
        self._waking = True
        try:
            with interruption_waits():  # else a lock of the thread's may stay held
                thread.start()
        except BaseException as exc:
            if thread.ident is None:
                self._threads -= 1
                self._waking = False
            if isinstance(exc, RuntimeError):  # thread limit, or the interpreter is shutting down
                return False
            raise
        return True

    def _hand_over(self) -> None:
        """Let another thread lead in place of this one."""
        self._leader = self._in_place = None
        self._call_up()

    def _ring(self) -> None:
        """Wake the leader, if it sleeps."""
        if self._asleep:
            if self._bell.locked():  # else Ctrl-C has come right behind this
                self._bell.release()
            self._asleep = False

    def _work(self) -> None:
        self.lock.acquire()
        try:
            self._waking = False
            while self._live:
                if self._leader is None:
                    self._lead(threading.current_thread())
                elif not self._stand_by():
                    break
        finally:
            self._threads -= 1
            self.lock.release()  # in a child that a handler has forked, another lock

    def _lead(self, thread: threading.Thread) -> None:
        """Wait for what comes due and run it, until another thread leads."""
        me = self._leader = threading.get_ident()
        try:
            now = self._now()
            while self._live and self._leader == me:
                due = self._queue.next_due()
                if due > now:
                    if due > now + GUARD:  # else another call follows at once
                        thread.name = "uun_iot idle"
                    now = self._wait(now, due)
                    continue
                series = self._take(now)
                if series is None:
                    continue
                record = series.slot.record
                watched = abs(self._watch_at - now) <= GUARD  # not so where the clock has jumped
                if watched and record.wary == 0 and now < due + LATE:
                    self._in_place = now
                else:
                    # also where nothing else is due: somebody must watch the call
                    self._look_at = min(self._look_at, record.warn_when(series.period))
                    self._hand_over()
                thread.name = series.thread_name
                now = self._run(series)
                if self._leader == me:
                    self._in_place = None
        finally:
            thread.name = "uun_iot idle"
            if self._leader == me:
                self._leader = self._in_place = None

    def _wait(self, now: float, due: float) -> float:
        """Sleep until something is due, or the bell rings, and return when; for the leader."""
        if now > self._look_at:
            self._look_at_running(now)
            return self._now()
        until = inf if due == inf else self._queue.wake_at()
        if self._look_at < until:
            until = self._look_at
        seconds = -1.0 if until == inf else min(max(until - now, 0.0), self._longest_wait)
        self._asleep = True
        self.lock.release()
        rung = self._bell.acquire(True, seconds)
        self.lock.acquire()
        if self._asleep:
            self._asleep = False
        elif not rung:  # it was rung when the time was over already
            self._bell.acquire()
        return self._now()

    def _stand_by(self) -> bool:
        """Wait until this thread is to lead; return False where it is not needed."""
        if self._idle >= RESERVE:
            return False
        self._idle += 1
        if self._has_deputy:
            called = self._standby.wait(IDLE_SECONDS)
            # A call may have reached a thread whose wait had just run out: the flag decides.
            called = called or self._waking
        else:
            self._has_deputy = called = True
            while self._live and not self._waking and self._watch():
                pass
            self._has_deputy = False
            self._watch_at = inf
        self._idle -= 1
        self._waking = False
        return called

    def _watch(self) -> bool:
        """Look after the leader once; return False where its place is to be taken."""
        if self._leader is None:
            return False
        now = self._now()
        if self._in_place is None:
            following = min(self._queue.next_due(), self._look_at)
            self._watch_at = max(now, following) + GUARD
        else:
            self._watch_at = self._in_place + GUARD
            if self._watch_at <= now:  # it will not come back soon
                self._leader = self._in_place = None
                self._look_at = now  # the call may be one to warn of
                return False
        seconds = self._watch_at - now
        self._standby.wait(None if seconds == inf else min(seconds, self._longest_wait))
        return True
