"""The configuration update: what the uuApp says, what is taken, what is kept."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from tests.core.helpers import (
    COMMAND,
    SOON,
    Ticker,
    Updated,
    Uuapp,
    in_thread,
    joined,
    messages,
    timers,
    write_config,
)
from tests.support.wait import eventually
from uun_iot_core import Config, EvConfUpdate, Gateway, ManualClock, on

TIMERS = {"config": 10}


class Listener:
    """A module that waits for updates, and does then what the test says."""

    def __init__(self, id: str = "listener") -> None:
        self.id = id
        self.updates = 0
        self.action: Any = lambda: None
        self.threads: List[threading.Thread] = []
        self._changed = threading.Condition()

    @on("update")
    def update(self) -> None:
        self.threads.append(threading.current_thread())
        try:
            self.action()
        finally:
            with self._changed:
                self.updates += 1
                self._changed.notify_all()

    def wait_for(self, updates: int) -> None:
        """Wait until so many updates have been handled in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.updates >= updates, SOON)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def updated(tmp_path: Path, listener: Listener) -> Iterator[Updated]:
    with Updated(tmp_path, {"place": "roof", "listener": {"a": 1}}, [listener]) as updated:
        yield updated


def reply(**gateway: Any) -> Dict[str, Any]:
    """Return a complete reply."""
    return {
        "moduleTimers": TIMERS,
        "place": "roof",
        "listener": {"a": 1},
        **gateway,
        "uuAppErrorMap": {},
    }


# -- taken ---------------------------------------------------------------------------------------


def test_a_call_by_hand_in_a_tick_handler_always_asks(tmp_path: Path) -> None:
    class Impatient:
        id = "impatient"

        @on("tick")
        def tick(self) -> None:
            built._config.on_tick()

    class Failing:
        asked = 0

        def get(self, uucmd: str, dto_in: Any = None, log_level: int = 30) -> Any:
            self.asked += 1
            return None, ConnectionError("nobody is there")

    clock, client = ManualClock(), Failing()
    config = timers(impatient=1, config=1000)
    config["uuApp"] = {"uuCmdList": {"gatewayGetConfiguration": COMMAND}}
    module = Impatient()
    path = write_config(tmp_path, config)
    built = Gateway(path, lambda config, _: module, clock=clock, client=lambda config: client)
    with built:
        clock.advance(60)
    assert client.asked == 61 + 1


def test_an_update_is_taken_into_memory_and_file_and_announced(
    updated: Updated, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    updated.ask(reply(place="cellar", camera={"password": "hunter2"}))
    listener.wait_for(1)
    expected = {
        "moduleTimers": TIMERS,
        "place": "cellar",
        "listener": {"a": 1},
        "camera": {"password": "hunter2"},
    }
    assert updated.live == updated.saved == expected
    assert "configuration updated: place, camera" in messages(caplog, logging.INFO)
    assert updated.uuapp.asked == [COMMAND] * 2


def test_the_other_parts_of_the_file_stay(updated: Updated) -> None:
    before = json.loads(updated.path.read_text())
    updated.ask(reply(place="cellar"))
    after = json.loads(updated.path.read_text())
    assert after.pop("gateway") != before.pop("gateway")
    assert after == before


def test_what_modules_hold_is_updated_in_place(updated: Updated) -> None:
    config, gateway = updated.gateway.config, updated.live
    updated.ask(reply(place="cellar"))
    assert updated.gateway.config is config
    assert config["gateway"] is gateway
    assert gateway["place"] == "cellar"


def test_no_value_is_logged_and_no_secret(
    updated: Updated, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    updated.ask(reply(place="cellar", camera={"password": "hunter2"}))
    listener.wait_for(1)
    updated.ask({"camera": {"password": "hunter3"}, "moduleTimers": {"config": "hunter4"}})
    assert caplog.text
    for secret in ("hunter", "cellar", "SECRET-CODE"):
        assert secret not in caplog.text


def test_handlers_read_the_new_configuration_and_file(updated: Updated, listener: Listener) -> None:
    seen: List[Tuple[Any, Any]] = []
    listener.action = lambda: seen.append((updated.live["place"], updated.saved["place"]))
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    assert seen == [("cellar", "cellar")]


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, True), (0, False), (1, 1.0), ("1", 1), (None, 0), ([], {}), ([1, 2], [2, 1])],
)
def test_values_that_only_python_takes_for_equal_are_a_change(
    tmp_path: Path, old: Any, new: Any
) -> None:
    with Updated(tmp_path, {"value": old}) as updated:
        updated.ask({"moduleTimers": TIMERS, "value": new})
        assert json.dumps(updated.live["value"]) == json.dumps(new)
        assert json.dumps(updated.saved["value"]) == json.dumps(new)


