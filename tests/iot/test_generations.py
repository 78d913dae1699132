"""Applications of three generations on one library, with a real uuApp and real sockets."""

from __future__ import annotations

import inspect
import json
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import pytest

import uun_iot
import uun_iot.events
import uun_iot.modules
import uun_iot.utils
import uun_iot_core.events
from tests.support.commands import ask
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot import (
    EvConfUpdate,
    EventRegister,
    EvExternal,
    EvStart,
    EvStop,
    EvTick,
    Gateway,
    Module,
    UuAppClient,
    UuCmdSession,
    attach_handlers,
    on,
)
from uun_iot.events import Event, merge_events, registered_event_submodule
from uun_iot.modules import init_library_module_events

SOON = 20.0


# -- names -----------------------------------------------------------------------------------------


def test_the_newer_names_of_uun_iot_are_there() -> None:
    newer = {"EvConfUpdate", "EvExternal", "EvStart", "EvStop", "EvTick", "attach_handlers"}
    newer |= {"ConfigScopeEnum", "EventRegister", "Gateway", "Module", "UuAppClient"}
    newer |= {"UuCmdSession", "__version__", "events"}
    assert newer <= set(uun_iot.__all__)


def test_the_names_of_uun_iot_events_are_these() -> None:
    assert uun_iot.events.__all__ == [
        "EvConfUpdate",
        "EvExternal",
        "EvStart",
        "EvStop",
        "EvTick",
        "Event",
        "EventRegister",
        "EventType",
        "HandlerInfo",
        "Register",
        "attach_handlers",
        "extract_event_handlers_from_object",
        "get_event_class",
        "merge_events",
        "on",
        "registered_event_submodule",
    ]
    for name in uun_iot.events.__all__:  # there is one set of them, that of core
        assert getattr(uun_iot.events, name) is getattr(uun_iot_core.events, name)
    assert uun_iot.EvTick is uun_iot.events.EvTick
    assert uun_iot_core.EvTick is uun_iot.EvTick


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (attach_handlers, ["config", "objects", "events", "get_ev_class"]),
        (merge_events, ["old", "new"]),
        (uun_iot.events.get_event_class, ["event_type"]),
        (uun_iot.events.registered_event_submodule, ["submodule", "allowed_events"]),
        (uun_iot.events.extract_event_handlers_from_object, ["obj", "owner_id"]),
        (uun_iot.events.HandlerInfo, ["event_type", "args", "kwargs", "owner_id"]),
        (init_library_module_events, ["config_path", "config", "uuclient", "events"]),
        (EvExternal.subscribe_command, ["action_id", "subactions"]),
        (EvTick.subscribe_timer, ["timer_id"]),
        (EvTick.subscribe, ["function"]),
        (EvStart.subscribe, ["function"]),
        (EvStart.subscribe_blocking, ["function"]),
        (EvStop.subscribe, ["function"]),
        (EvConfUpdate.subscribe, ["function"]),
        (Event.add_handlers, ["self", "handlers"]),
        (Gateway, ["config_file", "module_init", "event_init", "event_register", "clock"]),
        (Module, ["config", "uucmd", "storage"]),
        (uun_iot.utils.classproperty, ["fget"]),
        (EventRegister, []),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_newer_functions_have_these_parameters(
    function: Callable[..., Any], parameters: List[str]
) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_all_five_events_can_be_made_from_a_configuration_or_nothing() -> None:
    for kind in (EvStart, EvStop, EvTick, EvConfUpdate, EvExternal):
        for event in (kind(), kind({"gateway": {}})):
            assert event.number_of_handlers() == 0
            with event:
                pass


# -- one gateway -----------------------------------------------------------------------------------


class Sending(Module):
    """Measures and sends; each generation adds how it is called."""

    def __init__(self, config: Dict[str, Any], uucmd: Callable[[List[Any]], List[Any]]) -> None:
        super().__init__(config=config["gateway"], uucmd=uucmd)
        self.measured = 0
        self.limit = 1
        self.updates: List[Tuple[Any, ...]] = []
        self.updated = threading.Event()
        self.ended = False

    def _measure(self) -> None:
        if self.measured < self.limit:
            self.measured += 1
            self._storage.append({"from": self.id, "n": self.measured}, backup=True)

    def _updated(self, *given: Any) -> None:
        self.limit = self._c("limit")
        self.updates.append(given)
        self.updated.set()

    def _end(self) -> None:
        self.ended = True


