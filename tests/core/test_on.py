"""Which methods are handlers of which events, and whose."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, TypeVar

import pytest

from tests.core.helpers import Noting, make_gateway, timers
from uun_iot_core import Gateway, ManualClock, ModuleError, UnsupportedEvent, UunIotError, on

F = TypeVar("F", bound=Callable[..., Any])


def ticks_of(directory: Path, *modules: Any, **periods: Any) -> None:
    """Run a gateway of these modules for its first ticks."""
    clock = ManualClock()
    with make_gateway(directory, timers(**periods), *modules, clock=clock):
        clock.advance(0)


# -- marking -------------------------------------------------------------------------------------


def test_the_function_is_returned_unchanged() -> None:
    def handler(self: object) -> str:
        return "as before"

    assert on("tick")(handler) is handler
    assert handler(None) == "as before"


@pytest.mark.parametrize("event", ["tock", "", "Tick", "TICK", " tick"])
def test_an_unknown_event_is_an_error_that_names_the_known_ones(event: str) -> None:
    with pytest.raises(UnsupportedEvent) as caught:
        on(event)
    for known in ("tick", "update", "start", "stop", "external", f'"{event}"'):
        assert known in str(caught.value)
    assert isinstance(caught.value, UunIotError)


def test_on_without_an_event_is_an_error() -> None:
    with pytest.raises(UnsupportedEvent, match="nothing"):
        on()


def test_on_without_parentheses_is_an_error_where_it_is_written() -> None:
    with pytest.raises(UnsupportedEvent, match="no string"):

        class Module:
            @on  # type: ignore[arg-type]  # the mistake that is tested
            def tick(self) -> None: ...  # type: ignore[misc]  # likewise


@pytest.mark.parametrize(
    "arguments",
    [
        *(("start", "id"), ("stop", "id"), ("update", "id")),
        *(("tick", "a", "b"), ("external", "a", "b")),
    ],
)
def test_only_tick_and_external_take_an_id_and_only_one(arguments: Tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match="too many"):
        on(*arguments)


@pytest.mark.parametrize("timer_id", ["", 5, None])
def test_a_timer_id_is_a_string_that_is_not_empty(timer_id: Any) -> None:
    with pytest.raises(TypeError, match="timer id"):
        on("tick", timer_id)


def test_what_cannot_be_marked_is_named() -> None:
    with pytest.raises(TypeError, match="cannot be a handler"):
        on("tick")(len)


# -- finding -------------------------------------------------------------------------------------


def test_each_event_reaches_its_handlers_with_its_arguments(tmp_path: Path) -> None:
    calls: List[Tuple[Any, ...]] = []

    class Module:
        @on("start")
        def begun(self, evs: Tuple[threading.Event, threading.Event]) -> None:
            calls.append(("start", evs))

        @on("tick")
        def ticked(self) -> None:
            calls.append(("tick",))

        @on("stop")
        def ended(self) -> None:
            calls.append(("stop",))

    clock = ManualClock()
    gateway = make_gateway(tmp_path, timers(module=1), Module(), clock=clock)
    assert calls == []
    with gateway:
        clock.advance(0)
    assert sorted(calls, key=lambda call: call[0]) == [
        ("start", (gateway.runev, gateway.stopev)),
        ("stop",),
        ("tick",),
    ]


def test_several_handlers_of_one_event_are_all_called(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        @on("tick")
        def one(self) -> None:
            calls.append("one")

        @on("tick")
        def two(self) -> None:
            calls.append("two")

        @on("stop")
        def three(self) -> None:
            calls.append("three")

        @on("stop")
        def four(self) -> None:
            calls.append("four")

    ticks_of(tmp_path, Module(), module=1)
    assert calls[:2] == ["one", "two"]
    assert sorted(calls[2:]) == ["four", "three"]


def test_one_method_may_handle_several_events(tmp_path: Path) -> None:
    calls: List[int] = []

    class Module:
        @on("stop")
        @on("tick", "a")
        @on("tick", "b")
        def count(self) -> None:
            calls.append(1)

    ticks_of(tmp_path, Module(), module={"a": 1, "b": 1})
    assert len(calls) == 3


def test_handlers_of_base_classes_and_mixins_are_found(tmp_path: Path) -> None:
    calls: List[str] = []

    class Base:
        @on("tick")
        def of_base(self) -> None:
            calls.append("base")

    class Mixin:
        @on("tick")
        def of_mixin(self) -> None:
            calls.append("mixin")

    class Module(Mixin, Base):
        @on("tick")
        def own(self) -> None:
            calls.append("own")

    ticks_of(tmp_path, Module(), module=1)
    assert sorted(calls) == ["base", "mixin", "own"]


def test_an_override_with_a_decorator_is_called_once_and_instead(tmp_path: Path) -> None:
    calls: List[str] = []

    class Base:
        @on("tick")
        def tick(self) -> None:
            calls.append("base")

    class Module(Base):
        @on("tick")
        def tick(self) -> None:
            calls.append("override")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["override"]


def test_an_override_without_a_decorator_is_no_handler(tmp_path: Path) -> None:
    calls: List[str] = []

    class Base:
        @on("tick")
        def tick(self) -> None:
            calls.append("base")

    class Module(Base):
        id = "module"

        def tick(self) -> None:
            calls.append("override")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == []


def test_an_attribute_of_the_instance_hides_the_handler_of_its_class(tmp_path: Path) -> None:
    calls: List[str] = []

    class Module:
        @on("tick")
        def hidden(self) -> None:
            calls.append("hidden")

        @on("tick")
        def tick(self) -> None:
            calls.append("tick")

    module = Module()
    vars(module)["hidden"] = None
    ticks_of(tmp_path, module, module=1)
    assert calls == ["tick"]


def test_the_handlers_of_an_instance_belong_to_its_id(tmp_path: Path) -> None:
    class Module:
        def __init__(self, id: str) -> None:
            self.id = id
            self.ticks = 0

        @on("tick")
        def tick(self) -> None:
            self.ticks += 1

    one, two, three = Module("one"), Module("two"), Module("three")
    clock = ManualClock()
    with make_gateway(tmp_path, timers(one=1, two=4), one, two, three, clock=clock):
        clock.advance(4)
    assert (one.ticks, two.ticks, three.ticks) == (5, 2, 0)


def test_two_classes_of_one_name_do_not_mix(tmp_path: Path) -> None:
    def make(name: str) -> Any:
        class Module:
            id = name
            calls: List[str] = []

            @on("tick")
            def tick(self) -> None:
                self.calls.append(name)

        return Module()

    one, two = make("one"), make("two")
    ticks_of(tmp_path, one, two, one=1, two=1)
    assert (one.calls, two.calls) == (["one"], ["two"])


def test_two_gateways_of_one_class_of_modules_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    clock = ManualClock()
    one, two = Noting(), Noting()
    first = make_gateway(tmp_path / "one", timers(noting=1), one, clock=clock)
    second = make_gateway(tmp_path / "two", timers(noting=2), two, clock=clock)
    with second:
        with first:
            clock.advance(2)
        assert not first.runev.is_set()
        assert second.runev.is_set()
        clock.advance(2)
    assert one.calls == ["tick", "tick", "tick", "stop"]
    assert two.calls == ["tick", "tick", "tick", "stop"]


def test_static_and_class_methods_are_handlers_whatever_the_order_of_the_decorators(
    tmp_path: Path,
) -> None:
    calls: List[Any] = []

    class Module:
        @staticmethod
        @on("tick")
        def static_inside() -> None:
            calls.append("static inside")

        @on("tick")
        @staticmethod
        def static_outside() -> None:
            calls.append("static outside")

        @classmethod
        @on("tick")
        def class_inside(cls) -> None:
            calls.append(cls)

        @on("tick")
        @classmethod
        def class_outside(cls) -> None:
            calls.append(cls)

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["static inside", "static outside", Module, Module]


@pytest.mark.parametrize("outside", [True, False])
def test_decorators_with_functools_wraps_go_with_on_in_either_order(
    tmp_path: Path, outside: bool
) -> None:
    calls: List[str] = []

    def logged(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            calls.append("wrapper")
            return function(*args)

        return wrapper  # type: ignore[return-value]  # the usual cast of a decorator

    def decorated(function: F) -> F:
        return logged(on("tick")(function)) if outside else on("tick")(logged(function))

    class Module:
        @decorated
        def tick(self) -> None:
            calls.append("tick")

    ticks_of(tmp_path, Module(), module=1)
    assert calls == ["wrapper", "tick"]


def test_properties_are_not_evaluated_when_handlers_are_searched(tmp_path: Path) -> None:
    class Module:
        @property
        def voltage(self) -> float:
            raise AssertionError("no voltmeter yet")

        @on("tick")
        def tick(self) -> None: ...

    make_gateway(tmp_path, timers(module=1), Module())


def test_a_module_with_slots_has_handlers(tmp_path: Path) -> None:
    class Module:
        __slots__ = ("ticks",)

        def __init__(self) -> None:
            self.ticks = 0

        @on("tick")
        def tick(self) -> None:
            self.ticks += 1

    module = Module()
    ticks_of(tmp_path, module, module=1)
    assert module.ticks == 1


def test_decorating_a_class_leaves_nothing_behind_in_the_library(tmp_path: Path) -> None:
    class Never:
        @on("start")
        def start(self, evs: object) -> None:
            raise AssertionError("never made")

    with make_gateway(tmp_path):
        pass


# -- ids -----------------------------------------------------------------------------------------


class Handler:
    """Has handlers; the id comes from the name of the class."""

    def __init__(self) -> None:
        self.ticks = 0

    @on("tick")
    def tick(self) -> None:
        self.ticks += 1


def test_without_an_id_the_name_of_the_class_is_taken_with_its_first_letter_lowered(
    tmp_path: Path,
) -> None:
    module = Handler()
    ticks_of(tmp_path, module, handler=1)
    assert module.ticks == 1


def test_an_own_id_comes_before_the_name_of_the_class(tmp_path: Path) -> None:
    class Own(Handler):
        id = "mine"

    module = Own()
    ticks_of(tmp_path, module, mine=1, own=1)
    assert module.ticks == 1


def test_a_property_may_give_the_id(tmp_path: Path) -> None:
    class Own(Handler):
        @property
        def id(self) -> str:
            return "from a property"

    module = Own()
    ticks_of(tmp_path, module, **{"from a property": 1})
    assert module.ticks == 1


def test_an_id_without_handlers_is_a_module(tmp_path: Path) -> None:
    class Silent:
        id = "silent"

    with make_gateway(tmp_path, {}, Silent()):
        pass


def test_neither_id_nor_handlers_is_an_error_that_names_the_class(tmp_path: Path) -> None:
    class Nothing:
        def tick(self) -> None: ...

    with pytest.raises(ModuleError, match="Nothing is no module"):
        make_gateway(tmp_path, {}, Nothing())


def test_two_modules_with_one_id_are_an_error_that_names_both(tmp_path: Path) -> None:
    class Other:
        id = "handler"

    with pytest.raises(ModuleError, match=r"`handler` \(Handler and Other\)"):
        make_gateway(tmp_path, {}, Handler(), Other())


def test_a_module_cannot_take_the_id_of_the_configuration(tmp_path: Path) -> None:
    class Config:
        @on("tick")
        def tick(self) -> None: ...

    with pytest.raises(ModuleError, match="`config`"):
        make_gateway(tmp_path, {}, Config())


@pytest.mark.parametrize("id", ["", 5, ["a"]])
def test_an_id_is_a_string_that_is_not_empty(tmp_path: Path, id: Any) -> None:
    module = Handler()
    module.id = id  # type: ignore[attr-defined]  # applications set it so
    with pytest.raises(ModuleError, match=r"Handler\.id"):
        make_gateway(tmp_path, {}, module)


# -- module_init ---------------------------------------------------------------------------------


RESULTS: Dict[str, Callable[[Handler], Any]] = {
    "a module": lambda module: module,
    "a list": lambda module: [module],
    "a tuple": lambda module: (module,),
    "a generator": lambda module: (one for one in [module]),
    "values of a dictionary": lambda module: {"x": module}.values(),
    "a set": lambda module: {module},
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
def test_module_init_may_return(tmp_path: Path, result: Callable[[Handler], Any]) -> None:
    module, clock = Handler(), ManualClock()
    path = tmp_path / "config.json"
    path.write_text('{"gateway": {"moduleTimers": {"handler": 1}}}')
    with Gateway(str(path), lambda config, client: result(module), clock=clock):
        clock.advance(0)
    assert module.ticks == 1


@pytest.mark.parametrize("result", [None, [], ()])
def test_module_init_may_return_no_module(tmp_path: Path, result: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    with Gateway(str(path), lambda config, client: result):
        pass


@pytest.mark.parametrize("result", ["handler", b"x", {"handler": 1}, 5, True, object()])
def test_module_init_must_not_return_anything_else(tmp_path: Path, result: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    with pytest.raises(ModuleError, match="module_init must return"):
        Gateway(str(path), lambda config, client: result)


def test_an_iterable_that_is_a_module_itself_is_one(tmp_path: Path) -> None:
    class Iterable(Handler):
        id = "handler"

        def __iter__(self) -> Any:
            raise AssertionError("a module is not taken apart")

    module = Iterable()
    path = tmp_path / "config.json"
    path.write_text('{"gateway": {"moduleTimers": {"handler": 1}}}')
    clock = ManualClock()
    with Gateway(str(path), lambda config, client: module, clock=clock):
        clock.advance(0)
    assert module.ticks == 1
