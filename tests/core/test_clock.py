"""The clocks that timers read."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import List

import pytest

from tests.core.helpers import make_gateway, timers
from uun_iot_core import SYSTEM_CLOCK, Clock, ManualClock, RepeatTimer, on


def test_the_clock_of_the_system_is_monotonic_and_has_the_date() -> None:
    first = SYSTEM_CLOCK.monotonic()
    assert first <= time.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert abs(SYSTEM_CLOCK.time() - time.time()) < 5


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock(wall=1000)
    assert (clock.monotonic(), clock.time()) == (0, 1000)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (2.5, 1002.5)


def test_setting_the_wall_clock_leaves_monotonic_time() -> None:
    clock = ManualClock(wall=1000)
    clock.advance(5)
    clock.set_time(10)
    assert (clock.monotonic(), clock.time()) == (5, 10)
    clock.advance(1)
    assert (clock.monotonic(), clock.time()) == (6, 11)


@pytest.mark.parametrize("seconds", [-1, -1e-9, float("nan"), float("inf")])
def test_time_does_not_go_back(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match=">= 0"):
        clock.advance(seconds)
    assert clock.monotonic() == 0


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_jump_is_of_a_finite_time_to_come(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match=">= 0"):
        clock.jump(seconds)
    assert clock.monotonic() == 0


def test_both_are_clocks_and_each_has_timers_of_its_own() -> None:
    one, two = ManualClock(), ManualClock()
    assert isinstance(one, Clock)
    ticks = []
    timer = RepeatTimer(1, lambda: ticks.append(1), clock=one)
    timer.start()
    two.advance(10)
    assert ticks == []
    one.advance(1)
    assert ticks == [1, 1]
    timer.stop()


@pytest.mark.skipif(os.name != "posix", reason="the signals are those of POSIX")
def test_ctrl_c_ends_an_advance_also_within_a_handler(tmp_path: Path) -> None:
    class Module:
        id = "module"
        calls = 0

        @on("tick")
        def tick(self) -> None:
            self.calls += 1
            if self.calls == 3:
                signal.raise_signal(signal.SIGINT)

    clock, module = ManualClock(), Module()
    plain: List[float] = []
    timer = RepeatTimer(1, lambda: plain.append(clock.monotonic()), clock=clock)
    timer.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with make_gateway(tmp_path, timers(module=1), module, clock=clock) as gateway:
            with pytest.raises(KeyboardInterrupt):
                clock.advance(40)
            assert (module.calls, clock.monotonic()) == (3, 2)
            clock.advance(3)  # and nothing is left half done
            assert module.calls == 6
            assert [one.failures for one in gateway.timer_stats()] == [1]
    finally:
        signal.signal(signal.SIGINT, before)
    timer.stop()
    assert plain == [0, 1, 2, 3, 4, 5]
