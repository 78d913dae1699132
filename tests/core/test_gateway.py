"""Building, starting and stopping a gateway."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Tuple

import pytest

from tests.core.helpers import (
    SOON,
    Ticker,
    Uuapp,
    in_thread,
    joined,
    library_threads,
    make_gateway,
    messages,
    records,
    timers,
    write_config,
)
from tests.support.wait import eventually
from uun_iot_core import (
    ConfigError,
    Event,
    Gateway,
    ManualClock,
    ModuleError,
    attach_handlers,
    on,
    stop_watch,
)
from uun_iot_core.events import EvStart

Events = Tuple[threading.Event, threading.Event]


class Recorder:
    """A module that notes what happens to it, and the gateway's events at that moment."""

    def __init__(self, clock: ManualClock, id: str = "recorder") -> None:
        self.id = id
        self.clock = clock
        self.log: List[str] = []
        self.evs: Any = None
        self.started = threading.Event()

    def note(self, what: str) -> None:
        if self.evs is not None:
            runev, stopev = self.evs
            what += f" run={runev.is_set()} stop={stopev.is_set()}"
        self.log.append(what)

    def _gateway_started(self) -> None:
        self.log.append("hook started")

    def _gateway_stopped(self) -> None:
        self.note("hook stopped")

    @on("start")
    def begin(self, evs: Events) -> None:
        self.evs = evs
        self.note("start")
        self.started.set()

    @on("tick")
    def tick(self) -> None:
        self.log.append("tick")

    @on("stop")
    def end(self) -> None:
        self.note("stop")


# -- building --------------------------------------------------------------------------------------


def test_module_init_gets_the_live_configuration_and_the_client(tmp_path: Path) -> None:
    uuapp, got = Uuapp(), []
    path = write_config(tmp_path, {"gateway": {"a": 1}})

    def init(config: Dict[str, Any], client: Any) -> None:
        got.append((config, client))

    built = Gateway(path, init, client=lambda config: uuapp)
    ((config, client),) = got
    assert config is built.config
    assert config == {"gateway": {"a": 1}}
    assert client is uuapp is built.uuapp_client


def test_the_client_is_made_from_the_configuration(tmp_path: Path) -> None:
    got: List[Any] = []

    def make(config: Dict[str, Any]) -> Uuapp:
        got.append(config)
        return Uuapp()

    built = Gateway(write_config(tmp_path), client=make)
    assert got[0] is built.config


def test_library_modules_are_part_of_the_gateway(tmp_path: Path) -> None:
    clock = ManualClock()
    ticker, uuapp = Ticker(clock), Uuapp()
    got: List[Any] = []

    def library(config: Dict[str, Any], client: Any) -> Iterable[Any]:
        got.append((config, client))
        yield ticker

    path = write_config(tmp_path, timers(ticker=2))
    with Gateway(
        path, clock=clock, client=lambda config: uuapp, library_modules=library
    ) as running:
        clock.advance(2)
    assert got == [(running.config, uuapp)]
    assert ticker.ticks == [0, 2]


def test_a_built_gateway_has_started_nothing(tmp_path: Path) -> None:
    recorder = Recorder(ManualClock())
    built = make_gateway(tmp_path, timers(recorder=1), recorder)
    assert recorder.log == []
    assert library_threads() == []
    assert not built.runev.is_set()
    assert not built.stopev.is_set()


def test_an_exception_of_module_init_is_the_callers(tmp_path: Path) -> None:
    class Boom(Exception):
        pass

    error = Boom("no such sensor")

    def init(config: Any, client: Any) -> None:
        raise error

    with pytest.raises(Boom) as caught:
        Gateway(write_config(tmp_path), init)
    assert caught.value is error


