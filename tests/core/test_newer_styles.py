"""Registration in the newer styles: what marks a function, how a gateway finds and calls it."""

from __future__ import annotations

import functools
import json
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from tests.core.helpers import SOON, Updated, make_gateway, timers, write_config
from uun_iot_core import (
    ConfigError,
    EvConfUpdate,
    EventRegister,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    Gateway,
    ManualClock,
    classproperty,
    on,
)
from uun_iot_core.events import (
    EventType,
    HandlerInfo,
    extract_event_handlers_from_object,
    registered_event_submodule,
)

Events = Tuple[threading.Event, threading.Event]


def ticks_of(directory: Path, *modules: Any, **periods: Any) -> None:
    """Run a gateway of these modules for its first ticks."""
    clock = ManualClock()
    with make_gateway(directory, timers(**periods), *modules, clock=clock):
        clock.advance(0)


def kinds_of(module: Any) -> List[Tuple[Any, Tuple[Any, ...], str]]:
    """Return what handlers a module has, without the order."""
    found = extract_event_handlers_from_object(module)
    return sorted(
        ((info.event_type.value, info.args, handler.__name__) for handler, info in found),
        key=repr,
    )


# -- one set of marks ------------------------------------------------------------------------------


class Documented:
    id = "one"

    @on("tick", "a")
    def tick(self) -> None: ...

    @on("start")
    def start(self, evs: Events) -> None: ...

    @on("stop")
    def stop(self) -> None: ...

    @on("update")
    def update(self) -> None: ...

    @on("external", "go")
    def go(self, evs: Any) -> None: ...


def registered(ev: EventRegister) -> Any:
    class Registered:
        id = "one"

        @ev.on("tick", "a")
        def tick(self) -> None: ...

        @ev.on("start")
        def start(self, evs: Events) -> None: ...

        @ev.on("stop")
        def stop(self) -> None: ...

        @ev.on("update")
        def update(self) -> None: ...

        @ev.on("external", "go")
        def go(self, evs: Any) -> None: ...

    return Registered()


class Subscribed:
    id = "one"

    @EvTick.subscribe_timer("a")
    def tick(self) -> None: ...

    @EvStart.subscribe
    def start(self, evs: Events) -> None: ...

    @EvStop.subscribe
    def stop(self) -> None: ...

    @EvConfUpdate.subscribe
    def update(self, new_config: Dict[str, Any]) -> None: ...

    @EvExternal.subscribe_command("go")
    def go(self, evs: Any) -> None: ...


def test_all_three_styles_mark_the_same_way() -> None:
    expected = [
        ("external", ("go",), "go"),
        ("start", (), "start"),
        ("stop", (), "stop"),
        ("tick", ("a",), "tick"),
        ("update", (), "update"),
    ]
    for module in (Documented(), registered(EventRegister()), Subscribed()):
        assert kinds_of(module) == expected


def test_extraction_yields_bound_methods_and_what_they_handle() -> None:
    module = Subscribed()
    found = dict(extract_event_handlers_from_object(module))
    assert found[module.tick] == HandlerInfo(EventType.TICK, ("a",), {}, "one")
    assert found[module.start] == HandlerInfo(EventType.START, (), {}, "one")


def test_handler_info_has_these_fields_in_this_order() -> None:
    info = HandlerInfo(EventType.TICK, ("a",), {"b": 1}, "owner")
    assert (info.event_type, info.args, info.kwargs, info.owner_id) == (
        *(EventType.TICK, ("a",), {"b": 1}, "owner"),
    )


def test_the_event_types_are_these() -> None:
    assert [one.name for one in EventType] == ["START", "STOP", "CONF_UPDATE", "TICK", "EXTERNAL"]


