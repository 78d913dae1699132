"""`gateway.timerSpread`: timers that share a period need not tick at the same moments."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, List

import pytest

from tests.core.helpers import SOON, Ticker, Updated, make_gateway, timers
from uun_iot_core import ManualClock, RepeatTimer, problems


def first_ticks(tmp_path: Path, spread: Any) -> List[float]:
    """Return when each of four timers of 8 s and one of 3 s tick first."""
    clock = ManualClock()
    modules = [Ticker(clock, f"m{number}") for number in range(4)] + [Ticker(clock, "other")]
    config = timers(m0=8, m1=8, m2=8.0, m3=8, other=3)
    if spread is not None:
        config["gateway"]["timerSpread"] = spread
    with make_gateway(tmp_path, config, *modules, clock=clock):
        clock.advance(30)
    for module in modules:
        period = 3 if module.id == "other" else 8
        apart = {later - sooner for sooner, later in zip(module.ticks, module.ticks[1:])}
        assert apart == {period}
    return [module.ticks[0] for module in modules]


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (None, [0, 0, 0, 0, 0]),
        (False, [0, 0, 0, 0, 0]),
        (0, [0, 0, 0, 0, 0]),
        (True, [0, 2, 4, 6, 0]),
        (1, [0, 2, 4, 6, 0]),
        (0.5, [0, 1, 2, 3, 0]),
    ],
)
def test_timers_of_one_period_are_spread_evenly_over_it_where_that_is_asked_for(
    tmp_path: Path, spread: Any, expected: List[float]
) -> None:
    assert first_ticks(tmp_path, spread) == expected


@pytest.mark.parametrize("spread", [-0.1, 1.5, "yes", None, [], {}])
def test_what_is_no_part_of_a_period_is_refused_with_its_path(spread: Any) -> None:
    (problem,) = problems({"gateway": {"timerSpread": spread}})
    assert problem.startswith("gateway.timerSpread: expected true, false, or the part")


def test_timers_that_an_update_gives_another_period_are_spread_too(tmp_path: Path) -> None:
    clock = ManualClock()
    modules = [Ticker(clock, "a"), Ticker(clock, "b")]
    start = {"moduleTimers": {"a": 1000, "b": 1000}, "timerSpread": True}
    with Updated(tmp_path, start, modules) as updated:
        for module in modules:
            module.clock = updated.clock
        updated.ask({"moduleTimers": {"a": 8, "b": 8, "config": 1000}})
        for module in modules:
            module.ticks.clear()
        updated.clock.advance(20)
    assert [module.ticks for module in modules] == [[18, 26], [14, 22, 30]]


# -- the shortest and the longest periods ---------------------------------------------------------


def test_a_millisecond_is_a_period() -> None:
    done = threading.Event()
    calls: List[float] = []

    def tick() -> None:
        calls.append(time.monotonic())
        if len(calls) == 200:
            done.set()

    timer = RepeatTimer(0.001, tick)
    timer.start()
    assert done.wait(SOON)
    timer.stop()
    stats = timer.stats()
    due = (calls[-1] - calls[0]) / 0.001  # each tick was called, or counted as missed
    assert stats.calls + stats.missed >= due - 2


def test_a_year_is_a_period() -> None:
    year = 365.25 * 86_400
    clock = ManualClock()
    ticks: List[float] = []
    timer = RepeatTimer(year, lambda: ticks.append(clock.monotonic()), clock=clock)
    timer.start()
    clock.advance(30 * year)
    assert ticks == [k * year for k in range(31)]
    timer.stop()


def test_a_year_is_waited_for_by_real_threads_without_trouble() -> None:
    ticked, other = threading.Event(), threading.Event()
    timer = RepeatTimer(365.25 * 86_400, ticked.set)
    timer.start()
    assert ticked.wait(SOON)  # the first call; the thread waits for the second now
    quick = RepeatTimer(0.01, other.set)
    quick.start()
    assert other.wait(SOON)
    quick.stop()
    timer.stop()
    assert timer.stats().calls == 1