def closed_after(tmp_path: Path, init: Callable[[Recorder, Recorder], Any], **periods: Any) -> Any:
    """Build a gateway that cannot be built; return the error and what was closed."""
    uuapp = Uuapp()
    clock = ManualClock()
    library, one, two = (Recorder(clock, id) for id in ("library", "one", "two"))
    with pytest.raises(Exception) as caught:
        Gateway(
            write_config(tmp_path, timers(**periods)),
            lambda config, client: init(one, two),
            clock=clock,
            client=lambda config: uuapp,
            library_modules=lambda config, client: [library],
        )
    assert uuapp.hooks == [("stopped",)]
    assert library_threads() == []
    return caught.value, [module.log for module in (library, one, two)]


def test_after_an_exception_of_module_init_what_was_opened_is_closed(tmp_path: Path) -> None:
    def init(one: Recorder, two: Recorder) -> Any:
        raise RuntimeError("no such sensor")

    error, closed = closed_after(tmp_path, init)
    assert str(error) == "no such sensor"
    assert closed == [["hook stopped"], [], []]


def test_after_two_modules_of_one_id_all_are_closed_once(tmp_path: Path) -> None:
    def init(one: Recorder, two: Recorder) -> Any:
        two.id = "one"
        return [one, two]

    error, closed = closed_after(tmp_path, init)
    assert isinstance(error, ModuleError)
    assert closed == [["hook stopped"]] * 3


def test_after_periods_that_do_not_fit_all_are_closed_once(tmp_path: Path) -> None:
    error, closed = closed_after(tmp_path, lambda one, two: [one, two], one={"send": 5})
    assert isinstance(error, ConfigError)
    assert closed == [["hook stopped"]] * 3


def test_a_damaged_configuration_is_found_before_anything_is_made(tmp_path: Path) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("made")

    with pytest.raises(ConfigError):
        Gateway(
            write_config(tmp_path, timers(weather=0)), never, client=never, library_modules=never
        )


# -- start and stop --------------------------------------------------------------------------------


def test_everything_happens_in_order(tmp_path: Path) -> None:
    clock = ManualClock()
    recorder = Recorder(clock)
    uuapp = Uuapp()
    built = Gateway(
        write_config(tmp_path, timers(recorder=5)),
        lambda config, client: recorder,
        clock=clock,
        client=lambda config: uuapp,
    )
    built.start()
    assert recorder.started.wait(SOON)
    clock.advance(5)
    built.stop()
    assert recorder.log == [
        "hook started",
        "start run=True stop=False",
        "tick",
        "tick",
        "stop run=False stop=True",
        "hook stopped run=False stop=True",
    ]
    assert [hook[0] for hook in uuapp.hooks] == ["stopping", "stopped"]
    assert uuapp.hooks[0][1] == 5.0


def test_the_events_tell_whether_it_runs(tmp_path: Path) -> None:
    built = make_gateway(tmp_path)
    for _ in range(2):
        built.start()
        assert (built.runev.is_set(), built.stopev.is_set()) == (True, False)
        built.stop()
        assert (built.runev.is_set(), built.stopev.is_set()) == (False, True)


def test_the_context_manager_starts_and_stops(tmp_path: Path) -> None:
    recorder = Recorder(ManualClock())
    built = make_gateway(tmp_path, {}, recorder)
    with built as entered:
        assert entered is built
        assert built.runev.is_set()
        assert recorder.started.wait(SOON)
    assert built.stopev.is_set()
    assert recorder.log[-1] == "hook stopped run=False stop=True"


def test_an_exception_in_the_block_stops_the_gateway_and_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(ManualClock())
    with pytest.raises(KeyError):
        with make_gateway(tmp_path, {}, recorder) as running:
            raise KeyError("of the application")
    assert running.stopev.is_set()
    assert "hook stopped" in recorder.log[-1]


def test_starting_or_stopping_twice_does_nothing_more(tmp_path: Path) -> None:
    clock = ManualClock()
    recorder = Recorder(clock)
    built = make_gateway(tmp_path, timers(recorder=5), recorder, clock=clock)
    built.stop()
    assert recorder.log == []
    assert not built.stopev.is_set()
    built.start()
    built.start()
    assert recorder.started.wait(SOON)
    clock.advance(0)
    built.stop()
    built.stop()
    assert [entry.split(" ")[0] for entry in recorder.log] == [
        "hook",
        "start",
        "tick",
        "stop",
        "hook",
    ]


