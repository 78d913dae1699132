"""Timers against a plain model, under any sequence of what an application can do to them."""

from __future__ import annotations

from typing import List, Optional, Tuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from uun_iot_core import ManualClock, RepeatTimer

#: seconds in a unit of the model's time; a power of two, so that sums are exact
UNIT = 0.25
TIMERS = 3

which = st.integers(0, TIMERS - 1)
durations = st.one_of(st.just(0), st.integers(0, 12))


class ModelTimer:
    """What the documentation says of a timer, in whole units."""

    def __init__(self, period: int) -> None:
        self.period = period
        self.runonstart = True
        self.starts = 0
        self.started = False
        self.busy = False
        self.waiting = False
        self.next = 0
        self.queued: Optional[Tuple[int, int]] = None  # when, and its place in the queue
        self.missed = 0
        self.calls: List[int] = []
        self.lateness: List[int] = []  # of each call; what has no cause would be seen in it
        self.overruns = 0
        self.duration = 0
        self.plan = ""


class Model:
    """Time and timers; a call that takes long lets the others run inside it."""

    def __init__(self) -> None:
        self.now = 0
        self.places = 0
        self.timers = [ModelTimer(period) for period in (1, 4, 10)]

    def queue(self, timer: ModelTimer, when: int) -> None:
        self.places += 1
        timer.queued = (when, self.places)

    def start(self, timer: ModelTimer) -> None:
        timer.starts += 1
        timer.started = True
        timer.next = self.now + (0 if timer.runonstart else timer.period)
        self.queue(timer, timer.next)

    def stop(self, timer: ModelTimer) -> None:
        timer.started = timer.waiting = False
        timer.queued = None

    def advance(self, units: int) -> None:
        end = self.now + units
        while True:
            queue = sorted((one.queued, one) for one in self.timers if one.queued is not None)
            if not queue or queue[0][0][0] > end:
                break
            (when, _), timer = queue[0]
            self.now = max(self.now, when)
            timer.queued = None
            if timer.busy:
                timer.waiting = True
            else:
                self.call(timer)
        self.now = max(self.now, end)

    def call(self, timer: ModelTimer) -> None:
        start = timer.starts
        timer.busy = True
        timer.calls.append(self.now)
        timer.lateness.append(self.now - timer.next)
        begin, period = self.now, timer.period
        plan, timer.plan = timer.plan, ""
        if plan:
            self.stop(timer)
        if plan == "restart":
            self.start(timer)
        self.advance(timer.duration)
        timer.busy = False
        timer.overruns += self.now - begin > period
        if timer.started and timer.starts == start:
            timer.next += timer.period
            while timer.next < self.now:
                timer.next += timer.period
                timer.missed += 1
            self.queue(timer, timer.next)
        if timer.waiting:
            timer.waiting = False
            self.queue(timer, self.now)


class Timers(RuleBasedStateMachine):
    """Real timers on a manual clock, and the model beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.clock = ManualClock()
        self.calls: List[List[float]] = [[] for _ in range(TIMERS)]
        self.durations = [0] * TIMERS
        self.plans = [""] * TIMERS
        self.timers = [
            RepeatTimer(one.period * UNIT, self.handler, [number], clock=self.clock)
            for number, one in enumerate(self.model.timers)
        ]

    def handler(self, number: int) -> None:
        self.calls[number].append(self.clock.monotonic())
        plan, self.plans[number] = self.plans[number], ""
        if plan:
            self.timers[number].stop()
        if plan == "restart":
            self.timers[number].start()
        self.clock.advance(self.durations[number] * UNIT)

    @rule(number=which)
    def start(self, number: int) -> None:
        if self.model.timers[number].started:
            with pytest.raises(RuntimeError):
                self.timers[number].start()
        else:
            self.model.start(self.model.timers[number])
            self.timers[number].start()

    @rule(number=which, block=st.booleans())
    def stop(self, number: int, block: bool) -> None:
        self.model.stop(self.model.timers[number])
        self.timers[number].stop(block)

    @rule(number=which, period=st.integers(1, 20))
    def set_period(self, number: int, period: int) -> None:
        if self.model.timers[number].started:
            with pytest.raises(RuntimeError):
                self.timers[number].period = period * UNIT
        else:
            self.model.timers[number].period = period
            self.timers[number].period = period * UNIT

    @rule(number=which, runonstart=st.booleans())
    def set_runonstart(self, number: int, runonstart: bool) -> None:
        if self.model.timers[number].started:
            with pytest.raises(RuntimeError):
                self.timers[number].runonstart = runonstart
        else:
            self.model.timers[number].runonstart = runonstart
            self.timers[number].runonstart = runonstart

    @rule(number=which, duration=durations)
    def handlers_take(self, number: int, duration: int) -> None:
        self.model.timers[number].duration = self.durations[number] = duration

    @precondition(lambda self: any(one.started for one in self.model.timers))
    @rule(number=which, plan=st.sampled_from(["stop", "restart"]))
    def the_next_call_does(self, number: int, plan: str) -> None:
        self.model.timers[number].plan = self.plans[number] = plan

    @rule(units=st.integers(0, 40))
    def advance(self, units: int) -> None:
        self.model.advance(units)
        self.clock.advance(units * UNIT)

    @rule(units=st.integers(1, 60))
    def the_device_sleeps(self, units: int) -> None:
        self.model.now += units
        self.model.advance(0)
        self.clock.jump(units * UNIT)

    @rule(wall=st.floats(0, 4e9))
    def the_wall_clock_is_set(self, wall: float) -> None:
        self.clock.set_time(wall)

    @invariant()
    def both_agree(self) -> None:
        assert self.clock.monotonic() == self.model.now * UNIT
        for number, expected in enumerate(self.model.timers):
            assert self.calls[number] == [when * UNIT for when in expected.calls]
            stats = self.timers[number].stats()
            assert stats.calls == len(expected.calls)
            assert stats.overruns == expected.overruns
            assert stats.max_lateness == max([0, *expected.lateness]) * UNIT
            assert stats.lateness == (expected.lateness[-1] * UNIT if expected.calls else None)
            assert self.timers[number].missed == expected.missed
            assert self.timers[number].running == expected.started
            assert self.timers[number].period == expected.period * UNIT


TestTimers = Timers.TestCase
TestTimers.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@pytest.mark.slow
@pytest.mark.long
def test_many_more_and_longer_sequences() -> None:
    run_state_machine_as_test(
        Timers, settings=settings(max_examples=2_000, stateful_step_count=60, deadline=None)
    )
