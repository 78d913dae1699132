"""Event sources built by the application: `event_init`, `attach_handlers`, events of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import pytest

from tests.core.helpers import SOON, in_thread, joined, timers, write_config
from tests.support.wait import eventually
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
    UnsupportedEvent,
    attach_handlers,
    classproperty,
    on,
    stop_watch,
)
from uun_iot_core.events import (
    EventType,
    HandlerInfo,
    Register,
    extract_event_handlers_from_object,
    get_event_class,
    merge_events,
    registered_event_submodule,
)


class Module:
    id = "module"

    def __init__(self) -> None:
        self.calls: List[str] = []

    @EvStart.subscribe_blocking
    def start(self, evs: Any) -> None:
        self.calls.append("start")

    @EvTick.subscribe
    def tick(self) -> None:
        self.calls.append("tick")

    @EvStop.subscribe
    def stop(self) -> None:
        self.calls.append("stop")

    def _gateway_started(self) -> None:
        self.calls.append("hook started")

    def _gateway_stopped(self) -> None:
        self.calls.append("hook stopped")


# -- building --------------------------------------------------------------------------------------


def test_each_type_has_its_class() -> None:
    assert [get_event_class(one) for one in EventType] == [
        *(EvStart, EvStop, EvConfUpdate, EvTick, EvExternal)
    ]
    unknown: Any
    for unknown in ("mqtt", None, [], 7):
        with pytest.raises(UnsupportedEvent, match="get_ev_class"):
            get_event_class(unknown)
        with pytest.raises(ValueError, match="no event of type"):
            get_event_class(unknown)


def test_sources_are_made_for_the_events_that_have_handlers() -> None:
    events = attach_handlers({"gateway": {}}, [Module()])
    assert {type(event) for event in events} == {EvStart, EvTick, EvStop}
    assert {event.number_of_handlers() for event in events} == {1}
    assert attach_handlers(None, []) == []


def test_handlers_go_to_the_sources_that_are_there() -> None:
    tick, external = EvTick(), EvExternal()
    events = attach_handlers({}, [Module(), Module()], [tick, external])
    assert events[:2] == [tick, external]
    assert tick.number_of_handlers() == 2
    assert external.number_of_handlers() == 0
    more = attach_handlers({}, [Module()], events)
    assert more == events
    assert tick.number_of_handlers() == 3


def test_what_must_be_an_iterable_is_named_where_it_is_none() -> None:
    one: Any = Module()
    source: Any = EvTick()
    no_list = "^%s: expected an iterable, got .*; put it in a list"
    with pytest.raises(TypeError, match=no_list % "objects"):
        attach_handlers({}, one)
    with pytest.raises(TypeError, match=no_list % "events"):
        attach_handlers({}, [one], source)
    with pytest.raises(TypeError, match=no_list % "allowed_events"):
        registered_event_submodule(one, source)


def test_of_two_sources_of_an_event_the_new_one_wins() -> None:
    old, new, stop = EvTick(), EvTick(), EvStop()
    assert set(merge_events([old, stop], [new])) == {stop, new}
    assert merge_events([], [new]) == [new]
    assert merge_events(iter([old]), iter([])) == [old]


def test_sources_without_a_type_are_of_their_class() -> None:
    class EvOne(Event):
        pass

    class EvTwo(Event):
        pass

    one, two, newer = EvOne(), EvTwo(), EvTwo()
    assert merge_events([one, two], []) == [one, two]
    assert merge_events([one, two], [newer]) == [one, newer]


def test_an_object_that_is_given_twice_has_its_handlers_once() -> None:
    module = Module()
    events = attach_handlers({}, [module, module])
    assert {event.number_of_handlers() for event in events} == {1}


def test_an_event_is_a_context_manager_and_works_without_a_gateway() -> None:
    clock, module = ManualClock(), Module()
    tick = EvTick(timers(module=5), clock=clock)
    start = EvStart()
    attach_handlers({}, [module], [tick, start])
    with start, tick:
        assert module.calls == ["start"]
        clock.advance(10)
    assert module.calls == ["start", "tick", "tick", "tick"]
    clock.advance(10)
    assert len(module.calls) == 4


def test_tick_handlers_that_come_later_are_called_from_the_next_start() -> None:
    clock, first, second = ManualClock(), Module(), Module()
    tick = EvTick(timers(module=5), clock=clock)
    attach_handlers({}, [first], [tick])
    with tick:
        clock.advance(0)
    attach_handlers({}, [second], [tick])
    with tick:
        clock.advance(0)
    assert (first.calls, second.calls) == (["tick", "tick"], ["tick"])


def test_a_tick_source_without_a_gateway_looks_at_its_configuration() -> None:
    for config, problem in (
        (timers(module="often"), "gateway.moduleTimers.module: expected a period"),
        (timers(module={"a": 1}), "expected one period"),
    ):
        events = attach_handlers(config, [Module()])
        tick = next(event for event in events if isinstance(event, EvTick))
        with pytest.raises(ConfigError, match=problem):
            tick.start()


def test_start_handlers_without_a_gateway_have_events_of_their_own() -> None:
    seen: List[Tuple[bool, bool]] = []
    ended = threading.Event()

    class Waiting:
        id = "waiting"

        @on("start")
        def wait(self, evs: Any) -> None:
            runev, stopev = evs
            seen.append((runev.is_set(), stopev.is_set()))
            assert stopev.wait(SOON)
            seen.append((runev.is_set(), stopev.is_set()))
            ended.set()

    (event,) = attach_handlers(None, [Waiting()])
    for _ in range(2):
        with event:
            pass
        assert ended.is_set()
    assert seen == [(True, False), (False, True)] * 2


def test_handlers_may_be_added_by_hand() -> None:
    calls: List[Dict[str, Any]] = []
    told = threading.Event()

    def updated(new_config: Dict[str, Any]) -> None:
        calls.append(new_config)
        told.set()

    event = EvConfUpdate({"gateway": {"a": 1}})
    event.add_handlers([(updated, HandlerInfo(EventType.CONF_UPDATE, (), {}, "by hand"))])
    assert event.number_of_handlers() == 1
    with event:
        event.announce(after=lambda: None)
        assert told.wait(SOON)
    assert calls == [{"a": 1}]


def test_what_is_to_be_called_first_at_an_update_is_called_where_it_is_announced() -> None:
    calls: List[Tuple[str, bool]] = []
    told = threading.Event()
    here = threading.get_ident()

    class Usual:
        @EvConfUpdate.subscribe
        def updated(self, new_config: Dict[str, Any]) -> None:
            calls.append(("usual", threading.get_ident() == here))
            told.set()

    class First:
        @EvConfUpdate.subscribe_first
        def updated(self, new_config: Dict[str, Any]) -> None:
            assert not told.wait(0.05)  # nobody is called beside it
            calls.append(("first", threading.get_ident() == here))

    (event,) = attach_handlers({"gateway": {}}, [Usual(), First()])
    assert isinstance(event, EvConfUpdate)
    with event:
        event.announce(after=lambda: None)
        assert told.wait(SOON)
    assert calls == [("first", True), ("usual", False)]


# -- in a gateway ----------------------------------------------------------------------------------


def test_an_event_init_gives_a_gateway_its_sources(tmp_path: Path) -> None:
    clock, module = ManualClock(), Module()
    path = write_config(tmp_path, timers(module=1))
    given: List[Any] = []

    def event_init(config_file: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        given.append((config_file, config, uuclient))
        return attach_handlers(config, [module])

    with Gateway(path, None, event_init, clock=clock) as gateway:
        assert given == [(path, gateway.config, None)]
        assert given[0][1] is gateway.config
        assert module.calls == ["hook started", "start"]
        clock.advance(1)
        # the sources that were given are those of the gateway, on its clock
        assert [one.name for one in gateway.timer_stats()] == ["tick module"]
    assert module.calls == [*("hook started", "start", "tick", "tick", "stop", "hook stopped")]


def test_an_event_init_gets_only_what_it_asks_for(tmp_path: Path) -> None:
    config = timers(config=1)
    config["uuApp"] = {"uuCmdList": {"gatewayGetConfiguration": "gateway/get"}}
    with Gateway(write_config(tmp_path, config), None, lambda path, config, client: []) as gateway:
        assert gateway.timer_stats() == []


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (None, "null"),
        ("x", "a string"),
        ({"a": 1}, "an object"),
        (EvTick(), "EvTick"),
        ([None], "null in an iterable"),
        (["x"], "a string in an iterable"),
        ((EvStop(), EvTick), "the class EvTick in an iterable"),
    ],
)
def test_an_event_init_must_return_sources(returned: Any, shown: str, tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=f"event_init must return .*; it returned {shown}$"):
        Gateway(write_config(tmp_path), None, lambda path, config, client: returned)


def test_the_periods_of_an_event_init_are_validated(tmp_path: Path) -> None:
    module = Module()

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [module])

    with pytest.raises(ConfigError, match="moduleTimers.module: expected one period"):
        Gateway(write_config(tmp_path, timers(module={"a": 1})), None, event_init)
    assert module.calls == ["hook stopped"]  # what it had opened is closed


def test_an_event_init_with_two_modules_of_one_id_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="two modules have the id `module`"):
        Gateway(
            write_config(tmp_path),
            None,
            lambda path, config, client: attach_handlers(config, [Module(), Module()]),
        )


# -- events of the application ---------------------------------------------------------------------


class EvMessage(Event):
    """A message on a topic has come."""

    event_type = "message"

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config, requires_config=True)
        self.topics: Dict[str, Callable[..., Any]] = {}
        self.log: List[str] = []

    @classmethod
    def subscribe_topic(
        cls, topic: str, *, qos: int = 0
    ) -> Callable[[Callable[[Any, bytes], None]], Register[Callable[[Any, bytes], None]]]:
        return cls._register(Register[Callable[[Any, bytes], None]], topic, qos=qos)

    @classproperty
    def subscribe(cls) -> Any:
        return cls._register(Register[Callable[[Any, bytes], None]], "#")

    def start(self) -> None:
        self.log.append("start")
        self.topics = {info.args[0]: handler for handler, info in self._handlers}

    def stop(self) -> None:
        self.log.append("stop")

    def arrive(self, topic: str, payload: bytes) -> None:
        self.topics[topic](payload)


class Listener:
    def __init__(self) -> None:
        self.heard: List[Any] = []

    @EvMessage.subscribe_topic("temperature", qos=1)
    def temperature(self, payload: bytes) -> None:
        self.heard.append(payload)

    @EvMessage.subscribe  # type: ignore[untyped-decorator]  # the property's type is not known
    def anything(self, payload: bytes) -> None:
        self.heard.append((payload,))

    @on("stop")
    def stop(self) -> None:
        self.heard.append("stop")


def event_class(event_type: Any) -> Any:
    return EvMessage if event_type == "message" else get_event_class(event_type)


def test_an_event_of_the_application_is_started_and_stopped_with_the_gateway(
    tmp_path: Path,
) -> None:
    listener = Listener()

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [listener], None, event_class)

    gateway = Gateway(write_config(tmp_path), None, event_init)
    (event,) = [event for event in gateway._events if isinstance(event, EvMessage)]
    assert event.number_of_handlers() == 2
    assert event.log == []
    with gateway:
        event.arrive("temperature", b"21")
        event.arrive("#", b"22")
    assert event.log == ["start", "stop"]
    assert listener.heard == [b"21", (b"22",), "stop"]
    info = next(info for _, info in event._handlers if info.args == ("temperature",))
    assert info == HandlerInfo("message", ("temperature",), {"qos": 1}, "listener")


def test_an_event_of_the_application_may_keep_its_handlers_in_its_own_way(tmp_path: Path) -> None:
    class EvByTopic(EvMessage):
        _handlers: Any

        def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
            self._handlers = {}  # first, as the events of 0.12 do
            super().__init__(config)

        def add_handlers(self, handlers: Iterable[Tuple[Callable[..., Any], HandlerInfo]]) -> None:
            for handler, info in handlers:
                self._handlers[info.args[0]] = handler

        def start(self) -> None:
            self.topics = dict(self._handlers)

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [listener], [EvByTopic(config)])

    listener = Listener()
    with Gateway(write_config(tmp_path), None, event_init) as gateway:
        (event,) = [event for event in gateway._events if isinstance(event, EvByTopic)]
        assert event.number_of_handlers() == 2
        event.arrive("temperature", b"21")
    assert listener.heard == [b"21", "stop"]


def test_an_event_of_the_application_needs_an_event_init(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEvent, match="'message'"):
        Gateway(write_config(tmp_path), lambda config, client: Listener())
    with pytest.raises(UnsupportedEvent, match="'message'"):
        attach_handlers({}, [Listener()])
    with pytest.raises(ValueError, match="EvMessage needs the configuration"):
        EvMessage()


def test_a_source_of_the_applications_own_takes_the_place_of_the_librarys(tmp_path: Path) -> None:
    class EvTickByHand(EvTick):
        started = 0

        def start(self) -> None:
            self.started += 1
            super().start()

    class EvTickOfItsOwn(Event):
        event_type = EventType.TICK

        def start(self) -> None:
            for handler, _ in self._handlers:
                handler()

    module, clock = Module(), ManualClock()
    path = write_config(tmp_path, timers(module=1))

    def derived(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [module], [EvTickByHand(config)])

    with Gateway(path, None, derived, clock=clock) as gateway:
        clock.advance(0)
        assert isinstance(gateway._sources.tick, EvTickByHand)
        assert gateway._sources.tick.started == 1
    assert module.calls.count("tick") == 1

    module.calls.clear()

    def other(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [module], [EvTickOfItsOwn(config)])

    with Gateway(path, None, other, clock=clock):
        clock.advance(5)
    assert module.calls.count("tick") == 1


@pytest.mark.parametrize("base", [EvStart, EvStop, EvTick, EvConfUpdate, EvExternal])
def test_an_event_derived_from_the_librarys_with_a_type_of_its_own(
    base: Any, tmp_path: Path
) -> None:
    calls: List[str] = []
    done = threading.Event()

    class EvLate(base):  # type: ignore[misc]  # any of them
        event_type = "late"

        def start(self) -> None:
            calls.append("late start")
            super().start()

        def stop(self) -> None:
            super().stop()
            calls.append("late stop")

    class Late:
        @(EvLate.subscribe_command("late") if base is EvExternal else EvLate.subscribe)  # type: ignore[untyped-decorator]
        def handle(self, *args: Any) -> None:
            calls.append("handler")
            done.set()

    clock, module = ManualClock(), Module()
    config = timers(module=1, late=1)

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(
            config, [Late()], attach_handlers(config, [module]), lambda _: EvLate
        )

    with Gateway(write_config(tmp_path, config), None, event_init, clock=clock):
        assert calls[0] == "late start"
        clock.advance(0)
        if base in (EvStart, EvTick):
            assert done.wait(SOON)
    assert calls[-1] == "late stop"
    assert calls.count("handler") == (base in (EvStart, EvStop, EvTick))
    assert module.calls == ["hook started", "start", "tick", "stop", "hook stopped"]


def test_an_event_that_fails_to_stop_keeps_nobody_from_stopping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class EvBroken(EvMessage):
        def stop(self) -> None:
            raise OSError("boom")

    listener = Listener()
    with Gateway(
        write_config(tmp_path),
        None,
        lambda path, config, client: attach_handlers(config, [listener], [EvBroken(config)]),
    ) as gateway:
        pass
    assert gateway.stopev.is_set()
    assert listener.heard == ["stop"]
    assert "event 'message': stop failed" in caplog.text


def test_an_event_that_keeps_stop_waiting_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_watch, "AFTER", 0.05)
    let_go = threading.Event()

    class EvSlow(EvMessage):
        def stop(self) -> None:
            assert let_go.wait(10)

    with Gateway(
        write_config(tmp_path),
        None,
        lambda path, config, client: attach_handlers(config, [Listener()], [EvSlow(config)]),
    ) as gateway:
        stopping = in_thread(gateway.stop)
        assert eventually(lambda: "for `event 'message'`" in caplog.text)
        let_go.set()
        joined(stopping)
    assert "let_go.wait" in caplog.text  # its stack


def test_an_event_that_fails_to_start_stops_the_gateway(tmp_path: Path) -> None:
    class EvBroken(EvMessage):
        def start(self) -> None:
            raise OSError("no broker")

    listener = Listener()
    gateway = Gateway(
        write_config(tmp_path),
        None,
        lambda path, config, client: attach_handlers(config, [listener], [EvBroken(config)]),
    )
    with pytest.raises(OSError, match="no broker"):
        gateway.start()
    assert listener.heard == ["stop"]
    assert gateway.stopev.is_set()


def test_an_event_init_may_join_lists_of_sources(tmp_path: Path) -> None:
    class Other(Module):
        id = "other"

    class EvTickOfItsOwn(EvTick):
        pass

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return [
            *attach_handlers(config, [one]),
            *attach_handlers(config, [other], [EvTickOfItsOwn(config)]),
        ]

    one, other, clock = Module(), Other(), ManualClock()
    path = write_config(tmp_path, timers(module=1, other=1))
    with Gateway(path, None, event_init, clock=clock) as gateway:
        clock.advance(0)
        assert isinstance(gateway._sources.tick, EvTickOfItsOwn)
    assert one.calls == other.calls == ["hook started", "start", "tick", "stop", "hook stopped"]


def test_a_source_that_is_returned_twice_is_one(tmp_path: Path) -> None:
    started: List[str] = []

    class Other(Module):
        id = "other"

    class EvOfItsOwn(Event):
        event_type = "own"

        def start(self) -> None:
            started.append("own")

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        events = attach_handlers(config, [one], [EvOfItsOwn(config)])
        return events + attach_handlers(config, [other], events)  # which returns those as well

    one, other, clock = Module(), Other(), ManualClock()
    path = write_config(tmp_path, timers(module=1, other=1))
    with Gateway(path, None, event_init, clock=clock):
        clock.advance(0)
    assert one.calls == other.calls == ["hook started", "start", "tick", "stop", "hook stopped"]
    assert started == ["own"]


def test_two_sources_of_one_event_with_ways_of_their_own_are_an_error(tmp_path: Path) -> None:
    class EvTickOfItsOwn(EvTick):
        pass

    path = write_config(tmp_path)
    with pytest.raises(ModuleError, match="two sources of EventType.TICK"):
        Gateway(path, None, lambda path, config, client: [EvTickOfItsOwn(), EvTickOfItsOwn()])


def test_all_sources_that_are_there_stay() -> None:
    first, second = EvTick(), EvTick()
    attach_handlers({}, [Module()], [first])
    events = attach_handlers({}, [Module()], [first, second])
    assert events[:2] == [first, second]
    assert [first.number_of_handlers(), second.number_of_handlers()] == [1, 1]


def test_sources_without_a_type_are_all_started_and_keep_their_configuration(
    tmp_path: Path,
) -> None:
    started: List[Any] = []

    class EvBare(Event):
        def start(self) -> None:
            started.append(self._config)

    class EvTickThatLooks(EvTick):
        def start(self) -> None:
            started.append(self._config)
            super().start()

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return iter([EvBare(config), EvBare(config), EvTickThatLooks(config)])

    with Gateway(write_config(tmp_path), None, event_init) as gateway:
        assert [one is gateway.config for one in started] == [True] * 3


def test_modules_whose_handlers_are_given_by_hand_are_known_to_the_gateway(tmp_path: Path) -> None:
    module = Module()

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        stop = EvStop(config)
        found = extract_event_handlers_from_object(module)
        stop.add_handlers(one for one in found if one[1].event_type is EventType.STOP)
        return [stop]

    with Gateway(write_config(tmp_path), None, event_init) as gateway:
        assert list(gateway._modules.values()) == [module]
    assert module.calls == ["hook started", "stop", "hook stopped"]


def test_a_source_may_have_names_of_its_own(tmp_path: Path) -> None:
    heard: List[Any] = []

    class EvThreads(EvMessage):
        def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
            super().__init__(config)
            self._owners: Dict[str, Any] = {}

        def _join(self) -> None:
            heard.append("joined")

        def stop(self) -> None:
            super().stop()
            self._join()

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [Listener()], [EvThreads(config)])

    with Gateway(write_config(tmp_path), None, event_init):
        pass
    assert heard == ["joined"]


def test_ticks_of_a_type_of_its_own_take_new_periods(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class EvSlow(EvTick):
        event_type: Any = "slow"

    class Both:
        id = "both"
        ticks: List[str] = []

        @EvSlow.subscribe_timer("slow")
        def slow(self) -> None:
            self.ticks.append("slow")

        @EvTick.subscribe_timer("usual")
        def usual(self) -> None:
            self.ticks.append("usual")

    def event_init(path: str, config: Dict[str, Any], uuclient: Any) -> Iterable[Event]:
        return attach_handlers(config, [Both()], [EvSlow(config)])

    caplog.set_level("WARNING")
    clock = ManualClock()
    path = write_config(tmp_path, timers(both={"slow": 100, "usual": 100, "nobody": 1}))
    with Gateway(path, None, event_init, clock=clock) as gateway:
        clock.advance(0)
        gateway.config["gateway"]["moduleTimers"]["both"] = {"slow": 1, "usual": 1}
        gateway._rearm_timers()
        clock.advance(10)
        periods = {one.name: one.period for one in gateway.timer_stats()}
        assert periods == {"tick both:slow": 1, "tick both:usual": 1}
    assert sorted(Both.ticks) == ["slow"] * 11 + ["usual"] * 11
    assert caplog.messages == [
        "gateway.moduleTimers.both.nobody: no module has a tick handler for it"
    ]