def test_it_may_be_started_again(tmp_path: Path) -> None:
    clock = ManualClock()
    recorder = Recorder(clock)
    built = make_gateway(tmp_path, timers(recorder=5), recorder, clock=clock)
    once: List[str] = []
    for _ in range(3):
        recorder.started.clear()
        recorder.evs = None
        recorder.log.clear()
        with built:
            assert recorder.started.wait(SOON)
            clock.advance(7)
        once = once or list(recorder.log)
        assert recorder.log == once
    assert once.count("tick") == 2


def test_each_start_handler_has_a_thread_of_its_own_and_start_does_not_wait(
    tmp_path: Path,
) -> None:
    meeting = threading.Barrier(3)
    threads: List[threading.Thread] = []

    class Module:
        @on("start")
        def one(self, evs: Events) -> None:
            threads.append(threading.current_thread())
            meeting.wait(SOON)

        @on("start")
        def two(self, evs: Events) -> None:
            threads.append(threading.current_thread())
            meeting.wait(SOON)

    with make_gateway(tmp_path, {}, Module()):
        meeting.wait(SOON)
    assert len({*threads, threading.current_thread()}) == 3


def test_the_first_ticks_do_not_wait_for_start_handlers(tmp_path: Path) -> None:
    clock = ManualClock()
    let_go = threading.Event()

    class Module(Ticker):
        @on("start")
        def begin(self, evs: Events) -> None:
            assert let_go.wait(SOON)

    module = Module(clock)
    with make_gateway(tmp_path, timers(ticker=1), module, clock=clock):
        clock.advance(0)
        assert module.ticks == [0]
        let_go.set()


def test_stop_handlers_are_called_together(tmp_path: Path) -> None:
    meeting = threading.Barrier(3)

    class Module:
        def __init__(self, id: str) -> None:
            self.id = id

        @on("stop")
        def end(self) -> None:
            meeting.wait(SOON)

    with make_gateway(tmp_path, {}, *(Module(id) for id in "abc")):
        pass
    assert not meeting.broken


def test_an_exception_in_a_handler_is_logged_with_its_stack_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @on("start")
        def begin(self, evs: Events) -> None:
            raise SystemExit("at start")

        @on("tick")
        def tick(self) -> None:
            raise ValueError("at tick")

        @on("stop")
        def end(self) -> None:
            raise KeyboardInterrupt("at stop")

        def _gateway_started(self) -> None:
            raise OSError("at the hook")

        def _gateway_stopped(self) -> None:
            raise OSError("at the other hook")

    clock = ManualClock()
    sound = Recorder(clock)
    with make_gateway(tmp_path, timers(broken=1, recorder=1), Broken(), sound, clock=clock):
        assert sound.started.wait(SOON)
        clock.advance(1)
    assert [entry.split(" ")[0] for entry in sound.log] == [
        *("hook", "start", "tick", "tick", "stop", "hook")
    ]
    logged = records(caplog, logging.ERROR)
    shown = [str(record.exc_info[1]) for record in logged if record.exc_info]
    assert sorted(shown) == [
        *("at start", "at stop", "at the hook", "at the other hook", "at tick", "at tick")
    ]
    assert all("`broken`" in record.getMessage() for record in logged)


def test_a_failing_client_hook_does_not_keep_it_from_stopping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Uuapp):
        def _gateway_stopping(self, grace: float) -> None:
            raise OSError("boom")

    recorder = Recorder(ManualClock())
    with Gateway(
        write_config(tmp_path), lambda config, client: recorder, client=lambda config: Broken()
    ):
        pass
    assert "hook stopped" in recorder.log[-1]
    assert messages(caplog, logging.ERROR) == ["the client: _gateway_stopping failed"]


