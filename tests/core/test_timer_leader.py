"""Which thread runs a call: the one that waited for it, or another while that waits on."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Callable, Iterator, List

import pytest

from tests.core.helpers import SOON, in_thread, joined, library_threads, messages
from tests.core.test_timer_threads import Blocking, Counting
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core import ManualClock, RepeatTimer
from uun_iot_core.scheduler import GUARD


class LaterBlocking(Counting):
    """A timer's function that comes back until it is told to block.

    Args:
        takes: seconds that it takes until then.
    """

    def __init__(self, takes: float = 0.0) -> None:
        super().__init__()
        self.block = False
        self.blocking = Blocking()
        self._takes = takes

    def __call__(self) -> None:
        super().__call__()
        if self._takes:
            time.sleep(self._takes)
        if self.block:
            self.blocking()


class SlowLog(logging.Handler):
    """A log that takes a record when it is let go."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.taken: List[str] = []
        self.told_of_hung = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.asked.set()
        assert self.let_go.wait(SOON)
        self.taken.append(record.getMessage())
        if "tick hung has run for" in self.taken[-1]:
            self.told_of_hung.set()


@contextmanager
def slow_log() -> Iterator[SlowLog]:
    log = SlowLog()
    logging.getLogger("uun_iot").addHandler(log)
    try:
        yield log
    finally:
        log.let_go.set()
        logging.getLogger("uun_iot").removeHandler(log)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
@pytest.mark.parametrize(
    ("periods", "takes"),
    [
        ([0.01], 0.0),
        ([0.1], 0.0),
        ([0.1], 0.005),  # its own sleep is one more
    ],
)
def test_nothing_wakes_up_but_for_a_tick(periods: List[float], takes: float) -> None:
    script = f"""
import resource, threading, time
from uun_iot_core import RepeatTimer
periods, takes = {periods}, {takes}
count, switches, least = 0, 0, 100.0
enough = threading.Event()
def tick():
    global count
    count += 1
    if takes:
        time.sleep(takes)
def first():
    global count, switches, least
    tick()
    if count >= 30:  # what else the machine does wakes nobody for good: the calmest stretch counts
        now = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        least = min(least, (now - switches) / count)
        count, switches = 0, now
        if least <= 1.1 + (takes > 0):
            enough.set()
timers = [RepeatTimer(period, tick) for period in periods]
timers[0]._f = first
for timer in timers:
    timer.start()
enough.wait(30)
print(least)
for timer in timers:
    timer.stop()
"""
    with Child.python(script) as child:
        assert child.wait(60) == 0, child.errors
        assert 0 < float(child.lines[0]) <= 1.1 + (takes > 0)


@pytest.mark.parametrize("takes", [0.0, 0.004])  # short, and too long to be trusted
@pytest.mark.parametrize("others", [0, 3, 40])
def test_a_call_that_always_came_back_and_blocks_holds_up_no_other(
    others: int, takes: float
) -> None:
    suspects = [LaterBlocking(takes) for _ in range(1 + others)]
    steady = Counting()
    timers = [*(RepeatTimer(0.01, one) for one in suspects), RepeatTimer(0.01, steady)]
    for timer in timers:
        timer.start()
    suspects[0].wait_for(30)
    for one in suspects:
        one.block = True
    for one in suspects:
        assert one.blocking.begun.wait(SOON)
    steady.wait_for(30)
    for one in suspects:
        one.blocking.let_go.set()
    for timer in timers:
        timer.stop()
    assert all(one.blocking.ended.is_set() for one in suspects)


def test_a_lone_call_that_was_always_short_and_hangs_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    suspect = LaterBlocking()
    timer = RepeatTimer(0.02, suspect, name="tick suspect")
    timer.start()
    suspect.wait_for(20)
    suspect.block = True
    assert suspect.blocking.begun.wait(SOON)
    assert eventually(lambda: messages(caplog, logging.WARNING) != [])
    assert not suspect.blocking.ended.is_set()
    suspect.blocking.let_go.set()
    timer.stop()
    assert "in __call__" in messages(caplog, logging.WARNING)[0]