def test_on_tick_may_be_called_by_hand(updated: Updated) -> None:
    module = updated.gateway._modules["config"]
    assert isinstance(module, Config)
    updated.uuapp.reply = reply(place="cellar")
    module.on_tick()
    assert updated.saved["place"] == "cellar"
    assert module.config is updated.gateway.config


def test_two_threads_that_ask_at_once_take_turns(tmp_path: Path) -> None:
    """Else what was fetched first might be applied last, and keys of both be mixed."""
    asked, let_go = threading.Event(), threading.Event()

    class Slow(Uuapp):
        def get(self, *args: Any, **kwargs: Any) -> Any:
            found = super().get(*args, **kwargs)
            if not asked.is_set():
                asked.set()
                assert let_go.wait(SOON)
            return found

    updated = Updated(tmp_path, {"place": "roof", "color": "red"})
    updated.uuapp = Slow({"place": "cellar", "color": "red"})
    updated.gateway.uuapp_client = updated.uuapp
    first = in_thread(updated.gateway._config.on_tick)
    assert asked.wait(SOON)
    updated.uuapp.reply = {"place": "roof", "color": "blue"}
    second = in_thread(updated.gateway._config.on_tick)
    second.join(0.1)
    assert second.is_alive()
    let_go.set()
    joined(first)
    joined(second)
    assert (updated.live["place"], updated.live["color"]) == ("roof", "blue")
    assert updated.saved == updated.live


def test_callbacks_registered_later_replace_those_before(tmp_path: Path) -> None:
    first, second, third = Listener("first"), Listener("second"), Listener("third")
    with Updated(tmp_path, {}, [first]) as updated:
        updated.gateway._config.register_callbacks({"second": second, "third": third})
        updated.ask({"moduleTimers": TIMERS, "a": 1})
        second.wait_for(1)
        third.wait_for(1)
        updated.gateway._config.register_callbacks([second])
        updated.ask({"moduleTimers": TIMERS, "a": 2})
        second.wait_for(2)
    assert (first.updates, second.updates, third.updates) == (0, 2, 1)


# -- not taken -----------------------------------------------------------------------------------


def test_the_last_accepted_reply_again_is_no_update_whatever_handlers_have_changed(
    updated: Updated, listener: Listener
) -> None:
    listener.action = lambda: updated.live.update(place="moved by hand")
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    assert eventually(lambda: updated.saved["place"] == "moved by hand")
    before = updated.path.stat().st_mtime_ns
    for _ in range(3):
        updated.ask(reply(place="cellar"))
    assert updated.live["place"] == "moved by hand"
    assert updated.path.stat().st_mtime_ns == before
    listener.action = lambda: None
    updated.ask(reply(place="attic"))
    listener.wait_for(2)
    assert updated.saved["place"] == "attic"
    updated.gateway.stop()
    assert listener.updates == 2


def test_nor_is_it_one_after_a_restart_unless_somebody_has_edited_the_file(
    updated: Updated, listener: Listener
) -> None:
    listener.action = lambda: updated.live.update(place="moved by hand")
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    updated.gateway.stop()
    assert updated.saved["place"] == "moved by hand"

    def restarted() -> Gateway:
        init, client = (lambda config, client: listener), (lambda config: updated.uuapp)
        return Gateway(str(updated.path), init, clock=updated.clock, client=client)

    for _ in range(2):
        with restarted() as gateway:
            gateway._config.on_tick()
        assert updated.saved["place"] == "moved by hand"
    assert listener.updates == 1

    updated.path.write_text(updated.path.read_text().replace("moved by hand", "edited"))
    with restarted() as gateway:
        gateway._config.on_tick()
    assert updated.saved["place"] == "cellar"
    assert listener.updates == 2