def test_a_gateway_that_cannot_start_is_stopped(tmp_path: Path) -> None:
    class NoClock(ManualClock):
        def monotonic(self) -> float:
            raise OSError("no clock")

    recorder = Recorder(ManualClock())
    built = make_gateway(tmp_path, timers(recorder=1), recorder, clock=NoClock())
    with pytest.raises(OSError, match="no clock"):
        built.start()
    assert not built.runev.is_set()
    assert built.stopev.is_set()
    assert "hook stopped" in recorder.log[-1]


def test_a_gateway_leaves_no_reference_behind(tmp_path: Path) -> None:
    clock = ManualClock()
    ticker = Ticker(clock)
    built = make_gateway(tmp_path, timers(ticker=3600), ticker, clock=clock)
    with built:
        clock.advance(5)
    gone = weakref.ref(built), weakref.ref(ticker)
    del built, ticker
    gc.collect()
    assert [one() for one in gone] == [None, None]


# -- stopping from anywhere ------------------------------------------------------------------------


class Stopper:
    """A module that stops its gateway in one of its handlers."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.gateway: Any = None
        self.returned = threading.Event()
        self.built = threading.Event()

    def stop_if(self, here: str) -> None:
        if here == self.where:
            assert self.built.wait(SOON)
            self.gateway.stop()
            self.gateway.stop()
            self.returned.set()

    @on("start")
    def begin(self, evs: Events) -> None:
        self.stop_if("start")

    @on("tick")
    def tick(self) -> None:
        self.stop_if("tick")

    @on("stop")
    def end(self) -> None:
        self.stop_if("stop")


@pytest.mark.parametrize("where", ["start", "tick"])
def test_a_handler_may_stop_the_gateway_and_does_not_wait_for_itself(
    tmp_path: Path, where: str
) -> None:
    stopper = Stopper(where)
    built = Gateway(write_config(tmp_path, timers(stopper=0.01)), lambda config, client: stopper)
    stopper.gateway = built
    with built:
        stopper.built.set()
        assert stopper.returned.wait(SOON)
        assert built.stopev.is_set()
    assert not built.runev.is_set()


def test_a_stop_handler_may_stop_the_gateway_that_is_stopping(tmp_path: Path) -> None:
    stopper = Stopper("stop")
    stopper.gateway = built = make_gateway(tmp_path, {}, stopper)
    stopper.built.set()
    with built:
        pass
    assert stopper.returned.is_set()


def test_a_stop_handler_that_starts_the_gateway_gets_an_error_and_no_deadlock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Restless:
        id = "restless"

        @on("stop")
        def stop(self) -> None:
            built.start()

    built = make_gateway(tmp_path, {}, Restless())
    with built:
        pass
    assert not built.runev.is_set()
    assert "a handler cannot start the gateway while it stops" in caplog.text


def test_two_handlers_that_stop_the_gateway_at_once_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    both = threading.Barrier(2)
    returned = threading.Semaphore(0)

    class Module:
        @on("start")
        def one(self, evs: Events) -> None:
            both.wait(SOON)
            built.stop()
            returned.release()

        @on("start")
        def two(self, evs: Events) -> None:
            both.wait(SOON)
            built.stop()
            returned.release()

    for _ in range(20):
        both.reset()
        built = make_gateway(tmp_path, {}, Module())
        built.start()
        assert returned.acquire(timeout=SOON)
        assert returned.acquire(timeout=SOON)
        built.stop()
        assert built.stopev.is_set()


def test_several_threads_may_stop_at_once_and_all_return_when_it_is_done(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()
    calls: List[int] = []

    class Module:
        @on("stop")
        def end(self) -> None:
            calls.append(1)
            begun.set()
            assert let_go.wait(SOON)

    built = make_gateway(tmp_path, {}, Module())
    built.start()
    stopping = [in_thread(built.stop) for _ in range(4)]
    assert begun.wait(SOON)
    for thread in stopping:
        thread.join(0.02)
    assert all(thread.is_alive() for thread in stopping)
    let_go.set()
    for thread in stopping:
        joined(thread)
    assert calls == [1]


def test_a_stop_during_start_waits_for_it_and_then_stops(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    class Module(Recorder):
        def _gateway_started(self) -> None:
            begun.set()
            assert let_go.wait(SOON)
            super()._gateway_started()

    module = Module(ManualClock())
    built = make_gateway(tmp_path, {}, module)
    starting = in_thread(built.start)
    assert begun.wait(SOON)
    stopping = in_thread(built.stop)
    stopping.join(0.05)
    assert stopping.is_alive()
    let_go.set()
    joined(starting)
    joined(stopping)
    assert built.stopev.is_set()
    assert not built.runev.is_set()
    assert "hook stopped" in module.log[-1]


def test_a_start_during_stop_waits_for_it_and_then_starts(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    class Module:
        @on("stop")
        def end(self) -> None:
            begun.set()
            assert let_go.wait(SOON)

    built = make_gateway(tmp_path, {}, Module())
    built.start()
    stopping = in_thread(built.stop)
    assert begun.wait(SOON)
    starting = in_thread(built.start)
    starting.join(0.05)
    assert starting.is_alive()
    let_go.set()
    joined(stopping)
    joined(starting)
    assert built.runev.is_set()
    assert not built.stopev.is_set()
    built.stop()


def test_starts_and_stops_from_many_threads_end_in_one_state(tmp_path: Path) -> None:
    counts = {"start": 0, "stop": 0}

    class Module:
        def _gateway_started(self) -> None:
            counts["start"] += 1
            assert counts["start"] == counts["stop"] + 1

        def _gateway_stopped(self) -> None:
            counts["stop"] += 1
            assert counts["start"] == counts["stop"]

        @on("start")
        def begin(self, evs: Events) -> None: ...

        @on("tick")
        def tick(self) -> None: ...

    built = Gateway(write_config(tmp_path, timers(module=0.001)), lambda config, client: Module())

    def work(action: Callable[[], None]) -> None:
        for _ in range(25):
            action()

    workers = [
        in_thread(lambda action=action: work(action))  # type: ignore[misc]  # bound now
        for action in (built.start, built.stop) * 3
    ]
    for worker in workers:
        joined(worker)
    built.stop()
    assert counts["start"] == counts["stop"] >= 1


# -- what stop waits for ---------------------------------------------------------------------------


class Slow:
    """A module of which one handler takes until it is let go."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.ended = False
        self.closed_when_ended = False

    def hang_if(self, here: str) -> None:
        if here == self.where:
            self.begun.set()
            assert self.let_go.wait(SOON)
            self.ended = True

    @on("start")
    def begin(self, evs: Events) -> None:
        self.hang_if("start")

    @on("tick")
    def tick(self) -> None:
        self.hang_if("tick")

    @on("stop")
    def end(self) -> None:
        self.hang_if("stop")

    def _gateway_stopped(self) -> None:
        self.closed_when_ended = self.ended


