"""Timers on the system's clock: threads, waiting, processes."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from typing import Any, Callable, List

import pytest

from tests.core.helpers import SOON, in_thread, joined, library_threads, records
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core import SYSTEM_CLOCK, Clock, RepeatTimer, scheduler
from uun_iot_core.schedulers import scheduler_of


class Blocking:
    """A timer's function that begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.ended = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        assert self.let_go.wait(SOON)
        self.ended.set()


class Counting:
    """A timer's function that lets the test wait for a number of calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.calls += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        """Wait for so many further calls."""
        with self._changed:
            wanted = self.calls + more
            assert self._changed.wait_for(lambda: self.calls >= wanted, SOON)


# -- calls ---------------------------------------------------------------------------------------


def test_a_timer_calls_at_once_and_again_and_again() -> None:
    calls = Counting()
    timer = RepeatTimer(0.01, calls)
    timer.start()
    calls.wait_for(5)
    timer.stop()
    after = calls.calls
    assert not threading.Event().wait(0.05)
    assert calls.calls == after


def test_calls_and_missed_ticks_together_keep_the_rate() -> None:
    calls = Counting()

    def slow() -> None:
        calls()
        time.sleep(0.013)  # longer than the period

    timer = RepeatTimer(0.01, slow)
    before = time.monotonic()
    timer.start()
    after = time.monotonic()
    calls.wait_for(20)
    asked = time.monotonic()
    timer.stop()
    ended = time.monotonic()
    stats = timer.stats()
    assert stats.missed >= 10
    assert stats.lateness is not None and stats.duration is not None
    # a tick that comes due while the last call is late or runs is neither called nor missed
    counted_until = asked - stats.lateness - stats.duration
    assert (counted_until - after) / 0.01 - 1 <= stats.calls + stats.missed
    assert stats.calls + stats.missed <= (ended - before) / 0.01 + 1


def test_the_wall_clock_is_not_read_for_periods() -> None:
    class Jumping(Clock):
        def time(self) -> float:
            return random.uniform(0, 4e9)

    calls = Counting()
    timer = RepeatTimer(0.01, calls, clock=Jumping())
    timer.start()
    calls.wait_for(5)
    timer.stop()
    assert calls.calls < 1000


def test_a_clock_that_counts_sleep_calls_soon_after_the_device_wakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "LONGEST_WAIT", 0.05)

    class Boottime(Clock):
        slept = 0.0

        def monotonic(self) -> float:
            return time.monotonic() + self.slept

    calls = Counting()
    clock = Boottime()
    timer = RepeatTimer(3600, calls, clock=clock)
    timer.start()
    try:
        calls.wait_for(1 - calls.calls)
        for hours in (1, 1, 1, 4):
            # else the device would sleep while the handler runs, and the tick be missed
            assert eventually(lambda: timer._running_thread() is None)
            clock.slept += hours * 3600
            calls.wait_for(1)
    finally:
        timer.stop()
    assert calls.calls == 5
    assert timer.missed == 3


def test_blocked_handlers_however_many_delay_no_other() -> None:
    blocked = [Blocking() for _ in range(40)]
    slow = [RepeatTimer(0.01, one) for one in blocked]
    calls = Counting()
    quick = RepeatTimer(0.01, calls)
    for timer in slow:
        timer.start()
    for one in blocked:
        assert one.begun.wait(SOON)
    quick.start()
    calls.wait_for(10)
    late = RepeatTimer(0.01, Counting())
    late.start()
    for one in blocked:
        one.let_go.set()
    for timer in [*slow, quick, late]:
        timer.stop()
    assert all(one.ended.is_set() for one in blocked)


@pytest.mark.parametrize(("number", "period", "most"), [(1_000, 0.3, 8), (10_000, 1.0, 40)])
def test_thousands_of_timers_need_few_threads(number: int, period: float, most: int) -> None:
    calls = [0] * number
    threads: List[int] = []

    def tick(place: int) -> None:
        calls[place] += 1

    timers = [RepeatTimer(period, tick, [place]) for place in range(number)]
    for timer in timers:
        timer.start()

    def each_called_three_times() -> bool:
        threads.append(len(library_threads()))
        return min(calls) >= 3

    assert eventually(each_called_three_times, timeout=3 * SOON, interval=0.001)
    for timer in timers:
        timer.stop()
    assert max(threads) <= most


def test_after_a_rush_only_a_few_threads_stay() -> None:
    calls = Counting()
    quick = RepeatTimer(0.01, calls)
    quick.start()
    blocked = [Blocking() for _ in range(30)]
    slow = [RepeatTimer(60, one) for one in blocked]
    for timer in slow:
        timer.start()
    for one in blocked:
        assert one.begun.wait(SOON)
    assert len(library_threads()) >= 30
    for one in blocked:
        one.let_go.set()
    assert eventually(lambda: len(library_threads()) <= 4, timeout=SOON)
    calls.wait_for(3)
    for timer in [*slow, quick]:
        timer.stop()


def test_threads_exist_only_while_a_timer_is_started() -> None:
    timer = RepeatTimer(60, Counting())
    assert library_threads() == []
    timer.start()
    assert eventually(lambda: 1 <= len(library_threads()) <= 2)
    timer.stop()
    assert eventually(lambda: not library_threads(), timeout=5)


def test_the_thread_of_a_call_has_the_name_of_its_timer() -> None:
    names: List[str] = []
    done = threading.Event()

    def note() -> None:
        names.append(threading.current_thread().name)
        done.set()

    timer = RepeatTimer(60, note, name="tick weather:send")
    timer.start()
    assert done.wait(SOON)
    timer.stop()
    assert names == ["uun_iot tick weather:send"]


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_is_logged_and_the_timer_goes_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Counting()

    def fail() -> None:
        calls()
        raise error

    timer = RepeatTimer(0.01, fail)
    timer.start()
    calls.wait_for(3)
    timer.stop()
    logged = records(caplog, logging.ERROR)
    assert len(logged) == calls.calls
    assert all(record.exc_info is not None and record.exc_info[1] is error for record in logged)


# -- stop ----------------------------------------------------------------------------------------


def test_stop_returns_when_the_running_call_has_ended_and_no_sooner() -> None:
    call = Blocking()
    timer = RepeatTimer(0.01, call)
    timer.start()
    assert call.begun.wait(SOON)
    seen: List[bool] = []

    def stop() -> None:
        timer.stop()
        seen.append(call.ended.is_set())

    stopping = in_thread(stop)
    stopping.join(0.1)
    assert stopping.is_alive()
    call.let_go.set()
    joined(stopping)
    assert seen == [True]
    assert call.calls == 1


def test_stop_without_block_returns_while_the_call_runs_and_none_follows() -> None:
    call = Blocking()
    timer = RepeatTimer(0.01, call)
    timer.start()
    assert call.begun.wait(SOON)
    timer.stop(block=False)
    assert not call.ended.is_set()
    assert not timer.running
    call.let_go.set()
    timer.stop()
    assert call.ended.is_set()
    assert not threading.Event().wait(0.05)
    assert call.calls == 1


def test_a_second_stop_waits_for_the_call_that_the_first_left_running() -> None:
    call = Blocking()
    timer = RepeatTimer(60, call)
    timer.start()
    assert call.begun.wait(SOON)
    timer.stop(block=False)
    waiting = [in_thread(timer.stop) for _ in range(3)]
    assert all(thread.is_alive() for thread in waiting)
    call.let_go.set()
    for thread in waiting:
        joined(thread)


def test_a_handler_that_stops_its_own_timer_does_not_wait_for_itself() -> None:
    done = threading.Event()
    calls: List[int] = []

    def handler() -> None:
        calls.append(1)
        timer.stop()
        done.set()

    timer = RepeatTimer(0.01, handler)
    timer.start()
    assert done.wait(SOON)
    timer.stop()
    assert not threading.Event().wait(0.05)
    assert calls == [1]


def test_a_start_while_the_earlier_call_runs_ticks_when_it_ends_without_overlap() -> None:
    call = Blocking()
    timer = RepeatTimer(60, call)
    timer.start()
    assert call.begun.wait(SOON)
    timer.stop(block=False)
    timer.start()
    assert not threading.Event().wait(0.05)
    assert call.calls == 1
    call.let_go.set()
    assert eventually(lambda: call.calls == 2)
    timer.stop()


def test_stop_does_not_wait_for_the_calls_of_a_later_start() -> None:
    begun, let_go = threading.Semaphore(0), threading.Semaphore(0)

    def block() -> None:
        begun.release()
        let_go.acquire()

    timer = RepeatTimer(60, block)
    timer.start()
    assert begun.acquire(timeout=SOON)
    # more than one, since who is quick enough to look between the two calls notices nothing
    stopping = [in_thread(timer.stop) for _ in range(4)]
    (slot,) = scheduler_of(SYSTEM_CLOCK)._running
    assert eventually(lambda: len(slot.ended) == len(stopping))
    timer.start()
    let_go.release()
    assert begun.acquire(timeout=SOON)
    for one in stopping:
        one.join(SOON / 4)
    late = [one for one in stopping if one.is_alive()]
    let_go.release()
    timer.stop()
    assert late == []


def test_starting_and_stopping_in_a_hurry_never_loses_a_timer() -> None:
    calls = Counting()
    timer = RepeatTimer(60, calls)
    for _ in range(300):
        before = calls.calls
        timer.start()
        assert eventually(lambda before=before: calls.calls > before, interval=0.0)  # type: ignore[misc]  # bound now
        timer.stop()


def stress(seconds: float, threads: int) -> None:
    """Start and stop timers at random; no call follows a blocking stop, and none overlaps."""
    faults: List[str] = []
    interval = sys.getswitchinterval()

    class Shared:
        def __init__(self) -> None:
            self.gate = threading.Lock()  # who holds it decides alone about this timer
            self.inside = 0
            self.calls = 0
            self.timer = RepeatTimer(random.uniform(0.0005, 0.003), self.call)

        def call(self) -> None:
            self.inside += 1
            if self.inside != 1:
                faults.append("overlap")
            self.calls += 1
            kind = random.random()
            if kind < 0.3:
                time.sleep(kind / 100)
            elif kind < 0.35:
                self.timer.stop()  # in its own handler
            elif kind < 0.4:
                self.inside -= 1
                raise ValueError("boom")
            self.inside -= 1

        def start(self) -> None:
            with self.gate:
                try:
                    self.timer.start()
                except RuntimeError:
                    pass

        def stop(self) -> None:
            with self.gate:
                self.timer.stop(block=False) if random.random() < 0.3 else None
                self.timer.stop()
                calls = self.calls
                if self.inside:
                    faults.append("a call runs after stop")
                time.sleep(random.uniform(0, 0.005))
                if self.calls != calls:
                    faults.append("a call came after stop")

    shared = [Shared() for _ in range(6)]
    steady = Counting()
    metronome = RepeatTimer(0.01, steady)

    def work() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            one = random.choice(shared)
            action: Callable[[], Any] = random.choice([one.start, one.start, one.stop])
            action()

    logging.getLogger("uun_iot").setLevel(logging.CRITICAL)
    sys.setswitchinterval(1e-5)
    try:
        metronome.start()
        workers = [in_thread(work) for _ in range(threads)]
        for worker in workers:
            worker.join(seconds + SOON)
            assert not worker.is_alive()
        for one in shared:
            one.stop()
        steady.wait_for(3)
        metronome.stop()
    finally:
        metronome.stop()
        sys.setswitchinterval(interval)
        logging.getLogger("uun_iot").setLevel(logging.NOTSET)
    assert faults == []
    assert sum(one.calls for one in shared) > 50


def test_no_call_follows_a_stop_and_none_overlaps_under_stress() -> None:
    stress(2, threads=4)


@pytest.mark.slow
@pytest.mark.long
def test_no_call_follows_a_stop_and_none_overlaps_under_long_stress() -> None:
    stress(20, threads=8)


# -- processes -----------------------------------------------------------------------------------


def test_a_process_whose_timers_are_stopped_ends_cleanly() -> None:
    script = """
