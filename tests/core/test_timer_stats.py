"""What a timer tells of itself, and what is said of handlers that take long."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import List

import pytest

from tests.core.helpers import SOON, Updated, library_threads, make_gateway, messages, timers
from tests.support.wait import eventually
from uun_iot_core import ManualClock, RepeatTimer, TimerStats, on

WALL = 1_700_000_000.0


def test_a_timer_never_started_has_figures_of_nothing() -> None:
    timer = RepeatTimer(2, print, clock=ManualClock(), name="quiet")
    assert timer.stats() == TimerStats(
        name="quiet",
        period=2.0,
        running=False,
        calls=0,
        last_start=None,
        running_for=None,
        duration=None,
        max_duration=0.0,
        lateness=None,
        max_lateness=0.0,
        overruns=0,
        missed=0,
        failures=0,
        last_exception=None,
        last_failure=None,
    )


def test_start_duration_lateness_overruns_and_missed_are_told() -> None:
    clock = ManualClock(wall=WALL)
    lasting = [0.5, 3.5, 0.25]
    timer = RepeatTimer(1, lambda: clock.advance(lasting.pop(0)), clock=clock)
    timer.start()
    clock.advance(0)
    first = timer.stats()
    assert (first.calls, first.last_start, first.duration) == (1, WALL, 0.5)
    assert (first.lateness, first.overruns, first.missed) == (0, 0, 0)
    clock.advance(0.5)  # the call of 1 s lasts until 4.5
    second = timer.stats()
    assert (second.last_start, second.duration, second.max_duration) == (WALL + 1, 3.5, 3.5)
    assert (second.overruns, second.missed) == (1, 3)
    clock.jump(1.25)  # the one due at 5 begins at 5.75
    third = timer.stats()
    assert (third.calls, third.duration, third.max_duration) == (3, 0.25, 3.5)
    assert (third.lateness, third.max_lateness) == (0.75, 0.75)
    assert third.running and third.running_for is None
    timer.stop()
    assert not timer.stats().running


def test_moments_are_told_by_the_wall_clock_as_it_is_now() -> None:
    clock = ManualClock(wall=0)  # a device that does not know the date yet
    timer = RepeatTimer(60, lambda: None, clock=clock)
    timer.start()
    clock.advance(10)
    clock.set_time(WALL)
    assert timer.stats().last_start == WALL - 10


def test_figures_go_on_over_a_restart() -> None:
    clock = ManualClock()
    timer = RepeatTimer(1, lambda: clock.advance(2.5), clock=clock)
    for _ in range(2):
        timer.start()
        clock.advance(0)
        timer.stop()
    assert timer.stats().calls == 2
    assert timer.stats().overruns == 2
    assert timer.stats().missed == timer.missed == 4


def test_an_exception_is_told_by_its_class_and_does_not_keep_anything_alive() -> None:
    clock = ManualClock(wall=WALL)

    class Secret(Exception):
        pass

    def fail() -> None:
        held = Held()
        alive.append(weakref.ref(held))
        raise Secret("password=hunter2")

    class Held:
        pass

    alive: List["weakref.ref[Held]"] = []
    timer = RepeatTimer(5, fail, clock=clock)
    logging.disable()  # pytest would keep the records, and with them the exceptions
    try:
        timer.start()
        clock.advance(5)
        timer.stop()
    finally:
        logging.disable(logging.NOTSET)
    stats = timer.stats()
    assert (stats.failures, stats.last_exception, stats.last_failure) == (2, "Secret", WALL + 5)
    assert "hunter2" not in repr(stats)
    gc.collect()
    assert [one() for one in alive] == [None, None]


def test_a_call_under_way_is_told() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        let_go.wait(SOON)

    timer = RepeatTimer(0.05, block)
    timer.start()
    try:
        assert begun.wait(SOON)
        assert eventually(lambda: (timer.stats().running_for or 0) > 0.05)
        stats = timer.stats()
        assert (stats.calls, stats.overruns, stats.duration) == (1, 1, None)
        assert stats.max_duration >= 0.05
    finally:
        let_go.set()
        timer.stop()


def test_the_gateway_tells_of_the_timers_of_all_modules(tmp_path: Path) -> None:
    class Weather:
        @on("tick", "measure")
        def measure(self) -> None:
            clock.advance(2)

        @on("tick", "send")
        def send(self) -> None:
            raise SystemExit("even this")

    class Door:
        @on("tick")
        def look(self) -> None:
            pass

    clock = ManualClock(wall=WALL)
    config = timers(weather={"measure": 1, "send": 10}, door=5)
    with make_gateway(tmp_path, config, Weather(), Door(), clock=clock) as gateway:
        clock.advance(10)
        stats = {one.name: one for one in gateway.timer_stats()}
    assert list(stats) == ["tick weather:measure", "tick weather:send", "tick door"]
    assert stats["tick weather:measure"].overruns == stats["tick weather:measure"].calls > 1
    assert stats["tick weather:send"].last_exception == "SystemExit"
    assert stats["tick door"].failures == 0
    assert [one.running for one in gateway.timer_stats()] == [False] * 3


def test_an_update_leaves_the_figures_also_over_the_next_start(tmp_path: Path) -> None:
    class Named:
        @on("tick", "old")
        def old(self) -> None:
            updated.clock.advance(2)

        @on("tick", "new")
        def new(self) -> None:
            pass

    periods = {"config": 10, "named": {"old": 1}}
    with Updated(tmp_path, {"moduleTimers": periods}, [Named()]) as updated:
        updated.clock.advance(5)
        updated.ask({"moduleTimers": {"config": 10, "named": {"old": 3, "new": 5}}})
        before = {one.name: one for one in updated.gateway.timer_stats()}
        assert before["tick named:old"].overruns > 0
        assert "tick named:new" not in before
        updated.gateway.stop()
        updated.gateway.start()
        after = {one.name: one for one in updated.gateway.timer_stats()}
        for name, stats in before.items():
            assert (after[name].calls, after[name].overruns) == (stats.calls, stats.overruns)
        assert after["tick named:old"].period == 3
        updated.clock.advance(6)
        after = {one.name: one for one in updated.gateway.timer_stats()}
        assert after["tick named:new"].calls == 2
        assert after["tick named:old"].calls == before["tick named:old"].calls + 3


# -- the warning ---------------------------------------------------------------------------------


def test_a_handler_that_overruns_is_named_once_and_again_at_ten_periods(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    lasting: List[float] = []
    timer = RepeatTimer(1, lambda: clock.advance(lasting[-1]), clock=clock, name="tick slow")
    said = []
    for seconds in (1.0, 1.5, 2.0, 10.0, 10.5, 11.0, 200.0):
        lasting.append(seconds)
        timer.start()
        clock.advance(0)
        timer.stop()
        said.append(len(messages(caplog, logging.WARNING)))
    assert said == [0, 1, 1, 1, 2, 2, 2]
    first, second = messages(caplog, logging.WARNING)
    assert "tick slow has run for 1.5 s, longer than its period of 1 s" in first
    assert "tick slow has run for 10.5 s, more than 10 times its period of 1 s" in second


def test_a_handler_that_hangs_is_named_while_it_hangs_with_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go = threading.Event()

    def wait_for_a_sensor() -> None:
        let_go.wait(SOON)

    timer = RepeatTimer(0.1, wait_for_a_sensor, name="tick hung")
    timer.start()
    try:
        assert eventually(
            lambda: any("more than 10" in one for one in messages(caplog, logging.WARNING))
        )
        assert timer.stats().calls == 1
    finally:
        let_go.set()
        timer.stop()
    *first, second = messages(caplog, logging.WARNING)
    assert len(first) <= 1  # a machine that stands still for a second says both in one
    assert all("longer than" in one for one in first)
    assert "more than 10 times" in second and "in wait_for_a_sensor" in second


def test_milliseconds_are_counted_and_not_worth_a_line_unless_each_call_overruns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    now_and_then = [0.04] * 9 + [0]
    lasting = [*now_and_then, *now_and_then, *[0.04] * 9]
    timer = RepeatTimer(0.01, lambda: clock.advance(lasting.pop(0)), clock=clock, name="tick slow")
    timer.start()
    while lasting:
        clock.advance(0.01)
    assert timer.stats().overruns == 27
    assert messages(caplog, logging.WARNING) == []
    lasting += [0.04] * 5
    while lasting:
        clock.advance(0.01)
    timer.stop()
    (line,) = messages(caplog, logging.WARNING)
    assert "tick slow has run for 0.04 s, longer than its period of 0.01 s" in line


def test_a_handler_of_a_short_period_that_overruns_once_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    lasting = [0.06, 0.6]
    timer = RepeatTimer(0.05, lambda: clock.advance(lasting.pop(0)), clock=clock, name="tick slow")
    timer.start()
    clock.advance(0)
    assert [line.partition(";")[0] for line in messages(caplog, logging.WARNING)] == [
        "tick slow has run for 0.06 s, longer than its period of 0.05 s"
    ]
    clock.advance(0.05)
    timer.stop()
    assert "more than 10 times" in messages(caplog, logging.WARNING)[1]


def test_a_call_that_hangs_is_warned_of_by_the_period_that_it_is_given_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        let_go.wait(SOON)

    timer = RepeatTimer(3600, hang, name="tick hung")
    timer.start()
    try:
        assert begun.wait(SOON)
        timer._rearm(0.1)
        assert eventually(lambda: messages(caplog, logging.WARNING))
        assert timer.stats().running_for is not None
    finally:
        let_go.set()
        timer.stop()


def test_a_call_that_hangs_is_named_also_where_its_timer_is_started_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls, begun, let_go = 0, threading.Event(), threading.Event()

    def hang_later() -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            begun.set()
            let_go.wait(SOON)

    timer = RepeatTimer(0.1, hang_later, name="tick hung")
    timer.start()
    try:
        assert begun.wait(SOON)
        timer.stop(block=False)
        assert eventually(lambda: len(library_threads()) == 1)  # nobody looks after it
        timer.start()
        assert eventually(lambda: messages(caplog, logging.WARNING))
        assert timer.stats().running_for is not None
    finally:
        let_go.set()
        timer.stop()


def test_another_period_is_warned_of_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    timer = RepeatTimer(1, lambda: clock.advance(3), clock=clock)
    timer.start()
    clock.advance(0)
    timer._rearm(2)  # as an update of the configuration does
    clock.advance(2)
    timer.stop()
    assert len(messages(caplog, logging.WARNING)) == 2


def test_a_broken_log_handler_does_not_stop_the_timer_that_is_warned_of() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log's disk is gone")

    clock = ManualClock()
    calls: List[float] = []

    def slow() -> None:
        calls.append(clock.monotonic())
        clock.advance(1.5)

    handler = Broken()
    logging.getLogger("uun_iot").addHandler(handler)
    try:
        timer = RepeatTimer(1, slow, clock=clock)
        timer.start()
        clock.advance(4)
        timer.stop()
    finally:
        logging.getLogger("uun_iot").removeHandler(handler)
    assert calls == [0, 2, 4]