class Documented(Sending):
    @on("tick", "measure")
    def measure(self) -> None:
        self._measure()

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage()

    @on("update")
    def update(self) -> None:
        self._updated()

    @on("stop")
    def stop(self) -> None:
        self._end()


class Subscribed(Sending):
    @EvTick.subscribe_timer("measure")
    def measure(self) -> None:
        self._measure()

    @EvTick.subscribe_timer("send")
    def send(self) -> None:
        self._send_storage()

    @EvConfUpdate.subscribe
    def update(self, new_config: Dict[str, Any]) -> None:
        self._updated(new_config)

    @EvStop.subscribe
    def stop(self) -> None:
        self._end()

    @EvExternal.subscribe_command("measured")
    def command(self, evs: Tuple[str, Optional[str]]) -> str:
        return str(self.measured)


class Mixed(Sending):
    @on("tick", "measure")
    def measure(self) -> None:
        self._measure()

    @EvTick.subscribe_timer("send")
    def send(self) -> None:
        self._send_storage()

    @EvConfUpdate.subscribe
    def update(self, new_config: Dict[str, Any]) -> None:
        self._updated(new_config)

    @on("stop")
    def stop(self) -> None:
        self._end()


def registered(ev: EventRegister) -> Any:
    class Registered(Sending):
        @ev.on("tick", "measure")
        def measure(self) -> None:
            self._measure()

        @ev.on("tick", "send")
        def send(self) -> None:
            self._send_storage()

        @ev.on("update")
        def update(self) -> None:
            self._updated()

        @ev.on("stop")
        def stop(self) -> None:
            self._end()

        @ev.on("external", "hello")
        def command(self, evs: Tuple[str, Optional[str]]) -> str:
            return f"hello {evs[1]}"

    return Registered


IDS = ("documented", "registered", "subscribed", "mixed")


def configuration(directory: Path, uuapp: Sandbox) -> Tuple[str, Dict[str, Any]]:
    """Write a configuration for one module of each style; return its path and gateway part."""
    gateway = {
        "moduleTimers": {
            "config": 0.1,
            "heartbeat": 0.1,
            **{id: {"measure": 3600, "send": 0.05} for id in IDS},
        },
        "moduleBackupStorage": {id: str(directory / f"{id}.json") for id in IDS},
        "socket": {"path": str(directory / "s")},
        **{id: {"limit": 1} for id in IDS},
    }
    config = uuapp.configuration(
        token_path=str(directory / "oidc-token"),
        gateway=gateway,
        commands={"weatherAdd": "weather/add"},
    )
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    return str(path), gateway


def sender(config: Dict[str, Any], uuclient: UuAppClient) -> Callable[[List[Any]], List[Any]]:
    session = UuCmdSession(uuclient, config["uuApp"]["uuCmdList"]["weatherAdd"])
    return lambda entries: [one for one in entries if session.post(one)[1] is not None]


def received(uuapp: Sandbox, id: str) -> List[int]:
    return [entry["n"] for entry in uuapp.received("weather/add") if entry["from"] == id]


def test_modules_of_all_styles_run_in_one_gateway(tmp_path: Path, uuapp: Sandbox) -> None:
    path, gateway_part = configuration(tmp_path, uuapp)
    made: Dict[str, Sending] = {}

    def init(ev: EventRegister, config: Dict[str, Any], uuclient: UuAppClient) -> List[Sending]:
        send = sender(config, uuclient)
        for kind in (Documented, registered(ev), Subscribed, Mixed):
            module = kind(config, send)
            made[module.id] = module
        return list(made.values())

    with Gateway(path, init) as gateway:
        assert tuple(made) == IDS
        assert eventually(lambda: all(received(uuapp, id) == [1] for id in IDS), SOON)
        # the new periods of all of them take effect
        uuapp.publish(
            {
                **gateway_part,
                **{id: {"limit": 5} for id in IDS},
                "moduleTimers": {
                    **gateway_part["moduleTimers"],
                    **{id: {"measure": 0.01, "send": 0.05} for id in IDS},
                },
            }
        )
        for module in made.values():
            assert module.updated.wait(SOON)
        assert eventually(lambda: all(received(uuapp, id) == [1, 2, 3, 4, 5] for id in IDS), SOON)
        live = gateway.config["gateway"]
        assert [made[id].updates for id in IDS] == [[()], [()], [(live,)], [(live,)]]

        socket = str(tmp_path / "s")
        assert ask(socket, b"hello you\n") == b"0 hello you\n"
        assert ask(socket, b"measured\n") == b"0 5\n"
        answer = ask(socket, b"status\n")
        status = json.loads(answer[2:])
        assert answer[:2] == b"0 "
        assert eventually(lambda: gateway.status()["online"])
        timers = {timer["name"]: timer for timer in status["timers"]}
        assert set(timers) == {
            *("config", "heartbeat"),
            *(f"{id}:{timer}" for id in IDS for timer in ("measure", "send")),
        }
        assert timers["mixed:measure"]["period"] == 0.01
        assert set(status["storages"]) == set(IDS)
        assert {status["storages"][id]["appended"] for id in IDS} == {5}
        assert status["token"]["state"] == "fresh"
        assert status["token"]["expiresIn"] > 0
        for secret in uuapp.secrets:
            assert secret.encode() not in answer
    assert all(module.ended for module in made.values())