def test_the_order_of_keys_is_no_update(updated: Updated, listener: Listener) -> None:
    updated.ask(reply(a={"x": 1, "y": 2}))
    listener.wait_for(1)
    before = updated.path.read_bytes()
    updated.ask(dict(reversed(list(reply(a={"y": 2, "x": 1}).items()))))
    updated.gateway.stop()
    assert listener.updates == 1
    assert updated.path.read_bytes() == before


def test_a_reply_equal_to_the_present_configuration_changes_nothing(
    updated: Updated, listener: Listener
) -> None:
    before = updated.path.stat()
    updated.ask(reply())
    updated.gateway.stop()
    after = updated.path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert listener.updates == 0


def test_the_error_map_is_no_part_of_the_configuration(updated: Updated) -> None:
    updated.ask({**reply(place="cellar"), "uuAppErrorMap": {"a/warning": {"type": "warning"}}})
    assert "uuAppErrorMap" not in updated.live
    assert "uuAppErrorMap" not in updated.saved
    before = updated.path.stat().st_mtime_ns
    updated.ask({**reply(place="cellar"), "uuAppErrorMap": {"another": {}}})
    assert updated.path.stat().st_mtime_ns == before


REFUSED: Dict[str, Any] = {
    "a list": [{"place": "cellar"}],
    "null": "null",
    "a string": '"cellar"',
    "a number": "5",
    "HTML": "<html>sign in</html>",
    "nothing": "",
    "cut off": '{"place": "cel',
    "nested without end": "[" * 200_000,
    "timers that are no object": {"place": "cellar", "moduleTimers": [10]},
    "a period of 0": {"place": "cellar", "moduleTimers": {"config": 0}},
    "a period as text": {"place": "cellar", "moduleTimers": {"config": "10"}},
    "a boolean period": {"place": "cellar", "moduleTimers": {"config": True}},
    "a period that is no number": '{"place": "cellar", "moduleTimers": {"config": NaN}}',
    "a value that is no JSON": '{"place": "cellar", "a": [NaN]}',
    "another one": '{"place": "cellar", "a": 1e999}',
    "named periods for a plain timer": {"place": "cellar", "moduleTimers": {"config": {"a": 1}}},
    "one period for named timers": {"place": "cellar", "moduleTimers": {"named": 5, "config": 10}},
    "storage of a wrong type": {"place": "cellar", "moduleBackupStorage": {"listener": 5}},
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED.keys())
def test_a_reply_that_cannot_be_used_is_logged_and_changes_nothing(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    class Named:
        @on("tick", "send")
        def send(self) -> None: ...

    start = {"place": "roof", "moduleTimers": {"named": {"send": 7}}}
    with Updated(tmp_path, start, [listener, Named()]) as updated:
        content = updated.path.read_bytes()
        updated.ask(wrong)
        assert updated.live == updated.start
        assert updated.path.read_bytes() == content
        assert len(messages(caplog, logging.ERROR)) == 1
        assert "cellar" not in caplog.text
        # and the next good one is taken
        updated.ask({"place": "attic"})
        listener.wait_for(1)
        assert updated.saved["place"] == "attic"
    assert listener.updates == 1


def test_an_invalid_reply_that_comes_again_is_logged_once(
    updated: Updated, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        updated.ask(reply(moduleTimers={"config": -5}))
    (line,) = messages(caplog, logging.ERROR)
    assert "gateway.moduleTimers.config: expected" in line


@pytest.mark.parametrize("body", ["[]", "{", "null"])
def test_a_reply_that_is_no_object_is_logged_once_until_another_one_comes(
    updated: Updated, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    for said in (1, 2):
        for _ in range(3):
            updated.ask(body)
        assert len(messages(caplog, logging.ERROR)) == said
        updated.ask(reply(place=said))


def test_a_failing_call_changes_nothing_and_warns_once_until_it_succeeds(
    updated: Updated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    before = updated.path.read_bytes()
    updated.ask(ConnectionError("no route to host"))
    for _ in range(3):
        updated.gateway._config.on_tick()  # by hand: no such call is skipped
    assert updated.path.read_bytes() == before
    assert len(messages(caplog, logging.WARNING)) == 1
    updated.uuapp.reply = reply(place="cellar")
    updated.gateway._config.on_tick()
    updated.ask(ConnectionError("no route to host"))
    assert len(messages(caplog, logging.WARNING)) == 2
    assert updated.saved["place"] == "cellar"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"uuApp": {}},
        {"uuApp": {"uuCmdList": {}}},
        {"uuApp": {"uuCmdList": {"gatewayGetConfiguration": None}}},
    ],
)
def test_without_the_command_nothing_is_asked_and_it_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: Dict[str, Any]
) -> None:
    clock = ManualClock()
    path = write_config(tmp_path, {"gateway": {"moduleTimers": TIMERS}, **config})

    class Client:
        def get(self, uucmd: str, dto_in: Any = None, log_level: int = 30) -> Any:
            raise AssertionError("asked")

    for client in (None, lambda config: Client()):
        with Gateway(path, clock=clock, client=client):
            clock.advance(30)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