import threading
from uun_iot_core import RepeatTimer
ticked = threading.Event()
timers = [RepeatTimer(0.01, ticked.set) for _ in range(10)]
for timer in timers: timer.start()
ticked.wait()
for timer in timers: timer.stop()
print("end of main", flush=True)
"""
    with Child.python(script) as child:
        assert child.wait() == 0
        assert child.lines == ["end of main"]
        assert child.errors == []


@pytest.mark.parametrize("stop", ["timer.stop()", "timer.stop(block=False)"])
def test_a_timer_keeps_the_process_alive_until_a_handler_stops_it(stop: str) -> None:
    script = f"""
import sys
from uun_iot_core import RepeatTimer
calls = []
def handler():
    calls.append(1)
    sys.stdout.write(f"call {{len(calls)}}\\n")  # at one stroke: main writes too
    if len(calls) == 5:
        {stop}
timer = RepeatTimer(0.02, handler)
timer.start()
sys.stdout.write("end of main\\n")
"""
    with Child.python(script) as child:
        assert child.wait() == 0
        assert child.lines[-1] == "call 5"
        assert "end of main" in child.lines
        assert child.errors == []


def test_a_forked_child_has_no_timer_running_and_may_start_its_own() -> None:
    script = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import RepeatTimer
pids = []
ticked, begun, let_go = threading.Event(), threading.Event(), threading.Event()
def tick():
    pids.append(os.getpid())
    ticked.set()
def block():
    begun.set()
    let_go.wait()
quick, slow, left = RepeatTimer(0.01, tick), RepeatTimer(60, block), RepeatTimer(60, block)
quick.start(); slow.start()
assert begun.wait(5)
begun.clear()
left.start()
assert begun.wait(5)
left.stop(block=False)  # stopped, and its call still runs when the process forks
pid = os.fork()
if pid == 0:
    let_go.set()
    del pids[:]
    assert not quick.running and not slow.running and not left.running
    ticked.clear()
    assert not ticked.wait(0.1)
    quick.stop(); slow.stop(); left.stop()  # nothing to wait for here
    quick.start()
    assert ticked.wait(5)
    begun.clear()
    left.start()
    assert begun.wait(5)
    left.stop()
    quick.stop()
    assert set(pids) == {os.getpid()}
    print("child fine", flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
ticked.clear()
assert ticked.wait(5)
let_go.set()
quick.stop(); slow.stop(); left.stop()
assert set(pids) == {os.getpid()}
print("parent fine", flush=True)
"""
    with Child.python(script) as child:
        assert child.wait(20) == 0, child.errors
        assert child.lines == ["child fine", "parent fine"]
        assert child.errors == []


