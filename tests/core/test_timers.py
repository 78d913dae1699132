"""`RepeatTimer` on a clock that the test moves: when calls come, and when not."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Callable, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.helpers import records
from uun_iot_core import ManualClock, RepeatTimer


class Calls:
    """A timer's function: it notes when it is called, and takes as long as it is told."""

    def __init__(self, clock: ManualClock, *durations: float) -> None:
        self.clock = clock
        self.durations = list(durations)
        self.times: List[float] = []
        self.then: Optional[Callable[[], Any]] = None

    def __call__(self) -> None:
        self.times.append(self.clock.monotonic())
        if self.durations:
            self.clock.advance(self.durations.pop(0))
        if self.then is not None:
            self.then()


def test_the_first_call_comes_right_after_start_and_then_one_each_period() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(2, calls, clock=clock)
    clock.advance(10)
    assert calls.times == []
    timer.start()
    clock.advance(0)
    assert calls.times == [10]
    clock.advance(5.9)
    assert calls.times == [10, 12, 14]
    clock.advance(0.1)
    assert calls.times == [10, 12, 14, 16]


def test_without_runonstart_the_first_call_comes_one_period_later() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    RepeatTimer(2, calls, runonstart=False, clock=clock).start()
    clock.advance(4)
    assert calls.times == [2, 4]


def test_the_function_gets_the_arguments() -> None:
    clock = ManualClock()
    got: List[Any] = []

    def function(*args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))

    RepeatTimer(1, function, [1, "two"], {"three": 3}, clock=clock).start()
    clock.advance(1)
    assert got == [((1, "two"), {"three": 3})] * 2


def test_timers_do_not_share_the_default_arguments() -> None:
    clock = ManualClock()
    got: List[Any] = []
    args: List[Any] = ["mine"]
    timer = RepeatTimer(1, lambda *args: got.append(args), args, clock=clock)
    other = RepeatTimer(1, lambda *args: got.append(args), clock=clock)
    args.append("changed later")
    timer.start()
    other.start()
    clock.advance(0)
    assert got == [("mine",), ()]
    defaults = inspect.signature(RepeatTimer).parameters
    assert (defaults["args"].default, defaults["kwargs"].default) == ([], {})


# -- fixed rate ----------------------------------------------------------------------------------


def test_calls_are_due_from_the_start_not_from_the_end_of_the_call_before() -> None:
    clock = ManualClock()
    calls = Calls(clock, 1.5, 0.25, 1.75, 1)
    RepeatTimer(2, calls, clock=clock).start()
    clock.advance(8)
    assert calls.times == [0, 2, 4, 6, 8]


def test_ticks_missed_during_a_call_are_counted_and_dropped_and_the_phase_is_kept() -> None:
    clock = ManualClock()
    calls = Calls(clock, 5)
    timer = RepeatTimer(2, calls, clock=clock)
    timer.start()
    clock.advance(10)
    assert calls.times == [0, 6, 8, 10]
    assert timer.missed == 2


def test_a_tick_that_is_due_when_the_call_ends_is_not_missed() -> None:
    clock = ManualClock()
    calls = Calls(clock, 4)
    timer = RepeatTimer(2, calls, clock=clock)
    timer.start()
    clock.advance(6)
    assert calls.times == [0, 4, 6]
    assert timer.missed == 1


def test_a_handler_never_overlaps_itself() -> None:
    clock = ManualClock()
    inside: List[int] = []
    depth = [0]

    def handler() -> None:
        depth[0] += 1
        inside.append(depth[0])
        clock.advance(3.5)
        depth[0] -= 1

    RepeatTimer(1, handler, clock=clock).start()
    clock.advance(20)
    assert inside == [1] * len(inside)
    assert len(inside) == 6  # at 0, 4, 8, 12, 16, 20


def test_a_slow_handler_delays_no_other() -> None:
    clock = ManualClock()
    slow, other = Calls(clock, 100), Calls(clock)
    RepeatTimer(10, slow, clock=clock).start()
    RepeatTimer(3, other, clock=clock).start()
    clock.advance(9)
    assert other.times == list(range(0, 100, 3))


def test_ten_years_bring_no_drift() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(86_400.1, calls, clock=clock)
    timer.start()
    clock.advance(3650 * 86_400.1)
    assert calls.times == [k * 86_400.1 for k in range(3651)]
    assert timer.missed == 0