def test_a_timer_that_is_started_while_a_call_blocks_ticks() -> None:
    suspect, late = LaterBlocking(), Counting()
    timer, other = RepeatTimer(0.01, suspect), RepeatTimer(60, late)
    timer.start()
    suspect.wait_for(20)
    suspect.block = True
    assert suspect.blocking.begun.wait(SOON)
    other.start()
    late.wait_for(1 - late.calls)
    suspect.blocking.let_go.set()
    timer.stop()
    other.stop()


def least(figure: Callable[[], float], enough: float) -> float:
    """Measure until it is little enough, or often: what else the machine does only adds to it."""
    found = inf
    for _ in range(20):
        found = min(found, figure())
        if found <= enough:
            break
    return found


def test_a_call_that_was_always_short_and_blocks_holds_up_another_by_a_moment_only() -> None:
    def held_up() -> float:
        suspect = LaterBlocking()
        seen: List[float] = []
        timers = [RepeatTimer(0.05, suspect), RepeatTimer(0.05, lambda: seen.append(monotonic()))]
        for timer in timers:
            timer.start()  # at one moment, so the first runs in the thread that waited for both
        suspect.wait_for(15)
        suspect.block = True
        assert suspect.blocking.begun.wait(SOON)
        begun = monotonic()
        assert eventually(lambda: seen[-1] > begun, interval=0.001)
        after = next(moment for moment in seen if moment > begun) - begun
        suspect.blocking.let_go.set()
        for timer in timers:
            timer.stop()
        return after

    assert least(held_up, enough=2 * GUARD) <= 2 * GUARD


def test_in_a_rush_short_calls_that_wait_for_a_device_do_not_queue_up() -> None:
    number, takes = 120, 0.0003

    def late() -> float:
        rounds = Counting()

        def ask_a_sensor() -> None:
            time.sleep(takes)  # the time that a bus takes, and still a short call
            rounds()

        timers = [RepeatTimer(0.3, ask_a_sensor) for _ in range(number)]
        for timer in timers:
            timer.start()
        rounds.wait_for(number * 13)
        for timer in timers:
            timer.stop()
        return max(timer.stats().lateness or 0.0 for timer in timers)

    alone = number * takes  # where one thread makes them one by one
    assert least(late, enough=alone / 2) <= alone / 2


def test_where_no_memory_is_left_for_a_thread_the_timers_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    refused = threading.Event()

    def no_memory(thread: threading.Thread) -> None:
        if thread.name.startswith("uun_iot") and not refused.is_set() and armed:
            refused.set()
            raise MemoryError
        start(thread)

    armed: List[bool] = []
    monkeypatch.setattr(threading.Thread, "start", no_memory)
    slow = [LaterBlocking(0.005) for _ in range(6)]
    timers = [RepeatTimer(0.02, one) for one in slow]
    timers[0].start()
    slow[0].wait_for(2)
    armed.append(True)
    for timer in timers[1:]:
        timer.start()
    assert refused.wait(SOON)
    for one in slow:
        one.wait_for(3)
    for timer in timers:
        timer.stop()


@pytest.mark.parametrize("how", ["start", "rearm"])
def test_what_comes_due_while_a_lone_call_blocks_waits_for_no_tick_of_that(how: str) -> None:
    suspect, late = LaterBlocking(), Counting()
    period = 2.0
    timer, other = RepeatTimer(period, suspect), RepeatTimer(60, late, runonstart=False)
    if how == "rearm":
        other.start()
    timer.start()
    suspect.wait_for(1 - suspect.calls)
    suspect.block = True
    assert suspect.blocking.begun.wait(SOON)  # in the thread that waited for it
    begun = time.monotonic()
    if how == "rearm":
        other._rearm(0.01)
    else:
        other.period = 0.01
        other.start()
    late.wait_for(1)
    taken = time.monotonic() - begun
    suspect.blocking.let_go.set()
    timer.stop()
    other.stop()
    assert taken < period / 2  # the deputy had meant to look after the call a period later