def test_a_handler_may_fork_and_both_may_return_from_it() -> None:
    script = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import RepeatTimer
calls, children, done = [], [], threading.Event()
def handler():
    calls.append(1)
    if len(calls) == 3 and not children:
        children.append(os.fork())
        if children == [0]:
            assert timer.stats().running_for is not None  # it goes on here, too
            timer.start()  # its own, in a process that has no thread but this one
    if len(calls) == 6:
        timer.stop()
        who = "parent" if os.getpid() == parent else "child"
        os.write(1, f"{who} fine\\n".encode())
        done.set()
parent = os.getpid()
timer = RepeatTimer(0.01, handler)
timer.start()
done.wait()  # the child has no such thread
"""
    with Child.python(script) as child:
        assert child.wait(20) == 0, child.errors
        assert sorted(child.lines) == ["child fine", "parent fine"]
        assert child.errors == []


# Ctrl-C at random moments, all of which the main thread spends in starting and stopping
INTERRUPTED = """
import os, random, signal, sys, threading
from uun_iot_core import RepeatTimer
armed = False
def handler(number, frame):
    if armed:
        signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGALRM, handler)
for number in range(int(sys.argv[1])):
    timers = [RepeatTimer(0.01, lambda: None) for _ in range(3)]
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 3e-3))
        while True:
            for timer in timers:
                timer.start()
            for timer in timers:
                timer.stop()
    except KeyboardInterrupt:
        armed = False
    def others():
        for timer in timers:
            timer.stop()
        ticked = threading.Event()
        timer = RepeatTimer(0.01, ticked.set)
        timer.start()
        if ticked.wait(5):
            timer.stop()
            fine.append(number)
    fine = []
    thread = threading.Thread(target=others, daemon=True)
    thread.start()
    thread.join(20)
    if not fine:
        print("no timer ticks any more after interruption", number)
        os._exit(1)