def test_years_of_ticks_take_a_second_and_none_drifts() -> None:
    clock = ManualClock()
    counts = [0, 0]
    off: List[float] = []

    def tick(number: int, period: float) -> None:
        if clock.monotonic() != counts[number] * period:
            off.append(clock.monotonic())
        counts[number] += 1

    hourly = RepeatTimer(3600.1, tick, [0, 3600.1], clock=clock)
    weekly = RepeatTimer(7 * 86_400, tick, [1, 7 * 86_400], clock=clock)
    hourly.start()
    weekly.start()
    years = 20 * 365.25 * 86_400
    clock.advance(years)
    assert off == []
    assert counts == [int(years // 3600.1) + 1, int(years // (7 * 86_400)) + 1]
    assert hourly.missed == weekly.missed == 0
    assert hourly.stats().max_lateness == 0


def test_ten_years_forward_and_back_on_the_wall_clock_change_no_tick() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(60, calls, clock=clock)
    timer.start()
    for years in (10, -10, -10, 10):
        clock.set_time(clock.time() + years * 365.25 * 86_400)
        clock.advance(90)
    assert calls.times == [0, 60, 120, 180, 240, 300, 360]
    assert timer.stats().missed == 0
    assert timer.stats().last_start == clock.time()


def test_setting_the_wall_clock_changes_nothing() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    RepeatTimer(2, calls, clock=clock).start()
    clock.advance(3)
    clock.set_time(0)
    clock.advance(3)
    clock.set_time(4e9)
    clock.advance(2)
    assert calls.times == [0, 2, 4, 6, 8]


def test_after_a_suspend_one_call_is_made_the_others_are_missed_and_the_phase_is_kept() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(10, calls, clock=clock)
    timer.start()
    clock.advance(0)
    clock.jump(35)
    assert calls.times == [0, 35]
    assert timer.missed == 2  # at 20 and 30; the one of 10 came late
    clock.advance(15)
    assert calls.times == [0, 35, 40, 50]


@given(
    period=st.integers(1, 20),
    durations=st.lists(st.integers(0, 60), max_size=8),
    runonstart=st.booleans(),
)
def test_every_tick_is_called_or_counted_as_missed(
    period: int, durations: List[int], runonstart: bool
) -> None:
    clock = ManualClock()
    calls = Calls(clock, *durations)
    timer = RepeatTimer(period, calls, runonstart=runonstart, clock=clock)
    timer.start()
    clock.advance(1000)
    assert all(time % period == 0 for time in calls.times)
    due = 1000 // period + (1 if runonstart else 0)
    ran_over = (clock.monotonic() - 1000) // period
    assert due <= len(calls.times) + timer.missed <= due + ran_over


@pytest.mark.parametrize("period", [5e-324, 1e-310, 1e-20, 1e-9])
def test_a_period_shorter_than_any_clock_can_tell_still_lets_time_pass(period: float) -> None:
    clock = ManualClock()
    calls = Calls(clock, *[0.7] * 5)
    timer = RepeatTimer(period, calls, clock=clock)
    timer.start()
    calls.then = lambda: timer.stop() if not calls.durations else None
    clock.advance(3.5)
    assert len(calls.times) == 5
    assert timer.period == period


# -- stop, start, settings -----------------------------------------------------------------------


def test_after_stop_no_call_comes() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(1, calls, clock=clock)
    timer.start()
    clock.advance(1)
    timer.stop()
    clock.advance(100)
    assert calls.times == [0, 1]


def test_a_stop_before_the_first_call_prevents_it() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(1, calls, clock=clock)
    timer.start()
    timer.stop()
    clock.advance(100)
    assert calls.times == []


@pytest.mark.parametrize("block", [True, False])
def test_a_timer_never_started_or_stopped_twice_may_be_stopped(block: bool) -> None:
    clock = ManualClock()
    timer = RepeatTimer(1, Calls(clock), clock=clock)
    timer.stop(block)
    timer.start()
    timer.stop(block)
    timer.stop(block=block)
    assert not timer.running


def test_starting_twice_is_an_error_that_names_the_timer() -> None:
    clock = ManualClock()
    timer = RepeatTimer(1, Calls(clock), clock=clock, name="tick weather")
    timer.start()
    with pytest.raises(RuntimeError, match="tick weather is started already"):
        timer.start()
    timer.stop()
    timer.start()


@pytest.mark.parametrize("name", ["period", "runonstart"])
def test_settings_may_be_changed_only_while_it_is_stopped(name: str) -> None:
    clock = ManualClock()
    timer = RepeatTimer(1, Calls(clock), clock=clock)
    before = getattr(timer, name)
    timer.start()
    with pytest.raises(RuntimeError, match=name):
        setattr(timer, name, 5)
    assert getattr(timer, name) == before
    timer.stop()
    setattr(timer, name, 5)
    assert getattr(timer, name) == (5 if name == "period" else True)


def test_a_stopped_timer_starts_again_with_its_new_settings() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(1, calls, clock=clock)
    timer.start()
    clock.advance(1)
    timer.stop()
    timer.period = 5
    timer.runonstart = False
    clock.advance(3)
    timer.start()
    clock.advance(10)
    assert calls.times == [0, 1, 9, 14]
    assert (timer.period, timer.runonstart) == (5, False)


@pytest.mark.parametrize("period", [0, -1, float("nan"), float("inf"), float("-inf"), 10**400])
def test_a_period_is_a_finite_number_over_0(period: Any) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="finite number over 0"):
        RepeatTimer(period, Calls(clock), clock=clock)
    timer = RepeatTimer(1, Calls(clock), clock=clock)
    with pytest.raises(ValueError, match="finite number over 0"):
        timer.period = period
    assert timer.period == 1


@pytest.mark.parametrize("period", [True, "5", None, [5], {"a": 5}])
def test_a_period_is_a_number(period: Any) -> None:
    with pytest.raises(TypeError, match="period"):
        RepeatTimer(period, print)


def test_the_function_can_be_called() -> None:
    with pytest.raises(TypeError, match="function"):
        RepeatTimer(1, "print")  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize("block", [True, False])
def test_a_handler_may_stop_its_own_timer(block: bool) -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(1, calls, clock=clock)
    calls.then = lambda: timer.stop(block)
    timer.start()
    clock.advance(10)
    assert calls.times == [0]
    assert not timer.running


def test_a_handler_may_restart_its_own_timer_and_set_its_period() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(1, calls, clock=clock)

    def slower() -> None:
        timer.stop()
        timer.period = timer.period * 2
        timer.runonstart = False
        timer.start()

    calls.then = slower
    timer.start()
    clock.advance(14)
    assert calls.times == [0, 2, 6, 14]


def test_a_start_while_the_call_of_an_earlier_one_runs_ticks_when_that_call_ends() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(2, calls, clock=clock)

    def restart_during_the_call() -> None:
        if calls.times == [0, 2]:
            clock.advance(2)
            timer.stop(block=False)
            timer.start()  # at 4
            clock.advance(3.5)  # the call ends at 7.5

    calls.then = restart_during_the_call
    timer.start()
    clock.advance(10)
    assert calls.times == [0, 2, 7.5, 8, 10]
    assert timer.missed == 1  # at 6


def test_a_start_that_waits_for_a_running_call_may_get_another_period() -> None:
    clock = ManualClock()
    calls: List[float] = []

    def handler() -> None:
        calls.append(clock.monotonic())
        if len(calls) == 1:
            timer.stop()
            timer.start()
            clock.advance(1)  # the first call of that start is due, and waits
            timer._rearm(4)
            clock.advance(1)

    timer = RepeatTimer(10, handler, clock=clock)
    timer.start()
    clock.advance(12)
    assert calls == [0, 2, 5, 9]  # at the end of the call, then each 4 s from the change
    timer.stop()


def test_a_start_that_waits_for_a_running_call_can_be_stopped() -> None:
    clock = ManualClock()
    calls = Calls(clock)
    timer = RepeatTimer(2, calls, clock=clock)

    def restart_and_stop() -> None:
        timer.stop(block=False)
        timer.start()
        clock.advance(1)
        timer.stop(block=False)

    calls.then = restart_and_stop
    timer.start()
    clock.advance(20)
    assert calls.times == [0]


def test_handlers_may_start_and_stop_other_timers() -> None:
    clock = ManualClock()
    one, two = Calls(clock), Calls(clock)
    first = RepeatTimer(1, one, clock=clock)
    second = RepeatTimer(1, two, clock=clock)
    one.then = lambda: second.start() if len(one.times) == 3 else None
    two.then = lambda: first.stop() if len(two.times) == 3 else None
    first.start()
    clock.advance(10)
    assert one.times == [0, 1, 2, 3, 4]
    assert two.times == [2, 3, 4, 5, 6, 7, 8, 9, 10]


# -- errors in handlers --------------------------------------------------------------------------


# not KeyboardInterrupt: here, in the main thread, that is Ctrl-C (test_clock.py)
@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), GeneratorExit()])
def test_what_a_handler_raises_is_logged_with_its_stack_and_the_timer_goes_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    calls, other = Calls(clock), Calls(clock)

    def fail() -> None:
        raise error

    calls.then = fail
    RepeatTimer(1, calls, clock=clock, name="tick weather").start()
    RepeatTimer(1, other, clock=clock).start()
    clock.advance(2)
    assert calls.times == other.times == [0, 1, 2]
    logged = records(caplog, logging.ERROR)
    assert len(logged) == 3
    for record in logged:
        assert "tick weather" in record.getMessage()
        assert record.exc_info is not None and record.exc_info[1] is error
        assert "in fail" in caplog.handler.format(record)


def test_a_broken_log_handler_of_the_application_does_not_stop_the_timer() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left")

    clock = ManualClock()
    calls = Calls(clock)

    def fail() -> None:
        raise ValueError("boom")

    calls.then = fail
    broken = Broken()
    logger = logging.getLogger("uun_iot")
    logger.addHandler(broken)
    try:
        RepeatTimer(1, calls, clock=clock).start()
        clock.advance(2)
    finally:
        logger.removeHandler(broken)
    assert calls.times == [0, 1, 2]


def test_a_derived_timer_may_have_names_of_its_own() -> None:
    class Modbus(RepeatTimer):
        def __init__(self, clock: ManualClock) -> None:
            super().__init__(1, self.poll, clock=clock)
            self._slot = self._series = self._clock = self._period = self._args = None
            self.polls = 0

        def poll(self) -> None:
            self.polls += 1

        def _call(self, register: int = 7) -> int:
            raise AssertionError("called by the library")

        _start = _check = _call

    clock = ManualClock()
    timer = Modbus(clock)
    timer.start()
    clock.advance(3)
    timer.stop()
    assert timer.polls == 4