def test_styles_mix_within_a_class(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        @on("tick")
        def one(self) -> None:
            calls.append("one")

        @EvTick.subscribe
        def two(self) -> None:
            calls.append("two")

        @EvStop.subscribe
        def three(self) -> None:
            calls.append("three")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["one", "two", "three"]


def test_styles_mix_on_one_function(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        @on("stop")
        @EvTick.subscribe
        def one(self) -> None:
            calls.append("one")

        @EvStop.subscribe
        @on("tick")
        def two(self) -> None:
            calls.append("two")

        @EvStop.subscribe
        @EvTick.subscribe
        def three(self) -> None:
            calls.append("three")

    ticks_of(tmp_path, Module(), module=1)
    assert sorted(calls) == ["one", "one", "three", "three", "two", "two"]


def test_in_a_class_a_subscribed_function_is_the_function_itself() -> None:
    def tick(self: object) -> str:
        """Say so."""
        return "as before"

    module = type("Module", (), {"tick": EvTick.subscribe(tick)})
    assert vars(module)["tick"] is tick
    assert module().tick() == "as before"


def test_subscriptions_work_with_other_decorators_above_and_below(tmp_path: Path) -> None:
    calls: List[Any] = []

    def noisy(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            calls.append("noisy")
            return function(*args)

        return inner

    class Module:
        @staticmethod
        @EvTick.subscribe
        def static() -> None:
            calls.append("static")

        @EvTick.subscribe
        @staticmethod
        def static_too() -> None:
            calls.append("static too")

        @classmethod
        @EvTick.subscribe
        def of_class(cls) -> None:
            calls.append(cls.__name__)

        @noisy
        @EvTick.subscribe
        def below(self) -> None:
            calls.append("below")

        @EvTick.subscribe
        @noisy
        def above(self) -> None:
            calls.append("above")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["static", "static too", "Module", "noisy", "below", "noisy", "above"]


def test_an_override_without_a_decorator_is_no_handler(tmp_path: Path) -> None:
    calls: List[str] = []

    class Base:
        @EvTick.subscribe
        def tick(self) -> None:
            calls.append("base")

        @EvTick.subscribe
        def other(self) -> None:
            calls.append("other")

    class Module(Base):
        def tick(self) -> None:
            super().tick()

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["other"]


def test_what_is_no_function_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="cannot be a handler"):
        EvTick.subscribe("send")  # type: ignore[type-var]  # the mistake that is tested
    with pytest.raises(TypeError, match="timer id"):
        EvTick.subscribe_timer("")
    with pytest.raises(TypeError, match="timer id"):
        EvTick.subscribe_timer(5)  # type: ignore[arg-type]  # likewise


# -- whose -----------------------------------------------------------------------------------------


def test_a_module_is_any_object_and_its_id_is_made_from_its_class(tmp_path: Path) -> None:
    class WeatherStation:
        @EvTick.subscribe
        def tick(self) -> None:
            self.ticked = True

    module = WeatherStation()
    assert [info.owner_id for _, info in extract_event_handlers_from_object(module)] == [
        "weatherStation"
    ]
    ticks_of(tmp_path, module, weatherStation=1)
    assert module.ticked


def test_several_handlers_of_one_timer_are_all_called(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        @EvTick.subscribe_timer("a")
        def one(self) -> None:
            calls.append("one")

        @EvTick.subscribe_timer("a")
        def two(self) -> None:
            calls.append("two")

        @EvTick.subscribe_timer("b")
        def three(self) -> None:
            calls.append("three")

    ticks_of(tmp_path, Module(), module={"a": 1, "b": 1})
    assert calls == ["one", "two", "three"]


def test_one_module_may_not_mix_plain_and_named_timers(tmp_path: Path) -> None:
    class Module:
        @EvTick.subscribe
        def one(self) -> None: ...

        @EvTick.subscribe_timer("a")
        def two(self) -> None: ...

    with pytest.raises(ConfigError, match="give all of them an id, or none"):
        make_gateway(tmp_path, timers(module=1), Module())


# -- at run time -----------------------------------------------------------------------------------


def test_a_registration_at_run_time_is_that_of_one_instance(tmp_path: Path) -> None:
    calls: List[Any] = []

    class Module:
        def __init__(self, id: str, listens: bool) -> None:
            self.id = id
            if listens:
                self.handler = EvStart.subscribe_blocking(self._handler).extract()
                self.ticking = EvTick.subscribe_timer("a")(self._tick).extract()

        def _handler(self, evs: Events) -> None:
            calls.append((self.id, evs[0].is_set(), evs[1].is_set()))

        def _tick(self) -> None:
            calls.append((self.id, "tick"))

    ticks_of(tmp_path, Module("one", True), Module("two", False), one={"a": 1})
    assert calls == [("one", True, False), ("one", "tick")]


def test_extracting_leaves_the_function_as_it_is(tmp_path: Path) -> None:
    def shared() -> str:
        return "shared"

    handler = EvTick.subscribe(shared).extract()
    assert handler is not shared
    assert handler() == "shared"

    class Holder:
        id = "holder"

        def __init__(self) -> None:
            self.callback = shared  # is no handler, though another module registered it

    assert list(extract_event_handlers_from_object(Holder())) == []


def test_a_registration_that_is_not_extracted_counts_too(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        def __init__(self) -> None:
            self.handler = EvTick.subscribe(self._handler)

        def _handler(self) -> None:
            calls.append("tick")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["tick"]


def test_a_handler_that_is_registered_at_run_time_too_gets_no_second_mark() -> None:
    class Module:
        def __init__(self) -> None:
            self.extracted = EvStop.subscribe(self.tick).extract()
            self.kept = EvStart.subscribe(EvTick.subscribe_timer("b")(self.tick))

        @EvTick.subscribe_timer("a")
        def tick(self, *args: Any) -> None: ...

    found = extract_event_handlers_from_object(Module())
    assert sorted((info.event_type.value, info.args) for _, info in found) == [
        *(("start", ()), ("stop", ()), ("tick", ("a",)), ("tick", ("b",)))
    ]


# -- submodules ------------------------------------------------------------------------------------


class Sensor:
    def __init__(self, calls: List[str]) -> None:
        self.calls = calls

    @EvTick.subscribe
    def measure(self) -> None:
        self.calls.append("measure")

    @EvStop.subscribe
    def end(self) -> None:
        self.calls.append("end")


class Station:
    def __init__(self, sensor: Any) -> None:
        self.sensor = sensor

    @EvTick.subscribe
    def tick(self) -> None:
        self.sensor.calls.append("tick")


def test_the_handlers_of_a_submodule_belong_to_the_modules_id(tmp_path: Path) -> None:
    calls: List[str] = []
    sensor = Sensor(calls)
    assert registered_event_submodule(sensor) is sensor
    station = Station(sensor)
    assert {info.owner_id for _, info in extract_event_handlers_from_object(station)} == {"station"}
    ticks_of(tmp_path, station, station=1)
    assert calls == ["tick", "measure", "end"]


def test_only_the_allowed_events_of_a_submodule_count(tmp_path: Path) -> None:
    calls: List[str] = []
    ticks_of(tmp_path, Station(registered_event_submodule(Sensor(calls), [EvTick])), station=1)
    assert calls == ["tick", "measure"]


def test_an_attribute_that_is_not_registered_is_no_submodule(tmp_path: Path) -> None:
    calls: List[str] = []
    ticks_of(tmp_path, Station(Sensor(calls)), station=1)
    assert calls == ["tick"]


def test_submodules_have_submodules_and_may_know_their_module(tmp_path: Path) -> None:
    calls: List[str] = []

    class Board:
        def __init__(self, station: Any) -> None:
            self.station = registered_event_submodule(station)
            self.sensor = registered_event_submodule(Sensor(calls))
            self.alias = self.sensor

    station = Station(Sensor(calls))
    station.sensor = registered_event_submodule(Board(station))
    station.sensor.calls = calls
    ticks_of(tmp_path, station, station=1)
    assert calls == ["tick", "measure", "end"]


def test_handlers_and_submodules_are_found_in_slots_and_on_the_class(tmp_path: Path) -> None:
    calls: List[str] = []

    class Narrow:
        __slots__ = ("alias", "empty", "handler", "sensor")
        on_the_class = registered_event_submodule(Sensor(calls), [EvStop])
        id = "station"

        def __init__(self) -> None:
            self.sensor = registered_event_submodule(Sensor(calls), [EvTick])
            self.handler = EvTick.subscribe(self.tick).extract()
            self.alias = self.method

        def tick(self) -> None:
            calls.append("tick")

        @EvTick.subscribe
        def method(self) -> None:
            calls.append("method")

    ticks_of(tmp_path, Narrow(), station=1)
    assert sorted(calls) == ["end", "measure", "method", "tick"]


def test_the_gateway_tells_submodules_what_it_tells_modules(tmp_path: Path) -> None:
    told: List[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        def _gateway_started(self) -> None:
            told.append(f"{self.name} started")

        def _gateway_stopped(self) -> None:
            told.append(f"{self.name} stopped")

        def _gateway_status(self) -> Dict[str, Any]:
            return {"parts": {self.name: True}}

        def _configuration_problems(self, gateway: Dict[str, Any]) -> List[str]:
            return [f"gateway.{self.name}: is wrong"] if gateway.get(self.name) == "wrong" else []

    class Whole(Part):
        id = "whole"

        def __init__(self) -> None:
            super().__init__("whole")
            self.one = self.same = registered_event_submodule(Part("one"))

    with make_gateway(tmp_path, {"gateway": {}}, Whole()) as gateway:
        assert gateway.status()["parts"] == {"whole": True, "one": True}
    assert told == ["whole started", "one started", "whole stopped", "one stopped"]
    with pytest.raises(ConfigError, match="gateway.one: is wrong"):
        make_gateway(tmp_path, {"gateway": {"one": "wrong"}}, Whole())
    assert told[4:] == ["whole stopped", "one stopped"]


def test_what_takes_no_attributes_cannot_be_a_submodule() -> None:
    with pytest.raises(TypeError, match="takes no attributes"):
        registered_event_submodule((1, 2))


# -- how handlers are called -----------------------------------------------------------------------


def test_a_blocking_start_handler_is_waited_for_and_others_are_not(tmp_path: Path) -> None:
    let_go = threading.Event()
    calls: List[str] = []

    class Module:
        @EvStart.subscribe
        def later(self, evs: Events) -> None:
            assert let_go.wait(SOON)
            calls.append("later")

        @EvStart.subscribe_blocking
        def first(self, evs: Events) -> None:
            runev, stopev = evs
            assert runev.is_set() and not stopev.is_set()
            calls.append("first")

        @EvTick.subscribe
        def tick(self) -> None:
            calls.append("tick")

    clock = ManualClock()
    with make_gateway(tmp_path, timers(module=1), Module(), clock=clock):
        assert calls == ["first"]
        clock.advance(0)
        assert calls == ["first", "tick"]
        let_go.set()
    assert calls == ["first", "tick", "later"]  # stop waits for it


def test_a_blocking_start_handler_that_raises_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Module:
        @EvStart.subscribe_blocking
        def first(self, evs: Events) -> None:
            raise SystemExit("at start")

    built = make_gateway(tmp_path, {}, Module())
    with built:
        assert built.runev.is_set()
    assert "start handler of module `module` failed" in caplog.text


def test_a_blocking_start_handler_may_stop_the_gateway(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        gateway: Gateway

        @EvStart.subscribe_blocking
        def first(self, evs: Events) -> None:
            self.gateway.start()  # is starting already
            self.gateway.stop()
            assert evs[1].is_set()
            calls.append("first")

        @EvStop.subscribe
        def stop(self) -> None:
            calls.append("stop")

    module = Module()
    module.gateway = make_gateway(tmp_path, {}, module)
    for _ in range(2):
        module.gateway.start()
        assert calls == ["first", "stop"]  # it has stopped when its start returns
        assert module.gateway.stopev.is_set() and not module.gateway.runev.is_set()
        calls.clear()


def test_a_stop_ends_a_start_that_waits_for_a_handler(tmp_path: Path) -> None:
    begun = threading.Event()

    class Module:
        @EvStart.subscribe_blocking
        def first(self, evs: Events) -> None:
            begun.set()
            assert evs[1].wait(SOON)

    built = make_gateway(tmp_path, {}, Module())
    starting = threading.Thread(target=built.start)
    starting.start()
    assert begun.wait(SOON)
    built.stop()
    starting.join(SOON)
    assert not starting.is_alive()
    assert built.stopev.is_set() and not built.runev.is_set()


def test_update_handlers_get_the_new_configuration_or_nothing(tmp_path: Path) -> None:
    calls: List[Tuple[Any, ...]] = []
    told = threading.Semaphore(0)

    class Module:
        id = "module"

        @EvConfUpdate.subscribe
        def newer(self, new_config: Dict[str, Any]) -> None:
            calls.append(("newer", new_config))
            told.release()

        @on("update")
        def documented(self) -> None:
            calls.append(("documented",))
            told.release()

    with Updated(tmp_path, {"module": {"a": 1}}, [Module()]) as gateway:
        gateway.ask({**gateway.start, "module": {"a": 2}})
        assert told.acquire(timeout=SOON) and told.acquire(timeout=SOON)
        by_name = {name: arguments for name, *arguments in calls}
        assert by_name["documented"] == []
        assert by_name["newer"][0]["module"] == {"a": 2}
        assert by_name["newer"][0] is gateway.live  # the gateway part, which modules hold


# -- init ------------------------------------------------------------------------------------------


def test_a_gateway_may_be_given_the_registrar_itself(tmp_path: Path) -> None:
    path, given = write_config(tmp_path, {"gateway": {}}), []

    def init(ev: EventRegister, config: Any, client: Any) -> None:
        given.append(ev)

    register: Any = EventRegister()
    with Gateway(path, init, register):
        pass
    with Gateway(path, init, event_register=register):
        pass
    assert [type(one) for one in given] == [EventRegister] * 2


def test_an_init_of_three_required_parameters_gets_the_registrar_first(tmp_path: Path) -> None:
    given: List[Tuple[Any, ...]] = []

    def documented(config: Any, uuclient: Any) -> None:
        given.append((config, uuclient))

    def registrar(ev: Any, config: Any, uuclient: Any) -> None:
        given.append((ev, config, uuclient))

    def optional(config: Any, uuclient: Any, verbose: bool = False) -> None:
        given.append((config, uuclient, verbose))

    def several(*args: Any) -> None:
        given.append(args)

    class Init:
        def __call__(self, ev: Any, config: Any, uuclient: Any, *, name: str = "") -> None:
            given.append((ev, config, uuclient))

    path = write_config(tmp_path)
    for init in (documented, registrar, optional, several, Init()):
        config = Gateway(path, init).config
        arguments = given.pop()
        if init in (documented, several):
            assert arguments == (config, None)
        elif init is optional:
            assert arguments == (config, None, False)
        else:
            assert isinstance(arguments[0], EventRegister)
            assert arguments[1:] == (config, None)
    # a partial counts by what is left to give
    Gateway(path, functools.partial(registrar, "bound"))
    assert given.pop()[0] == "bound"


def test_a_gateway_without_a_file_has_an_empty_configuration(tmp_path: Path) -> None:
    class Module:
        def __init__(self, config: Any) -> None:
            assert config == {"gateway": {}}
            self.events: List[str] = []

        @EvStart.subscribe_blocking
        def start(self, evs: Events) -> None:
            self.events.append("start")

        @EvStop.subscribe
        def stop(self) -> None:
            self.events.append("stop")

    made: List[Module] = []

    def init(config: Any, uuclient: Any) -> Module:
        made.append(Module(config))
        return made[0]

    with Gateway(None, init) as gateway:
        assert gateway.status()["configuration"] == {
            "file": None,
            "lastUpdate": None,
            "rolledBack": False,
        }
    assert made[0].events == ["start", "stop"]
    with Gateway() as gateway:
        gateway._config.on_tick()  # there is nobody to ask
    assert gateway.config == {"gateway": {}}
    assert list(tmp_path.iterdir()) == []


def test_both_inits_are_an_error_and_neither_is_none(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    with pytest.raises(ValueError, match="either module_init or event_init"):
        Gateway(path, lambda config, client: [], lambda path, config, client: [])
    with Gateway(path) as gateway:
        assert gateway.runev.is_set()


def test_a_class_property_is_read_on_the_class_and_on_instances() -> None:
    class Base:
        @classproperty
        def name(cls) -> str:
            """Say what it is called."""
            return cls.__name__  # type: ignore[attr-defined,no-any-return]  # is a class

    class Derived(Base): ...

    assert (Base.name, Derived.name, Derived().name) == ("Base", "Derived", "Derived")


def test_everything_on_one_gateway_and_one_installed_library(tmp_path: Path) -> None:
    """Three modules, one in each style, and one that mixes two; from one ``init``."""
    calls: List[Tuple[str, str]] = []

    def note(module: Any, what: str) -> None:
        calls.append((module.id, what))

    def init(ev: EventRegister, config: Any, uuclient: Any) -> List[Any]:
        class Documented:
            id = "documented"

            @on("tick")
            def tick(self) -> None:
                note(self, "tick")

            @on("stop")
            def stop(self) -> None:
                note(self, "stop")

        class Registered:
            id = "registered"

            @ev.on("tick", "a")
            def tick(self) -> None:
                note(self, "tick")

            @ev.on("stop")
            def stop(self) -> None:
                note(self, "stop")

            @ev.on("external", "registered")
            def command(self, evs: Any) -> str:
                return json.dumps(evs)

        class Subscribed:
            id = "subscribed"

            @EvTick.subscribe
            def tick(self) -> None:
                note(self, "tick")

            @EvStop.subscribe
            def stop(self) -> None:
                note(self, "stop")

            @EvExternal.subscribe_command("subscribed", "now")
            def command(self, evs: Any) -> str:
                return json.dumps(evs)

        class Mixed:
            id = "mixed"

            @on("tick", "a")
            def tick(self) -> None:
                note(self, "tick")

            @EvTick.subscribe_timer("b")
            def tock(self) -> None:
                note(self, "tock")

            @EvStop.subscribe
            def stop(self) -> None:
                note(self, "stop")

        return [Documented(), Registered(), Subscribed(), Mixed()]

    clock = ManualClock()
    config = timers(documented=1, registered={"a": 1}, subscribed=1, mixed={"a": 1, "b": 2})
    with Gateway(write_config(tmp_path, config), init, clock=clock) as gateway:
        clock.advance(2)
        respond = gateway._sources.external.respond
        assert respond("registered a b") == '0 ["registered", "a b"]'
        assert respond("subscribed[now]") == '0 ["subscribed[now]", null]'
    ids = ("documented", "registered", "subscribed", "mixed")
    for id in ids:
        assert calls.count((id, "tick")) == 3
        assert calls.count((id, "stop")) == 1
    assert calls.count(("mixed", "tock")) == 2
    assert len(calls) == 4 * 4 + 2