# -- kept ----------------------------------------------------------------------------------------


def test_keys_that_a_reply_leaves_out_are_kept_with_one_warning(
    updated: Updated, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("cellar", "attic", "garden"):
        updated.ask({"moduleTimers": TIMERS, "place": place})
        assert updated.saved == {"moduleTimers": TIMERS, "place": place, "listener": {"a": 1}}
        assert updated.live == updated.saved
    (line,) = messages(caplog, logging.WARNING)
    assert "leaves out gateway.listener" in line


def test_a_left_out_period_of_config_is_kept(
    updated: Updated, caplog: pytest.LogCaptureFixture
) -> None:
    updated.ask(reply(moduleTimers={}))
    assert updated.live["moduleTimers"] == updated.saved["moduleTimers"] == TIMERS
    assert any("gateway.moduleTimers.config" in line for line in messages(caplog, logging.WARNING))
    updated.ask(reply(moduleTimers={}, place="cellar"))
    assert updated.saved["place"] == "cellar"


def test_new_keys_are_taken_also_with_nondecremental_update(updated: Updated) -> None:
    updated.ask({"nondecrementalUpdate": True, "new": [1]})
    assert updated.saved == {
        "moduleTimers": TIMERS,
        "place": "roof",
        "listener": {"a": 1},
        "nondecrementalUpdate": True,
        "new": [1],
    }


def test_the_saved_file_starts_the_next_gateway(updated: Updated, tmp_path: Path) -> None:
    updated.ask(reply(place="čidlo 温度 \ud83d"))
    updated.gateway.stop()
    assert Gateway(str(updated.path)).config == updated.gateway.config


def test_a_storage_that_changes_takes_effect_at_the_next_start_and_is_logged(
    updated: Updated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    updated.ask(reply(moduleBackupStorage={"listener": "a.json"}))
    assert any(
        "moduleBackupStorage" in line and "next start" in line
        for line in messages(caplog, logging.INFO)
    )


# -- timers --------------------------------------------------------------------------------------


class Timed(Updated):
    """An updated gateway with one ticking module."""

    def __init__(self, directory: Path, period: float) -> None:
        self.ticker = Ticker(ManualClock())
        super().__init__(directory, {"moduleTimers": {"ticker": period}}, [self.ticker])
        self.ticker.clock = self.clock

    def ask_period(self, period: Any) -> None:
        self.ask({"moduleTimers": {"config": 10, "ticker": period}})


def test_a_changed_timer_is_re_armed_at_once_without_an_extra_tick(tmp_path: Path) -> None:
    with Timed(tmp_path, 100) as updated:
        updated.ask_period(3)
        assert updated.ticker.ticks == [0]
        updated.clock.advance(7)
    assert updated.ticker.ticks == [0, 13, 16]


def test_a_timer_may_become_slower(tmp_path: Path) -> None:
    with Timed(tmp_path, 4) as updated:
        updated.ask_period(25)
        updated.clock.advance(50)
    assert updated.ticker.ticks == [0, 4, 8, 35, 60]


def test_an_unchanged_timer_keeps_its_phase(tmp_path: Path) -> None:
    with Timed(tmp_path, 4) as updated:
        updated.ask({"moduleTimers": {"config": 10, "ticker": 4}, "a": 1})
        updated.clock.advance(6)
    assert updated.ticker.ticks == [0, 4, 8, 12, 16]


def test_the_period_of_config_itself_may_change(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.ask({"moduleTimers": {"config": 3}})
        asked = len(updated.uuapp.asked)
        updated.clock.advance(9)
        assert len(updated.uuapp.asked) == asked + 3


def test_a_timer_that_is_gone_stops_and_ticks_again_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    with Timed(tmp_path, 4) as updated:
        updated.ask({"moduleTimers": {"config": 10}})
        updated.clock.advance(20)
        assert updated.ticker.ticks == [0, 4, 8]
        assert any("ticker is gone" in line for line in messages(caplog, logging.INFO))
        updated.ask_period(4)
        updated.clock.advance(10)
    assert len(updated.ticker.ticks) > 4
    assert updated.ticker.ticks[3] >= 40


def test_a_timer_that_is_new_takes_effect_at_the_next_start_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    ticker = Ticker(ManualClock())
    with Updated(tmp_path, {}, [ticker]) as updated:
        ticker.clock = updated.clock
        updated.ask({"moduleTimers": {"config": 10, "ticker": 2}})
        updated.clock.advance(20)
        assert ticker.ticks == []
        assert "gateway.moduleTimers.ticker is new: it takes effect at the next start" in messages(
            caplog, logging.INFO
        )
    assert updated.saved["moduleTimers"]["ticker"] == 2
    again = Ticker(updated.clock)
    with Gateway(str(updated.path), lambda config, client: again, clock=updated.clock):
        updated.clock.advance(2)
    assert len(again.ticks) == 2


def test_a_refused_update_leaves_the_timers(tmp_path: Path) -> None:
    with Timed(tmp_path, 4) as updated:
        updated.ask({"moduleTimers": {"config": 10, "ticker": 1, "other": -1}})
        updated.clock.advance(6)
    assert updated.ticker.ticks == [0, 4, 8, 12, 16]


def test_a_running_handler_does_not_delay_an_update(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()
    ticks: List[int] = []

    class Hanging:
        id = "hanging"

        @on("tick")
        def tick(self) -> None:
            ticks.append(1)
            begun.set()
            assert let_go.wait(SOON)

    path = tmp_path / "config.json"
    start = {
        "gateway": {"moduleTimers": {"hanging": 3600, "config": 0.02}},
        "uuApp": {"uuCmdList": {"gatewayGetConfiguration": COMMAND}},
    }
    path.write_text(json.dumps(start))
    uuapp = Uuapp()
    with Gateway(
        str(path), lambda config, client: Hanging(), client=lambda config: uuapp
    ) as gateway:
        assert begun.wait(SOON)
        uuapp.reply = {"moduleTimers": {"hanging": 0.05, "config": 0.02}}
        for config in (lambda: json.loads(path.read_text()), lambda: gateway.config):
            assert eventually(
                lambda config=config: config()["gateway"]["moduleTimers"]["hanging"] == 0.05  # type: ignore[misc]  # bound now
            )
        assert ticks == [1]
        let_go.set()
        assert eventually(lambda: len(ticks) >= 3)


# -- handlers ------------------------------------------------------------------------------------


def test_an_update_is_taken_while_a_handler_adds_keys_to_the_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    updated = Updated(tmp_path, {"scratch": {str(number): number for number in range(2000)}})
    scratch = updated.live["scratch"]

    def busy() -> None:
        number = 0
        while not done.is_set():
            number += 1
            scratch[f"new {number}"] = number
            if number % 50 == 0:
                for key in [key for key in scratch if key.startswith("new")]:
                    del scratch[key]
                done.wait(0.002)

    with updated:
        thread = in_thread(busy)
        try:
            for number in range(20):
                updated.ask({"counter": number})
                assert updated.live["counter"] == number
        finally:
            done.set()
            joined(thread)
    assert updated.saved["counter"] == 19
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_each_handler_runs_in_a_thread_of_its_own_and_may_run_long(tmp_path: Path) -> None:
    let_go = threading.Event()
    slow, quick = Listener("slow"), Listener("quick")
    slow.action = lambda: let_go.wait(SOON)
    with Updated(tmp_path, {}, [slow, quick]) as updated:
        updated.ask({"moduleTimers": TIMERS, "a": 1})
        quick.wait_for(1)
        updated.ask({"moduleTimers": TIMERS, "a": 2})
        quick.wait_for(2)
        assert updated.saved["a"] == 2
        assert slow.updates == 0
        assert slow.threads[0] not in (threading.main_thread(), *quick.threads)
        let_go.set()
        slow.wait_for(2)


def test_a_handler_in_both_styles_and_one_without_a_hash_are_called(tmp_path: Path) -> None:
    calls: List[str] = []

    class Callable:
        __hash__ = None  # type: ignore[assignment]  # as of a class with __eq__ alone

        def __call__(self, new_config: Dict[str, Any]) -> None:
            calls.append(f"callable {new_config['a']}")

    class Both:
        def __init__(self) -> None:
            self.callable = EvConfUpdate.subscribe(Callable())

        @EvConfUpdate.subscribe
        @on("update")
        def update(self, *new_config: Any) -> None:
            calls.append(f"update {len(new_config)}")

    with Updated(tmp_path, {"a": 1}, [Both()]) as updated:
        updated.ask({**updated.start, "a": 2})
    assert sorted(calls) == ["callable 2", "update 0", "update 1"]


def test_updates_during_a_running_handler_become_one_further_call(
    updated: Updated, listener: Listener
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    seen: List[Any] = []
    inside: List[int] = []

    def slow() -> None:
        inside.append(1)
        assert len(inside) == 1, "overlaps itself"
        seen.append(updated.live["place"])
        begun.set()
        assert let_go.wait(SOON)
        inside.pop()

    listener.action = slow
    updated.ask(reply(place="one"))
    assert begun.wait(SOON)
    for place in ("two", "three", "four"):
        updated.ask(reply(place=place))
    let_go.set()
    listener.wait_for(2)
    updated.gateway.stop()
    assert seen == ["one", "four"]


def test_stopping_waits_for_the_handlers_and_begins_no_further_call(
    updated: Updated, listener: Listener
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert let_go.wait(SOON)

    listener.action = slow
    updated.ask(reply(place="one"))
    assert begun.wait(SOON)
    updated.ask(reply(place="two"))
    stopping = in_thread(updated.gateway.stop)
    assert updated.gateway.stopev.wait(SOON)
    stopping.join(0.05)
    assert stopping.is_alive()
    let_go.set()
    joined(stopping)
    assert listener.updates == 1
    updated.gateway.start()  # which makes up for it
    listener.wait_for(2)
    updated.gateway.stop()
    assert listener.updates == 2


def test_an_update_that_is_fetched_while_the_gateway_stops_is_announced_by_the_next_start(
    updated: Updated, listener: Listener
) -> None:
    asked, let_go = threading.Event(), threading.Event()
    get = updated.uuapp.get

    def slow(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        assert let_go.wait(SOON)
        return get(*args, **kwargs)

    updated.uuapp.get = slow  # type: ignore[method-assign] # a server that takes its time
    updated.uuapp.reply = reply(place="cellar")
    asking = in_thread(lambda: updated.clock.advance(10))
    assert asked.wait(SOON)
    stopping = in_thread(updated.gateway.stop)
    assert eventually(lambda: updated.gateway._sources.update._cancelled)
    let_go.set()
    joined(asking)
    joined(stopping)
    assert updated.live["place"] == updated.saved["place"] == "cellar"
    assert listener.updates == 0
    updated.gateway.start()
    listener.wait_for(1)
    updated.gateway.stop()
    updated.gateway.start()
    updated.gateway.stop()
    assert listener.updates == 1


def test_what_a_handler_raises_is_logged_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Listener("broken"), Listener("sound")

    def fail() -> None:
        raise SystemExit(3)

    broken.action = fail
    with Updated(tmp_path, {}, [broken, sound]) as updated:
        for number in (1, 2):
            updated.ask({"moduleTimers": TIMERS, "a": number})
            broken.wait_for(number)
            sound.wait_for(number)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert all("update handler of module `broken`" in one.getMessage() for one in errors)
    assert all(one.exc_info for one in errors)


def test_what_a_handler_changes_is_saved(updated: Updated, listener: Listener) -> None:
    def change() -> None:
        updated.live["listener"]["a"] = 2
        updated.gateway.config["of the application"] = {"deep": [1]}

    listener.action = change
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    updated.gateway.stop()
    assert updated.saved["listener"] == {"a": 2}
    assert json.loads(updated.path.read_text())["of the application"] == {"deep": [1]}


def test_a_period_that_a_handler_changes_takes_effect(tmp_path: Path) -> None:
    class Hurried(Ticker):
        @on("update")
        def update(self) -> None:
            running.live["moduleTimers"]["hurried"] = 1

    hurried = Hurried(ManualClock(), "hurried")
    running = Updated(tmp_path, {"moduleTimers": {"hurried": 100}}, [hurried])
    hurried.clock = running.clock
    with running:
        running.ask({**running.start, "a": 1})
        assert eventually(lambda: running.saved["moduleTimers"]["hurried"] == 1)
        assert eventually(lambda: running.gateway.timer_stats()[-1].period == 1)
        hurried.ticks.clear()
        running.clock.advance(5)
        assert len(hurried.ticks) == 5


def test_a_handler_for_which_there_was_no_thread_is_called_at_a_later_poll(
    updated: Updated,
    listener: Listener,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    refused: List[str] = []

    def no_thread(thread: threading.Thread) -> None:
        if thread.name.startswith("uun_iot update") and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")  # as where a limit is reached
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    for _ in range(3):
        updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    updated.ask(reply(place="cellar"))
    assert listener.updates == 1 and len(refused) == 2
    assert "is called at a later poll" in caplog.text


def test_a_handler_that_changes_nothing_writes_nothing(
    updated: Updated, listener: Listener
) -> None:
    inode: List[int] = []
    listener.action = lambda: inode.append(updated.path.stat().st_ino)
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    updated.gateway.stop()
    assert inode == [updated.path.stat().st_ino]


def break_json(config: Dict[str, Any]) -> None:
    config["gateway"]["listener"] = {1, 2}


def break_circle(config: Dict[str, Any]) -> None:
    config["gateway"]["listener"] = config


def break_period(config: Dict[str, Any]) -> None:
    config["gateway"]["moduleTimers"]["config"] = "often"


def break_shape(config: Dict[str, Any]) -> None:
    config["gateway"]["moduleTimers"]["config"] = {"a": 5}


def break_codes(config: Dict[str, Any]) -> None:
    config["uuThing"] = "SECRET-CODE"


BROKEN = [break_json, break_circle, break_period, break_shape, break_codes]


@pytest.mark.parametrize("damage", BROKEN)
def test_what_a_handler_breaks_is_logged_and_not_saved(
    updated: Updated, listener: Listener, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    listener.action = lambda: damage(updated.gateway.config)
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    updated.gateway.stop()
    assert updated.saved == {"moduleTimers": TIMERS, "place": "cellar", "listener": {"a": 1}}
    assert len(messages(caplog, logging.ERROR)) == 1
    assert "SECRET-CODE" not in caplog.text
    Gateway(str(updated.path))


@pytest.mark.parametrize("damage", BROKEN)
def test_what_a_handler_broke_is_not_saved_by_a_later_update_either(
    updated: Updated, listener: Listener, damage: Any
) -> None:
    listener.action = lambda: damage(updated.gateway.config)
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    assert eventually(lambda: not any(one.is_alive() for one in listener.threads))
    listener.action = lambda: None
    updated.ask({"place": "attic"})  # leaves the broken part out
    Gateway(str(updated.path))  # the file is sound
    updated.ask(reply(place="garden"))  # has it, but for uuThing
    if damage is not break_codes:
        assert updated.saved["place"] == "garden"
    Gateway(str(updated.path))


def test_a_handler_that_throws_the_configuration_away_breaks_no_later_update(
    updated: Updated, listener: Listener
) -> None:
    listener.action = lambda: updated.gateway.config.clear()
    updated.ask(reply(place="cellar"))
    listener.wait_for(1)
    assert eventually(lambda: not any(one.is_alive() for one in listener.threads))
    listener.action = lambda: None
    updated.gateway.config["uuApp"] = {"uuCmdList": {"gatewayGetConfiguration": COMMAND}}
    updated.ask(reply(place="attic"))
    listener.wait_for(2)
    assert updated.saved["place"] == "attic"


def test_what_is_called_first_at_an_update_may_ask_for_the_next_one(tmp_path: Path) -> None:
    seen: List[Any] = []

    class First:
        id = "first"

        @EvConfUpdate.subscribe_first
        def updated(self, new_config: Dict[str, Any]) -> None:
            seen.append(new_config["a"])
            one.uuapp.reply = {"a": 2}
            one.gateway._config.on_tick()

    with Updated(tmp_path, {}, [First()]) as one:
        asking = in_thread(lambda: one.ask({"a": 1}))
        joined(asking)
        assert seen == [1, 2]
        assert one.saved["a"] == 2
