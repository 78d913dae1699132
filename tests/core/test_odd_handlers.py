"""Handlers and modules that are made in unusual ways."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import enum
import functools
import gc
import logging
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Tuple
from unittest.mock import Mock

import pytest

from tests.core.helpers import make_gateway, messages, timers, write_config
from tests.support.commands import ask
from uun_iot_core import (
    ConfigError,
    EvConfUpdate,
    Event,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    Gateway,
    ManualClock,
    ModuleError,
    attach_handlers,
    on,
)
from uun_iot_core.events import (
    EventType,
    HandlerInfo,
    Register,
    extract_event_handlers_from_object,
    registered_event_submodule,
)
from uun_iot_core.events.calling import outcome


def timer_ids(module: Any) -> List[str]:
    """Return the ids of a module's timers."""
    found = extract_event_handlers_from_object(module)
    return [info.args[0] for _, info in found if info.args]


def ticks_of(directory: Path, *modules: Any, **periods: Any) -> None:
    """Run a gateway of these modules for its first ticks."""
    clock = ManualClock()
    with make_gateway(directory, timers(**periods), *modules, clock=clock):
        clock.advance(0)


# -- one function, several classes -----------------------------------------------------------------


def test_a_function_that_two_classes_subscribe_is_two_handlers() -> None:
    def shared(self: Any) -> Any:
        return self

    class One:
        tick = EvTick.subscribe_timer("one")(shared)

    class Two:
        tick = EvTick.subscribe_timer("two")(EvStop.subscribe(shared))

    assert (timer_ids(One()), timer_ids(Two())) == (["one"], ["two"])
    assert len(list(extract_event_handlers_from_object(Two()))) == 2
    two = Two()
    for module in (One(), two):
        for handler, _ in extract_event_handlers_from_object(module):
            assert handler() is module


def test_a_subclass_may_subscribe_its_parents_method_to_something_else() -> None:
    class Parent:
        @EvTick.subscribe_timer("parent")
        def tick(self) -> str:
            return type(self).__name__

    class Child(Parent):
        tick = EvTick.subscribe_timer("child")(Parent.tick)

    assert (timer_ids(Parent()), timer_ids(Child())) == (["parent"], ["child"])
    ((handler, _),) = extract_event_handlers_from_object(Child())
    assert handler() == "Child"


def test_a_function_may_be_subscribed_twice_in_one_class() -> None:
    def shared(self: Any) -> None: ...

    class Module:
        one = EvTick.subscribe_timer("one")(shared)
        two = EvTick.subscribe_timer("two")(shared)

    assert timer_ids(Module()) == ["one", "two"]


def test_another_name_for_a_subscribed_function_is_no_second_handler() -> None:
    class Module:
        @EvTick.subscribe_timer("one")
        def tick(self) -> None: ...

        alias = tick

    class Child(Module):
        tick = EvTick.subscribe_timer("two")(Module.tick)
        other = tick

    class Third(Module):
        tick = vars(Child)["tick"]

    assert (timer_ids(Module()), timer_ids(Child()), timer_ids(Third())) == (
        *(["one"], ["two", "one"], ["two", "one"]),
    )  # the children have the alias of their parent

    subscribed = EvTick.subscribe_timer("shared")(lambda self: None)
    classes = [type(name, (), {"tick": subscribed}) for name in ("A", "B")]
    assert [timer_ids(one()) for one in classes] == [["shared"], ["shared"]]


# -- decorators ------------------------------------------------------------------------------------


def test_what_a_decorator_above_notes_on_a_subscribed_function_stays() -> None:
    def noted(function: Any) -> Any:
        function.note = "above"
        return function

    class Module:
        @noted
        @EvTick.subscribe
        @noted
        def tick(self) -> None: ...

        @EvStop.subscribe
        @noted
        @EvTick.subscribe
        def both(self) -> None: ...

    assert Module.tick.note == Module.both.note == "above"
    assert not hasattr(Module.tick, "__wrapped__")
    assert len(list(extract_event_handlers_from_object(Module()))) == 3


def test_a_subscribed_method_may_be_abstract() -> None:
    class Above(abc.ABC):
        @abc.abstractmethod
        @EvTick.subscribe
        def tick(self) -> None: ...

    class Below(abc.ABC):
        @EvTick.subscribe
        @abc.abstractmethod
        def tick(self) -> None: ...

    for base in (Above, Below):
        with pytest.raises(TypeError, match="abstract"):
            base()  # type: ignore[abstract]  # the mistake that is tested


