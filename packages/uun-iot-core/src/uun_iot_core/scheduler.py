"""The one place that decides when: a heap of due calls and the threads that serve it.

Leader and followers: one thread, the leader, waits for the earliest due call. When it is
due, the leader calls up another thread to wait in its place and runs the handler itself.
Threads exist only while timers are started: one that waits, one for each handler that runs
at the same moment, and a small reserve. There is no upper bound, since with one the slow
handlers would starve the others.

To call up a thread at each tick costs more than a short handler does. So one of the idle
threads, the deputy, sleeps until the moment at which it is needed if the leader's next call
never ends, and the leader stays the leader while it runs the handler. If that has not come
back by then, the deputy takes over. If it has, the two change places: so a tick wakes one
thread. Where something is due while the handler may still run, a thread is called up first,
unless the calls of the timer were short lately.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from math import inf
from typing import (
    Any,
    Callable,
    ContextManager,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
)

from .bell import Bell
from .clock import Clock, ManualClock
from .due_queue import DueQueue
from .logs import get_logger
from .series import SHORTEST_PERIOD, Series, Slot, nothing
from .signals import interruption_waits, is_ctrl_c
from .timer_stats import stack_of

__all__ = ["Scheduler"]

logger = get_logger(__name__)

#: idle threads kept ready beside the deputy; others leave
RESERVE = 1
#: seconds after which such a thread leaves
IDLE_SECONDS = 30.0
#: seconds by which a handler may hold up others that runs for longer than it used to
GUARD = 0.01
#: seconds by which a call may be late before more than one thread runs what is due
LATE = 0.003
#: seconds by which the deputy may come later than the leader would, to take its place
CLOSE = 1e-5
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
        # of more than one turn, since garbage collection may call `stop` in a `__del__` anywhere
        self.lock = threading.RLock()
        self._queue = DueQueue()
        self._live: Set[Series] = set()  # started and not cancelled
        self._running: Set[Slot] = set()
        self._returning: Set[Slot] = set()  # of them, those that are done but for the lock
        self._look_at = inf  # when the earliest call that runs may be one to warn of
        self._leader: Optional[Bell] = None
        self._in_place: Optional[Series] = None  # whose call the leader runs
        self._deputy: Optional[Bell] = None
        self._watch_at = inf  # when the deputy looks after the leader
        self._waking = False  # a thread has been called up and has not come yet
        self._spares: List[Bell] = []  # of the other idle threads
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
        if self._in_place is not None and self._deputy is None:
            # what the leader runs was all there was, and is stopped: nobody looks after it
            look_at = self._in_place.slot.record.warn_when(self._in_place.period)
            self._look_at = min(self._look_at, look_at)
            self._leader = self._in_place = None
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
        record = series.slot.record
        record.warned = 0  # what was said was said of another period
        if series.slot.running is series:
            self._look_at = min(self._look_at, record.warn_when(series.period))
            self._hasten(self._look_at)
        series.origin = self._now() - shift
        # after a call that runs, or that waits for one of an earlier start, one step is made
        series.k = 0 if series.entry is None else 1
        if series.entry is not None:
            self._queue.withdraw(series)
            self._push(series, series.due)

    def locked(self) -> ContextManager[Any]:
        """Return a context manager that holds the lock, for what Ctrl-C may cut."""
        # before 3.10 Ctrl-C may come out of `with` itself, and leave the lock held
        return self.lock if sys.version_info >= (3, 10) else _uncut(self.lock)

    def is_held_here(self) -> bool:
        """Return whether this thread holds the lock: then it can wait for nobody."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]  # as Condition does

    def end_of_call(self, slot: Slot) -> threading.Lock:
        """Return a lock that may be had when the timer's call that runs now has ended.

        It may be had at once where none has begun, and in the call itself. A call of a later start
        is not waited for. The caller holds the lock of the scheduler, and lets go of it first: so
        Ctrl-C in the waiting cannot leave it in disorder, as it may in a `threading.Condition`.
        """
        ended = threading.Lock()
        if slot.running and slot.thread not in (None, threading.get_ident()):
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
            self._wake_all()

    def recover(self) -> None:
        """Let all threads look again, after Ctrl-C in a change; the caller holds the lock."""
        self._waking = False  # who was called up comes, but perhaps nobody was
        self._wake_all()
        self._call_up()

    def _push(self, series: Series, due: float) -> None:
        if self._queue.push(series, due):
            self._hasten(due)

    def _hasten(self, due: float) -> None:
        """Wake whoever would come too late for what has become the next."""
        if self._leader is not None and self._leader.asleep:
            self._leader.ring()
        elif self._in_place is not None and self._deputy is not None:
            if due + GUARD < self._watch_at:
                self._deputy.ring()

    def _take(self, now: float) -> Optional[Series]:
        """Take the next series, which is due; None where it has to wait for a call."""
        series = self._queue.pop(now)
        if series is None:
            return None
        slot = series.slot
        if slot.running is not None:
            slot.waiting = series  # the call of an earlier start still runs
            return None
        slot.running = series
        self._running.add(slot)
        slot.record.begin(series.origin + series.k * series.period, now)
        return series

    def _run(self, series: Series, bell: Optional[Bell]) -> float:
        """Run a call with the lock released, queue what follows, and return when that was.

        Args:
            series: whose.
            bell: of the scheduler's thread that runs it.
        """
        slot = series.slot
        slot.thread = threading.get_ident()
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
            try:
                now = self._now()
            except Exception:  # a clock of the application that fails
                now = slot.record.began or 0.0
            self._running.discard(slot)
            if not self._running:
                self._look_at = inf
            if slot.record.end(now, series.period, failure):
                # before the call counts as ended: who stops the timer may rely on the log
                warning = slot.record.warning(series.name, series.period, now)
                if warning is not None:
                    self._say([(warning, None)])
                    now = self._now()
            slot.running = slot.thread = None
            if not series.cancelled:
                following = series.step(now)
                if self._queue.push(series, following) and self._leader is not bell:
                    self._hasten(following)
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
        said: List[Tuple[str, Optional[int]]] = []
        for slot in self._running:
            series = slot.running
            if series is None:
                continue
            record, period = slot.record, series.period
            warning = record.warning(series.name, period, now)
            if warning is not None:
                said.append((warning, slot.thread))
            self._look_at = min(self._look_at, record.warn_when(period))
        if said:
            self._hand_over()
            self._say(said)

    def _say(self, warnings: Sequence[Tuple[str, Optional[int]]]) -> None:
        """Log with the lock released, since the application's log may be slow.

        Args:
            warnings: each with the thread in which the call still runs, whose stack is shown.
        """
        self._call_up()  # where it was left to this thread to see that nobody leads
        self.lock.release()
        try:
            for warning, thread in warnings:
                at = "" if thread is None else f"; it is at\n{stack_of(thread)}"
                logger.warning("%s%s", warning, at)
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
                self._run(series, None)
        finally:
            self.lock.release()  # in a child that the handler has forked, another lock

    # -- threads --------------------------------------------------------------------------

    def _call_up(self) -> bool:
        """See to it that a thread leads, or will; return False where none can be had."""
        if not self._threaded or self._leader is not None or self._waking:
            return True
        bell = self._spares[-1] if self._spares else self._deputy
        if bell is not None:
            bell.ring()  # first: whom Ctrl-C leaves asleep here, nobody would wake
            self._waking = True
            if self._spares:
                self._spares.pop()
            else:
                self._dismiss_deputy()
            return True
        if self._returning:  # in a rush: the first of them will see that nobody leads
            return True
        # not a daemon where the thread that starts the timer is one
        thread = threading.Thread(target=self._work, name="uun_iot idle", daemon=False)
        self._threads += 1
        self._waking = True
        try:
            with interruption_waits():  # else a lock of the thread's may stay held
                # garbage collection may call `stop` in the new thread before that has started
                self.lock.release()
                try:
                    thread.start()
                finally:
                    self.lock.acquire()
        except BaseException as exc:
            if thread.ident is None:
                self._threads -= 1
                self._waking = False
            # a limit of threads or of memory, or the interpreter is shutting down
            if isinstance(exc, (RuntimeError, MemoryError)):
                return False
            raise
        return True

    def _hand_over(self) -> None:
        """Let another thread lead in place of this one."""
        self._leader = self._in_place = None
        self._call_up()

    def _wake_all(self) -> None:
        for bell in (self._leader, self._deputy, *self._spares):
            if bell is not None:
                bell.ring()

    def _work(self) -> None:
        """Lead and stand by in turn, until this thread is not needed."""
        bell, thread = Bell(), threading.current_thread()
        self.lock.acquire()
        try:
            self._waking = False
            while self._live:
                if self._leader is None or self._leader is bell:
                    self._lead(bell, thread)
                elif not self._stand_by(bell):
                    break
        finally:
            self._threads -= 1
            # where another thread has left that to it and all was stopped, or its clock has failed
            if self._leader is bell:
                self._leader = None
            if self._deputy is bell:
                self._dismiss_deputy()
            self.lock.release()  # in a child that a handler has forked, another lock

    def _lead(self, bell: Bell, thread: threading.Thread) -> None:
        """Wait for what comes due and run it, until another thread leads."""
        self._leader = bell
        try:
            now = self._now()
            while self._live and self._leader is bell:
                due = self._queue.next_due()
                if due > now:
                    if due > now + GUARD:  # else another call follows at once
                        thread.name = "uun_iot idle"
                    now = self._wait(bell, now, due)
                    continue
                series = self._take(now)
                if series is None:
                    continue
                if self._is_watched(series, due, now):
                    self._in_place = series
                else:
                    # also where nothing else is due: somebody must watch the call
                    look_at = series.slot.record.warn_when(series.period)
                    self._look_at = min(self._look_at, look_at)
                    self._hand_over()
                thread.name = series.thread_name
                now = self._run(series, bell)
                if self._leader is bell:
                    self._in_place = None
        finally:
            thread.name = "uun_iot idle"
            if self._leader is bell:
                self._leader = self._in_place = None

    def _wait(self, bell: Bell, now: float, due: float) -> float:
        """Sleep until something is due, or the bell rings, and return when; for the leader."""
        if now > self._look_at:
            self._look_at_running(now)
            return self._now()
        until = inf if due == inf else self._queue.wake_at()
        if self._look_at < until:
            until = self._look_at
        deputy = self._deputy
        if deputy is not None and deputy.asleep and now < self._watch_at <= until + CLOSE:
            self._leader = deputy  # it wakes up by then anyway
            self._dismiss_deputy()
            return now
        self._sleep(bell, until, now)
        return self._now()

    def _sleep(self, bell: Bell, until: float, now: float) -> bool:
        seconds = -1.0 if until == inf else min(max(until - now, 0.0), self._longest_wait)
        return bell.sleep(self.lock, seconds)

    def _stand_by(self, bell: Bell) -> bool:
        """Wait until this thread is to lead; return False where it is not needed."""
        if self._deputy is None:
            self._deputy = bell
            while self._live and self._deputy is bell:
                self._watch(bell)
            if self._deputy is bell:
                self._dismiss_deputy()
            elif self._leader is not bell:
                self._waking = False  # it has been called up
            return True
        if len(self._spares) >= RESERVE:
            return False
        self._spares.append(bell)
        rung = bell.sleep(self.lock, IDLE_SECONDS)
        if bell not in self._spares:  # called up, perhaps when the time was over
            self._waking = False
            return True
        self._spares.remove(bell)
        return rung

    # -- the deputy -------------------------------------------------------------------------

    def _watch(self, bell: Bell) -> None:
        """Sleep until the leader may be stuck; take its place if it is."""
        now = self._now()
        at = self._needed_at(now)
        if self._leader is None or at <= now:
            self._leader, self._in_place = bell, None
            self._dismiss_deputy()
            self._look_at = now  # the call that is stuck may be one to warn of
            return
        self._watch_at = at
        self._sleep(bell, at, now)

    def _needed_at(self, now: float) -> float:
        """Return when the leader's present call, or else its next one, holds up others."""
        due = self._queue.next_due()
        if self._in_place is not None:
            record = self._in_place.slot.record
            began = record.began or 0.0
            stuck = min(due, self._look_at, began + self._in_place.period)
            return stuck if record.wary else max(stuck, began + GUARD)
        if due == inf:
            return inf
        stuck = self._queue.due_if_stuck()
        if due < self._look_at < stuck:
            stuck = self._look_at
        return max(stuck, max(now, due) + GUARD)

    def _is_watched(self, series: Series, due: float, now: float) -> bool:
        """Return whether the deputy comes in time, were the call that begins never to end."""
        at = self._watch_at
        short = series.slot.record.wary == 0 and now < due + LATE
        if short and now - GUARD <= at <= now + GUARD:
            return True
        needed = min(self._queue.next_due(), self._look_at, now + series.period)
        return now < at <= needed + (GUARD if short else CLOSE)

    def _dismiss_deputy(self) -> None:
        self._deputy, self._watch_at = None, inf


@contextlib.contextmanager
def _uncut(lock: threading.RLock) -> Iterator[None]:
    with interruption_waits(), lock:
        yield