@pytest.mark.parametrize("where", ["start", "tick", "stop"])
def test_stop_waits_for_running_handlers_and_closes_last(tmp_path: Path, where: str) -> None:
    slow = Slow(where)
    built = Gateway(write_config(tmp_path, timers(slow=3600)), lambda config, client: slow)
    built.start()
    if where != "stop":
        assert slow.begun.wait(SOON)
    stopping = in_thread(built.stop)
    assert slow.begun.wait(SOON)
    stopping.join(0.05)
    assert stopping.is_alive()
    assert built.stopev.is_set()
    slow.let_go.set()
    joined(stopping)
    assert slow.closed_when_ended


def test_all_timers_stop_at_once_while_stop_handlers_still_run(tmp_path: Path) -> None:
    slow = Slow("stop")
    ticks = threading.Semaphore(0)

    class Quick:
        @on("tick")
        def tick(self) -> None:
            ticks.release()

    built = Gateway(
        write_config(tmp_path, timers(slow=3600, quick=0.01)),
        lambda config, client: [slow, Quick()],
    )
    built.start()
    assert ticks.acquire(timeout=SOON)
    assert ticks.acquire(timeout=SOON)
    stopping = in_thread(built.stop)
    assert slow.begun.wait(SOON)
    while ticks.acquire(blocking=False):
        pass
    ticks.acquire(timeout=0.1)  # one may have been under way when the stop began
    assert not ticks.acquire(timeout=0.1)
    slow.let_go.set()
    joined(stopping)


