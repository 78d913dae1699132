"""Module as applications for the newer versions of the library use it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from uun_iot_core import EvConfUpdate, EventRegister, Gateway, ManualClock, on
from uun_iot_core.events import extract_event_handlers_from_object
from uun_iot_storage import ConfigScopeEnum, Module, Storage

BASED, GATEWAY, MODULE, SELF = (
    *(ConfigScopeEnum.BASED, ConfigScopeEnum.GATEWAY, ConfigScopeEnum.MODULE, ConfigScopeEnum.SELF),
)
CONFIG = {"weather": {"a": 1, "in": {"b": 2}}, "other": {"a": 3, "deep": {"c": 4}}, "top": 5}


class Weather(Module):
    id = "weather"


def test_the_scopes_of_both_generations() -> None:
    assert MODULE is SELF
    assert len({GATEWAY, MODULE, BASED}) == 3


@pytest.mark.parametrize(
    ("base", "key", "scope", "expected"),
    [
        (None, "a", BASED, 1),
        (None, None, BASED, CONFIG["weather"]),
        (None, "a", MODULE, 1),
        (None, "a", SELF, 1),
        (None, "top", GATEWAY, 5),
        ("other", "a", BASED, 3),
        ("other", None, BASED, CONFIG["other"]),
        ("other", "a", MODULE, 1),
        ("other", "top", GATEWAY, 5),
        ("other/deep", "c", BASED, 4),
        ("weather/in", "b", BASED, 2),
        ("", "other/a", BASED, 3),
    ],
)
def test_where_keys_begin(base: Any, key: Any, scope: Any, expected: Any) -> None:
    module = Weather(CONFIG)
    module._set_config_manager_base(base)
    assert module._config_manager(key, scope) == expected
    assert module._c(key, scope) == expected
    if scope is BASED:  # is the default
        assert module._c(key) == expected
    module._set_config_manager_base(None)
    assert module._c("a") == 1


def test_a_key_need_not_exist() -> None:
    module = Weather(CONFIG)
    for key in ("none", "none/below", "a/below"):
        with pytest.raises(KeyError, match=f"gateway.weather.{key.replace('/', '.')}"):
            module._c(key)
        assert module._c(key, must_exist=False) is None
        assert module._config_manager(key, GATEWAY, False) is None
    assert module._c("a", must_exist=False) == 1
    module._set_config_manager_base("nowhere")
    with pytest.raises(KeyError, match="gateway.nowhere.a"):
        module._c("a")
    assert module._c("a", must_exist=False) is None


@pytest.mark.parametrize("storage", [False, None])
def test_a_module_may_have_no_storage(tmp_path: Path, storage: Any) -> None:
    config = {"moduleBackupStorage": {"weather": str(tmp_path / "b.json")}}
    module = Weather(config, uucmd=lambda entries: [], storage=storage)
    assert module._storage is None
    with pytest.raises(TypeError, match="has no storage"):
        module._send_storage()
    assert module._send_data(5, lambda data: data) == 5
    assert module._gateway_status() == {}
    module._gateway_started()
    module._gateway_stopped()
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("storage", ["entries.json", "", 0, 1, []])
def test_what_is_no_storage_is_refused_and_not_taken_for_none(storage: Any) -> None:
    with pytest.raises(TypeError, match="module `weather`: storage must be a Storage"):
        Weather(CONFIG, storage=storage)


def test_a_module_may_be_given_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    storage = Storage("given", str(path))
    assert len(storage) == 0  # an empty one is one
    module = Weather(
        {"moduleBackupStorage": {"weather": str(tmp_path / "b.json")}}, storage=storage
    )
    assert module._storage is storage
    module._storage.append(1)
    module._gateway_stopped()
    assert json.loads(path.read_text()) == [1]
    assert not (tmp_path / "b.json").exists()
    module._gateway_started()
    module._storage.append(2, backup=True)
    module._gateway_stopped()
    assert json.loads(path.read_text()) == [1, 2]


def test_the_status_of_a_module_is_that_of_its_storage(tmp_path: Path) -> None:
    path = str(tmp_path / "b.json")
    module = Weather({"moduleBackupStorage": {"weather": {"path": path, "limit": 2}}})
    for number in range(3):
        module._storage.append(number, backup=True)
    module._send_storage(lambda entries: entries[1:])
    figures = module._gateway_status()["storages"]["weather"]
    assert figures.pop("bytesWritten") > 0
    assert figures.pop("oldestAge") >= 0
    assert figures.pop("autonomyHours") >= 0
    assert figures == {
        "path": path,
        "entries": 1,
        "bytes": 3,
        "appended": 3,
        "sent": 1,
        "failed": 1,
        "dropped": 1,
        "setAside": 0,
    }
    module._gateway_stopped()
    json.dumps(module._gateway_status(), allow_nan=False)  # also when it is closed


def test_a_locked_storage_does_not_keep_the_status_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uun_iot_storage.module._LOCK_TIMEOUT", 0.01)
    path = str(tmp_path / "b.json")
    module = Weather({"moduleBackupStorage": {"weather": path}})
    with module._storage.write_lock:  # as older applications change `data` by hand
        assert module._gateway_status() == {"storages": {"weather": {"path": path, "locked": True}}}
    assert module._gateway_status()["storages"]["weather"]["entries"] == 0


# -- updates ---------------------------------------------------------------------------------------


class Uuapp:
    """A client whose uuApp answers with a configuration."""

    def __init__(self) -> None:
        self.reply: Dict[str, Any] = {}

    def get(self, uucmd: str, dto_in: Any = None, log_level: int = 30) -> Any:
        class Reply:
            def json(reply) -> Any:
                return copy.deepcopy(self.reply)

        return Reply(), None


def updated(directory: Path, init: Any, gateway: Dict[str, Any], new: Dict[str, Any]) -> Gateway:
    """Return a gateway that has run, and has taken an update."""
    path = directory / "config.json"
    periods = {"moduleTimers": {"config": 1}}
    commands = {"uuCmdList": {"gatewayGetConfiguration": "gateway/get"}}
    path.write_text(json.dumps({"gateway": {**gateway, **periods}, "uuApp": commands}))
    clock, uuapp = ManualClock(), Uuapp()
    built = Gateway(str(path), init, clock=clock, client=lambda config: uuapp)
    with built:
        clock.advance(0)
        uuapp.reply = {**new, **periods}
        clock.advance(1)
    return built


def test_an_update_reaches_a_module_that_has_a_copy(tmp_path: Path) -> None:
    class Given(Module):
        id = "given"

        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(copy.deepcopy(config))

    class Copying(Module):
        id = "copying"

        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(config)
            self._config = copy.deepcopy(config)

    made: List[Module] = []

    def init(config: Dict[str, Any], uuclient: Any) -> List[Module]:
        made.extend([Given(config["gateway"]), Copying(config["gateway"])])
        return made

    old, new = ({"given": {"a": a}, "copying": {"a": a}} for a in (1, 2))
    gateway = updated(tmp_path, init, old, new)
    assert [one._config is gateway.config["gateway"] for one in made] == [True, True]


def test_a_module_with_a_handler_of_its_own_takes_an_update_by_itself(tmp_path: Path) -> None:
    seen: List[Any] = []

    class Newer(Module):
        id = "newer"

        @EvConfUpdate.subscribe
        def on_config(self, new_config: Dict[str, Any]) -> None:
            seen.append((self._c("a"), new_config["newer"]["a"]))

    class Documented(Module):
        id = "documented"

        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(config)
            self._config = {"documented": {"a": 1, "calibration": 0.7}}

        @on("update")
        def on_update(self) -> None:
            seen.append((self._c("a"), self._c("calibration")))

    class AtRunTime(Module):
        id = "atRunTime"

        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(config)
            self.handler = EvConfUpdate.subscribe(self.on_config).extract()

        def on_config(self, new_config: Dict[str, Any]) -> None:
            seen.append((self._c("a"), new_config["atRunTime"]["a"], "at run time"))

    def init(config: Dict[str, Any], uuclient: Any) -> List[Module]:
        gateway = config["gateway"]
        return [Newer(copy.deepcopy(gateway)), Documented(gateway), AtRunTime(copy.copy(gateway))]

    old, new = ({id: {"a": a} for id in ("newer", "atRunTime")} for a in (1, 2))
    updated(tmp_path, init, old, new)
    assert sorted(seen) == [(1, 0.7), (1, 2), (1, 2, "at run time")]


def test_an_update_leaves_a_configuration_that_the_module_has_set_by_itself(tmp_path: Path) -> None:
    class Own(Module):
        id = "own"

        def __init__(self, config: Dict[str, Any]) -> None:
            self._config = {"own": {"a": "mine"}}
            super().__init__(config)

    made: List[Own] = []

    def init(config: Dict[str, Any], uuclient: Any) -> Own:
        made.append(Own(config["gateway"]))
        return made[0]

    updated(tmp_path, init, {"own": {"a": 1}}, {"own": {"a": 2}})
    assert made[0]._c("a") == "mine"


def test_what_takes_an_updated_configuration_may_be_overridden(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: List[str] = []

    class Overriding(Module):
        id = "overriding"

        @EvConfUpdate.subscribe
        def _update_config(self, new_config: Dict[str, Any]) -> None:
            super()._update_config(new_config)
            seen.append(self._c("a"))

    class Undecorated(Module):
        id = "undecorated"

        def _update_config(self, new_config: Dict[str, Any]) -> None:
            super()._update_config(new_config)
            seen.append(f"undecorated {self._c('a')}")

    class OfAnotherMeaning(Module):
        id = "otherwise"

        def _update_config(self) -> None:  # type: ignore[override]  # as applications do
            raise AssertionError("called by the library")

    class Without(Module):
        id = "without"

        def _update_config(self, new_config: Dict[str, Any]) -> None:
            """Take nothing."""

    def init(ev: EventRegister, config: Dict[str, Any], uuclient: Any) -> List[Module]:
        classes = (Overriding, Undecorated, OfAnotherMeaning)
        return [*(cls(copy.deepcopy(config["gateway"])) for cls in classes), kept]

    kept = Without({})
    before, after = ({id: {"a": a} for id in ("overriding", "undecorated")} for a in ("old", "new"))
    updated(tmp_path, init, before, after)
    assert sorted(seen) == ["new", "undecorated new"]
    assert kept._config == {}
    assert "failed" not in caplog.text


def test_the_only_handler_of_a_module_is_its_update() -> None:
    found = list(extract_event_handlers_from_object(Weather()))
    assert [(info.event_type.value, info.owner_id) for _, info in found] == [("update", "weather")]


def test_applications_may_have_attributes_of_their_own(tmp_path: Path) -> None:
    sent: List[Any] = []

    class Camera(Module):
        def __init__(self, config: Dict[str, Any]) -> None:
            super().__init__(config)
            self._id, self._sending, self._base, self._given = 7, False, "", None
            self._usecase = self._storage_settings = self._configuration_updated = sent.append

        @on("tick")
        def tick(self) -> None:
            self._storage.append(1)
            self._send_storage(self.send)

        def send(self, entries: List[Any]) -> List[Any]:
            sent.append((self.id, entries))
            return []

    periods = {"moduleTimers": {"camera": 1}}
    clock = ManualClock()
    with Gateway(str(_written(tmp_path, periods)), lambda c, u: Camera(c["gateway"]), clock=clock):
        clock.advance(0)
    assert sent == [("camera", [1])]


def _written(directory: Path, gateway: Dict[str, Any]) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps({"gateway": gateway}))
    return path


def test_an_id_that_is_none_is_made_from_the_class() -> None:
    class Weather(Module):
        id = None  # type: ignore[assignment]  # as applications have it

    weather: Any = Weather({"weather": {"a": 1}})
    assert (weather.id, weather._c("a")) == ("weather", 1)


def test_an_update_of_a_module_that_was_never_initialised_does_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Bare(Module):
        id = "bare"

        def __init__(self) -> None:
            self._config = {"bare": {}}

    bare = Bare()
    updated(tmp_path, lambda config, uuclient: bare, {}, {"bare": {"a": 1}})
    assert bare._config == {"bare": {}}
    assert "failed" not in caplog.text
