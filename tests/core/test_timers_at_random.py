"""Timers on the system's clock and in real threads, under any sequence of what is done to them."""

from __future__ import annotations

import threading
import time
from typing import List, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.helpers import SOON
from uun_iot_core import RepeatTimer

TIMERS = 3

milliseconds = st.integers(1, 12).map(lambda number: number / 1000)
steps = st.one_of(
    st.tuples(st.just("start"), st.integers(0, TIMERS - 1), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, TIMERS - 1), st.booleans()),
    st.tuples(st.just("period"), st.integers(0, TIMERS - 1), milliseconds),
    st.tuples(st.just("duration"), st.integers(0, TIMERS - 1), st.just(0.0) | milliseconds),
    st.tuples(st.just("wait"), st.just(0), milliseconds),
)


class Watched:
    """A timer that notes what must not happen to it."""

    def __init__(self) -> None:
        self.timer = RepeatTimer(0.003, self.call)
        self.inside = threading.Lock()
        self.may_run = False
        self.called = threading.Event()
        self.duration = 0.0
        self.faults: List[str] = []
        self.begun = 0.0
        self.counted = 0  # calls and missed ticks up to the first one of this start

    def call(self) -> None:
        if not self.inside.acquire(blocking=False):
            self.faults.append("a call overlaps another")
            return
        if not self.may_run:
            self.faults.append("a call comes after stop(block=True)")
        self.called.set()
        time.sleep(self.duration)
        self.inside.release()

    def start(self, runonstart: bool) -> None:
        if self.timer.running:
            return
        self.timer.stop()  # what an earlier stop(block=False) has left running
        self.timer.runonstart = runonstart
        stats = self.timer.stats()
        self.counted = stats.calls + stats.missed + runonstart
        self.may_run = True
        self.begun = time.monotonic()
        self.timer.start()

    def stop(self, block: bool) -> None:
        ran = self.timer.running
        self.timer.stop(block)
        ended = time.monotonic()
        if not block:
            return
        if self.inside.locked():
            self.faults.append("a call runs when stop(block=True) has returned")
        self.may_run = False
        stats = self.timer.stats()
        counted = stats.calls + stats.missed - self.counted
        # what was due while it stopped may have been called, or not
        if ran and counted > (ended - self.begun) / self.timer.period:
            self.faults.append(f"{counted} ticks in {ended - self.begun:.4f} s")


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=5, max_size=40))
def test_no_sequence_makes_calls_overlap_or_follow_a_stop_or_come_too_often(
    sequence: List[Tuple[str, int, float]],
) -> None:
    watched = [Watched() for _ in range(TIMERS)]
    try:
        for step, number, value in sequence:
            one = watched[number]
            if step == "start":
                one.start(bool(value))
            elif step == "stop":
                one.stop(bool(value))
            elif step == "period" and not one.timer.running:
                one.timer.period = value
            elif step == "duration":
                one.duration = value
            elif step == "wait":
                time.sleep(value)
        for one in watched:  # and whatever was done to them, they tick
            one.stop(True)
            one.called.clear()
            one.start(True)
            assert one.called.wait(SOON)
    finally:
        for one in watched:
            one.stop(True)
    time.sleep(0.005)  # nothing may come: there is nothing to wait for
    assert [one.faults for one in watched] == [[], [], []]