def test_a_timer_that_is_started_when_the_one_whose_call_blocks_is_stopped_ticks() -> None:
    suspect, late = LaterBlocking(), Counting()
    timer, other = RepeatTimer(0.05, suspect), RepeatTimer(60, late)
    timer.start()
    suspect.wait_for(20)
    suspect.block = True
    assert suspect.blocking.begun.wait(SOON)
    timer.stop(block=False)
    assert eventually(lambda: len(library_threads()) == 1)  # the deputy is not needed, and gone
    other.start()
    late.wait_for(1 - late.calls)
    assert timer.stats().running_for is not None  # it has not waited for the end of that call
    suspect.blocking.let_go.set()
    timer.stop()
    other.stop()


def test_short_calls_that_wait_for_a_device_are_made_side_by_side() -> None:
    threads = set()
    rounds = Counting()

    def ask_a_sensor() -> None:
        threads.add(threading.get_ident())
        time.sleep(0.0003)  # the time that a bus takes
        rounds()

    timers = [RepeatTimer(0.2, ask_a_sensor) for _ in range(60)]
    for timer in timers:
        timer.start()
    rounds.wait_for(60 * 3)
    threads.clear()
    rounds.wait_for(60 * 3)
    for timer in timers:
        timer.stop()
    assert len(threads) > 1


def test_a_log_that_takes_long_holds_up_no_timer() -> None:
    hung, steady = Blocking(), Counting()
    timers = [RepeatTimer(0.05, hung, name="tick hung"), RepeatTimer(0.01, steady)]
    with slow_log() as log:
        for timer in timers:
            timer.start()
        try:
            assert log.asked.wait(SOON)
            steady.wait_for(30)
            log.let_go.set()
            assert log.told_of_hung.wait(SOON), log.taken
        finally:
            log.let_go.set()
            hung.let_go.set()
            for timer in timers:
                timer.stop()


def test_what_a_call_is_warned_of_is_in_the_log_when_stop_returns() -> None:
    clock = ManualClock()  # no other thread that might say it first
    timer = RepeatTimer(1, lambda: clock.advance(1.5), clock=clock, name="tick slow")
    timer.start()
    with slow_log() as log:
        ticking = in_thread(lambda: clock.advance(0))
        assert log.asked.wait(SOON)
        stopping = in_thread(timer.stop)
        stopping.join(0.1)
        assert stopping.is_alive()
        log.let_go.set()
        joined(stopping)
        assert "tick slow has run for" in log.taken[0]
        joined(ticking)


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="another user is what is limited"
)
def test_where_no_more_threads_can_be_had_the_timers_share_those_there_are() -> None:
    script = """
import logging, os, resource, threading, time
from uun_iot_core import RepeatTimer
calls, enough = [0] * 6, threading.Event()
def tick(number):
    time.sleep(0.02)  # not short: else one thread would do
    calls[number] += 1
    if min(calls) >= 3:
        enough.set()
timers = [RepeatTimer(0.2, tick, [number]) for number in range(6)]
timers[0].start()
while calls[0] < 2:
    time.sleep(0.01)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print("no thread any more")
for timer in timers[1:]:
    timer.start()
assert enough.wait(20), calls
for timer in timers:
    timer.stop()
while threading.active_count() > 1:
    time.sleep(0.01)
try:
    timers[0].start()
except RuntimeError as exc:
    print(exc)
assert not timers[0].running
"""
    with Child.python(script) as child:
        assert child.wait(40) == 0, child.errors
        assert child.lines == [
            "no thread any more",
            "timer tick: no thread can be started for its timer",
        ]
        assert child.errors == []