print("fine")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals here")
@pytest.mark.parametrize(
    "rounds", [200, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_ctrl_c_where_timers_are_started_and_stopped_stops_no_other(rounds: int) -> None:
    with Child.python(INTERRUPTED, str(rounds)) as child:
        assert child.wait(120) == 0, child.lines
        assert child.lines == ["fine"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_what_a_forked_handler_starts_anew_in_the_child_does_not_overlap_it() -> None:
    script = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import RepeatTimer
inside = threading.Semaphore(1)
ticked = threading.Event()
def call():
    assert inside.acquire(blocking=False) or os.write(1, b"overlap\\n")
    if os.getpid() == parent and not forked:
        forked.append(os.fork())
        if forked[0] == 0:
            timer.start()
            time.sleep(0.3)  # for calls that must not come
    else:
        ticked.set()
        if os.getpid() != parent:
            timer.stop()
    inside.release()
parent, forked = os.getpid(), []
timer = RepeatTimer(0.01, call)
timer.start()
assert ticked.wait(10)
timer.stop()
if forked[0]:
    assert os.waitpid(forked[0], 0)[1] == 0
"""
    with Child.python(script) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == []


def test_a_handler_on_a_manual_clock_may_fork_too() -> None:
    script = """
import os
from uun_iot_core import ManualClock, RepeatTimer
calls, children, clock = [], [], ManualClock()
def handler():
    calls.append(1)
    if len(calls) == 3:
        children.append(os.fork())
timer = RepeatTimer(1, handler, clock=clock)
timer.start()
clock.advance(5)
if children == [0]:
    assert len(calls) == 3 and not timer.running
    timer.start()
    clock.advance(5)
else:
    assert os.waitpid(children[0], 0)[1] == 0
print(len(calls), flush=True)
"""
    with Child.python(script) as child:
        assert child.wait(20) == 0, child.errors
        assert child.lines == ["9", "6"]  # the child's, and the parent's
        assert child.errors == []


def test_a_child_forked_while_another_thread_is_busy_with_a_timer_may_use_it() -> None:
    script = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import Clock, RepeatTimer
inside, let_go, ticked = threading.Event(), threading.Event(), threading.Event()
class Slow(Clock):
    def monotonic(self):
        if threading.current_thread().name == "looking":
            inside.set()
            let_go.wait()
        return super().monotonic()
timer = RepeatTimer(60, ticked.set, clock=Slow())
looking = threading.Thread(target=timer.stats, name="looking")
looking.start()
assert inside.wait(5)
pid = os.fork()
if pid == 0:
    timer.start()
    assert ticked.wait(5)
    assert timer.stats().calls == 1
    timer.stop()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
let_go.set()
looking.join()
"""
    with Child.python(script) as child:
        assert child.wait(20) == 0, child.errors


@pytest.mark.parametrize("state", ["never started", "stopped", "running", "running, slow"])
def test_garbage_that_stops_its_timer_stops_no_other(state: str) -> None:
    program = f"""
import gc, sys, threading, time
from uun_iot_core import RepeatTimer
{"gc.set_threshold(15, 2, 2)" if state.startswith("running") else ""}
class Device:
    # in a cycle, so that only the garbage collection ends it: anywhere, also in the scheduler
    def __init__(self):
        self.me = self
        # where it is slow, threads are started, and garbage is collected while one starts
        self.timer = RepeatTimer(0.05, time.sleep, [{0.003 if "slow" in state else 0}])
        if {state != "never started"}:
            self.timer.start()
        if {state == "stopped"}:
            self.timer.stop()
    def __del__(self):
        self.timer.stop()
enough, calls = threading.Event(), 0
def tick():
    global calls
    calls += 1
    Device()
    if calls > 3000:
        enough.set()
timers = [RepeatTimer(0.001, tick) for _ in range(20)]
for timer in timers:
    timer.start()
print(enough.wait(60), flush=True)
for timer in timers:
    timer.stop()
gc.collect()
"""
    with Child([sys.executable, "-c", program]) as child:
        child.wait_for_line("True", 70)
        assert child.wait(20) == 0  # no timer is left


def test_a_timer_keeps_the_process_alive_also_where_a_daemon_has_started_the_first_one() -> None:
    program = """
import threading
from uun_iot_core import RepeatTimer
calls = 0
def tick():
    global calls
    calls += 1
    if calls == 5:
        print("fifth", flush=True)
        other.stop(), timer.stop()
other, timer = RepeatTimer(0.02, int), RepeatTimer(0.02, tick)
thread = threading.Thread(target=other.start, daemon=True)
thread.start()
thread.join()
timer.start()
"""
    with Child([sys.executable, "-c", program]) as child:
        assert child.wait(20) == 0
        assert child.lines == ["fifth"]