def test_other_callables_are_handlers_wherever_they_are(tmp_path: Path) -> None:
    calls: List[str] = []

    class Noting:
        def __init__(self, what: str) -> None:
            self.what = what

        def __call__(self) -> None:
            calls.append(self.what)

    class Module:
        in_the_body = EvTick.subscribe(Noting("body"))

        def __init__(self) -> None:
            self.marked = on("tick")(functools.partial(self._note, "marked"))
            self.kept = EvTick.subscribe(functools.partial(self._note, "kept"))
            self.extracted = EvTick.subscribe(functools.partial(self._note, "extracted")).extract()

        def _note(self, what: str) -> None:
            calls.append(what)

    class_of_later: Any = Module
    class_of_later.later = EvTick.subscribe(Noting("later"))
    ticks_of(tmp_path, Module(), module=1)
    assert sorted(calls) == ["body", "extracted", "kept", "later", "marked"]


def test_an_async_handler_is_an_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Module:
        @EvTick.subscribe
        async def tick(self) -> None:
            await asyncio.sleep(0)

        @EvExternal.subscribe_command("go")
        async def go(self, evs: Any) -> str:
            return "gone"

    config = timers(module=1)
    config["gateway"]["socket"] = {"path": str(tmp_path / "s")}
    clock = ManualClock()
    with make_gateway(tmp_path, config, Module(), clock=clock) as gateway:
        clock.advance(0)
        assert gateway.timer_stats()[0].failures == 1
        answer = ask(str(tmp_path / "s"), b"go\n")
        assert answer.startswith(b"1 TypeError: an async function cannot be a handler")
    gc.collect()  # a coroutine that is never awaited is a warning, which is an error in tests
    assert len(messages(caplog, logging.ERROR)) == 2


# -- run time --------------------------------------------------------------------------------------