def test_start_handlers_end_by_the_events(tmp_path: Path) -> None:
    rounds: List[int] = []
    running = threading.Event()

    class Polling:
        @on("start")
        def poll(self, evs: Events) -> None:
            runev, stopev = evs
            while runev.is_set():
                rounds.append(1)
                running.set()
                stopev.wait(SOON)

    with make_gateway(tmp_path, {}, Polling()):
        assert running.wait(SOON)
    assert rounds == [1]


@pytest.mark.parametrize("where", ["start", "tick", "stop"])
def test_what_keeps_stop_waiting_is_named_with_its_stack_and_again_later(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    assert (stop_watch.AFTER, stop_watch.EVERY) == (10, 60)
    monkeypatch.setattr(stop_watch, "AFTER", 0.05)
    monkeypatch.setattr(stop_watch, "EVERY", 0.1)
    slow = Slow(where)
    built = Gateway(write_config(tmp_path, timers(slow=3600)), lambda config, client: slow)
    built.start()
    if where != "stop":
        assert slow.begun.wait(SOON)
    stopping = in_thread(built.stop)
    assert eventually(lambda: len(messages(caplog, logging.WARNING)) >= 3)
    slow.let_go.set()
    joined(stopping)
    for line in messages(caplog, logging.WARNING):
        assert f"`uun_iot {where} slow`" in line
        assert "in hang_if" in line
    said = len(messages(caplog, logging.WARNING))
    assert not threading.Event().wait(0.15)
    assert len(messages(caplog, logging.WARNING)) == said


class Hanging:
    """A module that a start, or the end of a stop, waits for until it is let go."""

    id = "hanging"

    def __init__(self, where: str) -> None:
        self.where = where
        self.begun, self.let_go = threading.Event(), threading.Event()

    def hang_if(self, here: str) -> None:
        if here == self.where:
            self.begun.set()
            assert self.let_go.wait(SOON)

    @EvStart.subscribe_blocking
    def start(self, evs: Events) -> None:
        self.hang_if("start")

    def _gateway_started(self) -> None:
        self.hang_if("opening")

    def _gateway_stopped(self) -> None:
        self.hang_if("closing")


@pytest.mark.parametrize(
    ("where", "name"),
    [("start", "uun_iot start hanging"), ("opening", "the gateway"), ("closing", "the gateway")],
)
def test_whatever_else_keeps_stop_waiting_is_named_too(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    name: str,
) -> None:
    monkeypatch.setattr(stop_watch, "AFTER", 0.05)
    monkeypatch.setattr(stop_watch, "EVERY", 0.1)
    hanging = Hanging(where)
    built = make_gateway(tmp_path, {}, hanging)
    starting = in_thread(built.start)
    if where == "closing":
        joined(starting)
    else:
        assert hanging.begun.wait(SOON)
    stopping = in_thread(built.stop)
    assert eventually(lambda: len(messages(caplog, logging.WARNING)) >= 2)
    hanging.let_go.set()
    joined(starting)
    joined(stopping)
    for line in messages(caplog, logging.WARNING):
        assert f"for `{name}`" in line
        assert "in hang_if" in line
    assert built.stopev.is_set()


def test_a_stop_without_waiting_warns_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_gateway(tmp_path, {}, Slow("never")):
        pass
    assert messages(caplog, logging.WARNING) == []


def test_the_threads_of_handlers_have_names(tmp_path: Path) -> None:
    slow = Slow("start")
    with make_gateway(tmp_path, {}, slow):
        assert slow.begun.wait(SOON)
        assert [thread.name for thread in library_threads()] == ["uun_iot start slow"]
        slow.let_go.set()


class Closing:
    """Notes that it was closed; the first is interrupted there, as by Ctrl-C."""

    def __init__(self, id: str, interrupted: bool) -> None:
        self.id = id
        self.closed = False
        self._interrupted = interrupted

    def _gateway_stopped(self) -> None:
        self.closed = True
        if self._interrupted:
            raise KeyboardInterrupt


def test_ctrl_c_while_modules_are_closed_closes_the_others_and_ends_the_stop(
    tmp_path: Path,
) -> None:
    first, second = Closing("first", True), Closing("second", False)
    built = make_gateway(tmp_path, {}, first, second)
    built.start()
    with pytest.raises(KeyboardInterrupt):
        built.stop()
    assert first.closed and second.closed
    built.stop()  # is stopped, and says so
    assert not built.runev.is_set()


@pytest.mark.skipif(os.name != "posix", reason="the signals are those of POSIX")
@pytest.mark.parametrize("handler", [signal.default_int_handler, lambda *_: sys.exit(3)])
def test_no_signal_leaves_a_module_unclosed(tmp_path: Path, handler: Any) -> None:
    class Saving:
        id = "saving"
        saved = 0

        def _gateway_stopped(self) -> None:
            if self.saved == 0 and not signals:
                signals.append(1)
                signal.raise_signal(signal.SIGINT)
            self.saved += 1

    signals: List[int] = []
    saving = Saving()
    built = make_gateway(tmp_path, {}, saving)
    before = signal.signal(signal.SIGINT, handler)
    try:
        built.start()
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            built.stop()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert signals and saving.saved == 1
    built.start()  # it is stopped, and can be started again
    built.stop()
    assert saving.saved == 2


@pytest.mark.parametrize("where", ["start", "stop", "_gateway_started", "_gateway_stopped"])
def test_what_starts_and_stops_with_the_gateway_may_stop_it(tmp_path: Path, where: str) -> None:
    class EvOwn(Event):
        event_type = "own"

        def start(self) -> None:
            called("start")

        def stop(self) -> None:
            called("stop")

    class Hooked:
        id = "hooked"

        @on("update")
        def update(self) -> None:
            pass

        def _gateway_started(self) -> None:
            called("_gateway_started")

        def _gateway_stopped(self) -> None:
            called("_gateway_stopped")

    def called(place: str) -> None:
        places.append(place)
        if place == where:
            built.stop()

    def run() -> None:
        built.start()
        running.append(built.runev.is_set())
        built.stop()

    places: List[str] = []
    running: List[bool] = []

    def events(path: Any, config: Any, client: Any) -> List[Event]:
        return attach_handlers(config, [hooked], [EvOwn()])

    hooked = Hooked()
    built = Gateway(write_config(tmp_path, {}), event_init=events)
    joined(in_thread(run))
    assert running == [where.lstrip("_").replace("gateway_", "") not in ("start", "started")]
    assert places == ["_gateway_started", "start", "stop", "_gateway_stopped"]
    assert not built.runev.is_set()


def test_a_signal_handler_may_stop_a_gateway_that_its_own_thread_is_starting(
    tmp_path: Path,
) -> None:
    class Signalled:
        id = "signalled"

        def _gateway_started(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    built = make_gateway(tmp_path, {}, Signalled())
    before = signal.signal(signal.SIGTERM, lambda *_: built.stop())
    try:
        built.start()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert built.stopev.is_set() and not built.runev.is_set()


def test_a_module_may_refuse_a_configuration_that_it_could_not_start_with(
    tmp_path: Path,
) -> None:
    class Choosy:
        id = "choosy"

        def _configuration_problems(self, gateway: Any) -> List[str]:
            return [] if gateway.get("choosy") != "bad" else ["gateway.choosy: expected good"]

    built = make_gateway(tmp_path, {}, Choosy())
    assert built._misfits({"choosy": "bad"}) == ["gateway.choosy: expected good"]
    assert built._misfits({"choosy": "good"}) == []


def test_a_module_that_is_given_twice_is_one(tmp_path: Path) -> None:
    clock = ManualClock()
    ticker = Ticker(clock)
    with make_gateway(tmp_path, timers(ticker=1), ticker, ticker, clock=clock):
        clock.advance(0)
    assert len(ticker.ticks) == 1