def test_an_event_init_with_the_librarys_modules(tmp_path: Path, uuapp: Sandbox) -> None:
    path, gateway_part = configuration(tmp_path, uuapp)
    made: List[Subscribed] = []

    def event_init(
        config_file: str, config: Dict[str, Any], uuclient: UuAppClient
    ) -> Iterable[Event]:
        assert config_file == path
        made.append(Subscribed(config, sender(config, uuclient)))
        events = attach_handlers(config, made)
        return init_library_module_events(config_file, config, uuclient, events)

    with Gateway(path, None, event_init) as gateway:
        assert eventually(lambda: received(uuapp, "subscribed") == [1], SOON)
        assert eventually(lambda: uuapp.received("gateway/heartbeat"), SOON)
        changed = {**gateway_part, "subscribed": {"limit": 3}}
        changed["moduleTimers"] = {
            **gateway_part["moduleTimers"],
            "subscribed": {"measure": 0.01, "send": 0.05},
        }
        uuapp.publish(changed)
        assert made[0].updated.wait(SOON)
        assert eventually(lambda: received(uuapp, "subscribed") == [1, 2, 3], SOON)
        assert ask(str(tmp_path / "s"), b"measured\n") == b"0 3\n"
        status = gateway.status()
        assert status["online"] is True
        assert set(status["storages"]) == {"subscribed"}
    assert made[0].ended
    assert json.loads((tmp_path / "subscribed.json").read_text()) == []
    assert json.loads(Path(path).read_text())["gateway"] == changed


def test_the_librarys_modules_join_the_sources_that_are_there(uuapp: Sandbox) -> None:
    config = {**uuapp.configuration(commands={}), "gateway": {"moduleTimers": {}}}
    client = UuAppClient(config, refresh_token_on_init=False)
    mine, stop = EvTick(config), EvStop(config)
    events = init_library_module_events("config.json", config, client, [mine, stop])
    assert {type(one) for one in events} == {EvTick, EvStop, EvConfUpdate, EvExternal}
    assert mine in events and stop in events
    assert mine.number_of_handlers() == 2  # the configuration, the heartbeat
    alone = init_library_module_events(None, {"gateway": {}}, client)
    (tick,) = [one for one in alone if isinstance(one, EvTick)]
    assert tick.number_of_handlers() == 0


def test_the_configuration_of_no_gateway_is_not_updated(uuapp: Sandbox) -> None:
    config = {**uuapp.configuration(), "gateway": {"moduleTimers": {"config": 3600}}}
    client = UuAppClient(config, refresh_token_on_init=False)
    (tick,) = [
        one
        for one in init_library_module_events("config.json", config, client)
        if isinstance(one, EvTick)
    ]
    with tick:
        assert eventually(lambda: tick.stats()[0].duration is not None)
    assert uuapp.requests == []


def test_a_submodule_that_is_a_module_is_saved_and_told_of(tmp_path: Path) -> None:
    class Board(Module):
        pass

    class Station(Module):
        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(config)
            self.board = registered_event_submodule(Board(config))

        @EvStart.subscribe_blocking
        def start(self, evs: Any) -> None:
            self.board._storage.append({"n": 1})

    file = tmp_path / "board.json"
    config = {"gateway": {"moduleBackupStorage": {"board": str(file)}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with Gateway(
        str(tmp_path / "config.json"), lambda config, client: Station(config["gateway"])
    ) as gateway:
        storages = gateway.status()["storages"]
    assert storages.keys() == {"station", "board"}
    assert storages["board"]["entries"] == 1
    assert json.loads(file.read_text()) == [{"n": 1}]