def test_all_five_events_can_be_registered_at_run_time(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        def __init__(self) -> None:
            self.start = EvStart.subscribe_blocking(self._start).extract()
            self.tick = EvTick.subscribe(self._bare).extract()
            self.stop = EvStop.subscribe(self._bare).extract()
            self.update = EvConfUpdate.subscribe(self._start).extract()
            self.command = EvExternal.subscribe_command("go")(self._command).extract()

        def _start(self, given: Any) -> None:
            calls.append("start")

        def _bare(self) -> None:
            calls.append("bare")

        def _command(self, evs: Tuple[str, Any]) -> str:
            return repr(evs)

    config = timers(module=1)
    config["gateway"]["socket"] = {"path": str(tmp_path / "s")}
    clock = ManualClock()
    with make_gateway(tmp_path, config, Module(), clock=clock) as gateway:
        clock.advance(0)
        assert ask(str(tmp_path / "s"), b"go now\n") == b"0 ('go', 'now')\n"
        assert gateway._sources.update.number_of_handlers() == 1
    assert calls == ["start", "bare", "bare"]


# -- modules ---------------------------------------------------------------------------------------


def test_an_id_may_be_a_member_of_an_enumeration(tmp_path: Path) -> None:
    class Id(str, enum.Enum):
        WEATHER = "weather"

    class Module:
        id = Id.WEATHER
        ticks = 0

        @EvTick.subscribe
        def tick(self) -> None:
            self.ticks += 1

    module = Module()
    ((_, info),) = extract_event_handlers_from_object(module)
    assert type(info.owner_id) is str
    ticks_of(tmp_path, module, weather=1)
    assert module.ticks == 1


def test_attributes_that_can_hardly_be_looked_at_are_no_handlers(tmp_path: Path) -> None:
    class Gone: ...

    class Aloof:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("not here")

    class Module:
        placed_on_the_class = Aloof()
        both = None

        def __init__(self) -> None:
            self.ticks = 0
            self.gone = weakref.proxy(Gone())  # collected at once
            self.both = weakref.proxy(Gone())
            self.aloof = Aloof()
            self.part = registered_event_submodule(Part())

        @EvTick.subscribe
        def tick(self) -> None:
            self.ticks += 1

    class Part(Gone):
        @EvTick.subscribe
        def tick(self) -> None:
            module.ticks += 1

    module = Module()
    ticks_of(tmp_path, module, module=1)
    assert module.ticks == 2


# -- sources that keep their handlers in other ways ------------------------------------------------


class EvTuple(Event):
    """Keeps its handlers in a tuple."""

    event_type = "tuple"
    _handlers: Any = ()

    def add_handlers(self, handlers: Iterable[Tuple[Callable[..., Any], HandlerInfo]]) -> None:
        self._handlers += tuple(handlers)


class EvElsewhere(Event):
    """Has nothing of what its base makes."""

    event_type = "elsewhere"

    def __init__(self, config: Dict[str, Any]) -> None:
        self.mine: List[Any] = []

    def add_handlers(self, handlers: Iterable[Tuple[Callable[..., Any], HandlerInfo]]) -> None:
        self.mine.extend(handlers)


class Listener:
    @EvTuple._register(Register[Callable[[Any], None]])
    def of_tuple(self) -> None: ...

    @EvElsewhere._register(Register[Callable[[Any], None]])
    def of_elsewhere(self) -> None: ...

    @on("tick")
    def tick(self) -> None: ...


def listening(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
    return attach_handlers(config, [Listener()], [EvTuple(config), EvElsewhere(config)])


def test_sources_may_keep_their_handlers_as_they_like(tmp_path: Path) -> None:
    gateway = Gateway(write_config(tmp_path), None, listening)
    with gateway:
        pass
    gateway._forget_modules()  # as a signal has it, before the application's clean-up
    assert [event.number_of_handlers() for event in gateway._events if type(event) is EvTuple] == [
        0
    ]


def test_sources_of_other_ways_hide_no_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one period"):
        Gateway(write_config(tmp_path, timers(listener={"a": 1})), None, listening)


def test_an_event_init_without_a_file_has_an_empty_configuration() -> None:
    given: List[Any] = []

    def event_init(path: Any, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        given.append((path, config))
        return attach_handlers(config, [Listener()], [EvTuple(config), EvElsewhere(config)])

    with Gateway(None, None, event_init) as gateway:
        assert gateway.runev.is_set()
    assert given == [(None, {"gateway": {}})]


def test_a_handler_that_yields_is_an_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Yielding:
        id = "yielding"

        @on("tick")
        def tick(self) -> Iterable[int]:
            yield 1

    clock = ManualClock()
    with make_gateway(tmp_path, timers(yielding=1), Yielding(), clock=clock) as gateway:
        clock.advance(0)
        (stats,) = gateway.timer_stats()
    assert (stats.failures, stats.last_exception) == (1, "TypeError")
    assert "a generator cannot be a handler" in caplog.text


def test_an_object_with_a_call_may_have_any_attributes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Callable:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

        def __call__(self) -> None:
            raise ValueError("on purpose")

    info = HandlerInfo(EventType.TICK, (), {}, "one")
    assert isinstance(outcome(Callable(), info)[1], ValueError)
    assert messages(caplog, logging.ERROR) == ["tick handler of module `one` failed (Callable)"]


@pytest.mark.parametrize("kind", ["proxy", "mock"])
def test_a_module_that_has_every_attribute_has_no_hooks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    class Proxy:
        """Hands everything on to a device."""

        id = "proxy"
        ticks = 0

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *args: None

        @on("tick")
        def tick(self) -> None:
            Proxy.ticks += 1

    module = Mock(id="mock") if kind == "mock" else Proxy()
    clock = ManualClock()
    with make_gateway(tmp_path, timers(proxy=1), module, clock=clock) as gateway:
        clock.advance(0)
        assert gateway.status()["storages"] == {}
    assert Proxy.ticks == (kind == "proxy")
    assert messages(caplog, logging.ERROR) == []


def test_a_submodule_may_be_frozen_or_a_mock(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Sensor:
        ticks: List[int]

        @on("tick")
        def tick(self) -> None:
            self.ticks.append(1)

    class Station:
        id = "station"

        def __init__(self) -> None:
            self.sensor = registered_event_submodule(Sensor([]))
            self.other = registered_event_submodule(Mock())

    station = Station()
    ticks_of(tmp_path, station, station=1)
    assert station.sensor.ticks == [1]


def test_a_class_is_no_module(tmp_path: Path) -> None:
    class Weather:
        id = "weather"

    with pytest.raises(ModuleError, match="Weather is a class; give an object of it"):
        make_gateway(tmp_path, {}, Weather)
    with pytest.raises(ModuleError, match="Weather is a class; give an object of it"):
        Gateway(write_config(tmp_path), lambda config, client: Weather)


def test_a_decorator_above_need_not_keep_what_the_function_has(tmp_path: Path) -> None:
    def counted(function: Callable[..., Any]) -> Any:
        def wrapper(self: Any) -> Any:
            self.calls.append("counted")
            return function(self)

        return wrapper

    class Module:
        id = "module"

        def __init__(self) -> None:
            self.calls: List[str] = []

        @counted
        @on("tick")
        def tick(self) -> None:
            self.calls.append("tick")

    class Overriding(Module):
        id = "overriding"

        def tick(self) -> None:
            """No handler, since it is not decorated."""
            super().tick()

    module, overriding = Module(), Overriding()
    ticks_of(tmp_path, module, overriding, module=1, overriding=1)
    assert module.calls == ["counted", "tick"]
    assert overriding.calls == []


def test_a_bound_method_may_be_registered_with_on(tmp_path: Path) -> None:
    class Module:
        def __init__(self, id: str) -> None:
            self.id = id
            self.calls: List[str] = []
            if id == "one":
                assert on("tick")(self.tick) == self.tick
                on("stop")(self.stop)

        def tick(self) -> None:
            self.calls.append("tick")

        def stop(self) -> None:
            self.calls.append("stop")

    one, other = Module("one"), Module("other")
    ticks_of(tmp_path, one, other, one=1)
    assert (one.calls, other.calls) == (["tick", "stop"], [])
