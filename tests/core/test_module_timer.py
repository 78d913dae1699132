"""`ModuleTimer`: a module with its timers."""

from __future__ import annotations

from collections import deque
from typing import Any, Dict, List, Tuple

import pytest

from uun_iot_core import ManualClock, ModuleTimer, RepeatTimer


class Weather:
    id = "weather"

    def __init__(self) -> None:
        self.calls: List[str] = []

    def send(self) -> None:
        self.calls.append("send")

    def get(self) -> None:
        self.calls.append("get")


def run(timer: ModuleTimer, clock: ManualClock, seconds: float) -> None:
    assert isinstance(timer.timer, RepeatTimer)
    timer.timer.start()
    clock.advance(seconds)
    timer.timer.stop()


@pytest.mark.parametrize("bound", [True, False])
def test_one_function_is_called_with_the_module_bound_or_unbound(bound: bool) -> None:
    clock, module = ManualClock(), Weather()
    timer = ModuleTimer(
        module,  # type: ignore[arg-type]  # any object with an id will do
        module.send if bound else Weather.send,
        2,
        clock=clock,
    )
    assert (timer.id, timer.multi) == ("weather", False)
    assert timer.m_instance is module  # type: ignore[comparison-overlap]  # as above
    run(timer, clock, 4)
    assert module.calls == ["send"] * 3


@pytest.mark.parametrize("bound", [True, False])
def test_functions_by_id_have_timers_by_id(bound: bool) -> None:
    clock, module = ManualClock(), Weather()
    source: Any = module if bound else Weather
    timer = ModuleTimer(
        module,  # type: ignore[arg-type]  # any object with an id will do
        {"send": source.send, "get": source.get},
        {"get": 1, "send": 2.5},
        clock=clock,
    )
    assert timer.multi
    assert isinstance(timer.timer, dict)
    assert {key: one.period for key, one in timer.timer.items()} == {"send": 2.5, "get": 1}
    for one in timer.timer.values():
        one.start()
    clock.advance(2.5)
    for one in timer.timer.values():
        one.stop()
    assert (module.calls.count("send"), module.calls.count("get")) == (2, 3)


def test_by_default_it_reads_the_clock_of_the_system() -> None:
    timer = ModuleTimer(Weather(), Weather.send, 60)  # type: ignore[arg-type]  # as above
    assert isinstance(timer.timer, RepeatTimer)
    assert not timer.timer.running


MISMATCHES: Dict[str, Tuple[Any, Any]] = {
    "functions and one period": ({"send": Weather.send}, 5),
    "one function and periods": (Weather.send, {"send": 5}),
    "other ids": ({"send": Weather.send}, {"get": 5}),
    "an id without a period": ({"send": Weather.send, "get": Weather.get}, {"send": 5}),
    "a period without a function": ({"send": Weather.send}, {"send": 5, "get": 5}),
    "a string": (Weather.send, "5"),
    "a boolean": (Weather.send, True),
    "nothing": (Weather.send, None),
    "zero": (Weather.send, 0),
    "below zero": (Weather.send, -1),
    "not a number": (Weather.send, float("nan")),
    "infinity": (Weather.send, float("inf")),
    "beyond any float": (Weather.send, 10**400),
    "a wrong period among right ones": (
        {"send": Weather.send, "get": Weather.get},
        {"send": 5, "get": 0},
    ),
    "no function": ("send", 5),
    "no function among functions": ({"send": None}, {"send": 5}),
}


@pytest.mark.parametrize(("f", "period"), MISMATCHES.values(), ids=MISMATCHES.keys())
def test_what_does_not_fit_is_a_value_error_that_names_the_module(f: Any, period: Any) -> None:
    with pytest.raises(ValueError, match="weather"):
        ModuleTimer(Weather(), f, period)  # type: ignore[arg-type]  # as above


def test_a_bound_builtin_method_is_called_without_the_module() -> None:
    clock, calls = ManualClock(), deque([1, 2])
    timer = ModuleTimer(Weather(), calls.popleft, 1, clock=clock)  # type: ignore[arg-type]  # as above
    assert isinstance(timer.timer, RepeatTimer)
    timer.timer.start()
    clock.advance(0)
    assert list(calls) == [2]
    timer.timer.stop()
