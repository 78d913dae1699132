"""Module: id, configuration, its storage, sending, and the gateway's hooks."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from uun_iot_core.exceptions import ConfigError
from uun_iot_core.typing import IModule
from uun_iot_storage import ConfigScopeEnum, Module, Storage

from .support import identity, on_disk


class Weather(Module):
    id = "weather"


def stored(path: Any, **more: Any) -> Dict[str, Any]:
    return {"moduleBackupStorage": {"weather": {"path": str(path), **more} if more else str(path)}}


# -- id and configuration ------------------------------------------------------------------


def test_the_id_is_made_from_the_name_of_the_class() -> None:
    class WeatherConditions(Module):
        pass

    assert WeatherConditions().id == "weatherConditions"
    assert isinstance(WeatherConditions(), IModule)


def test_the_id_may_be_the_class_s_own_or_a_property() -> None:
    class Named(Module):
        @property  # type: ignore[misc]  # read-only, as in IModule
        def id(self) -> str:
            return "named"

    assert Weather().id == "weather"
    assert Named()._storage.storage_id == Named().id == "named"


@pytest.mark.parametrize("base", [Module, Weather])
def test_the_id_can_be_set_on_the_instance(base: Any) -> None:
    class Numbered(base):  # type: ignore[misc]  # the base is a parameter of the test
        def __init__(self, number: int) -> None:
            self.id = f"sensor{number}"
            super().__init__({self.id: {"number": number}})

    first, second = Numbered(1), Numbered(2)
    assert (first.id, second.id) == ("sensor1", "sensor2")
    assert first._c("number") == 1 and second._c("number") == 2
    second.id = "sensor3"
    assert (first.id, second.id) == ("sensor1", "sensor3")


def test_the_configuration_is_the_one_that_was_given() -> None:
    config: Dict[str, Any] = {}
    module = Weather(config)
    config["weather"] = {"a": 1}  # an update changes it in place
    assert module._config is config
    assert module._c() == {"a": 1}
    assert Weather()._config == {}
    assert Weather()._uucmd is None


def test_a_configuration_that_the_subclass_has_set_is_kept() -> None:
    class Own(Weather):
        def __init__(self, config: Dict[str, Any]) -> None:
            self._config = {"weather": {"own": True}}
            super().__init__(config=config, uucmd=print)

    module = Own({"weather": {"own": False}})
    assert module._c("own") is True
    assert module._uucmd is print


def test_keys_are_paths_below_the_scope() -> None:
    config = {"weather": {"a": {"b": None}}, "other": {"c": [1]}, "top": 1}
    module = Weather(config)
    for lookup in (module._config_manager, module._c):
        assert lookup() is config["weather"]
        assert lookup("a/b") is None
        assert lookup(key="a", scope=ConfigScopeEnum.SELF) == {"b": None}
        assert lookup("other/c", ConfigScopeEnum.GATEWAY) == [1]
        assert lookup("weather/a", ConfigScopeEnum.GATEWAY) == {"b": None}
        assert lookup(scope=ConfigScopeEnum.GATEWAY) is config


@pytest.mark.parametrize(
    ("key", "scope", "path"),
    [
        ("x", ConfigScopeEnum.SELF, "gateway.weather.x"),
        ("a/x/y", ConfigScopeEnum.SELF, "gateway.weather.a.x.y"),
        ("a/b/c", ConfigScopeEnum.SELF, "gateway.weather.a.b.c"),
        ("", ConfigScopeEnum.SELF, "gateway.weather."),
        ("weather/x", ConfigScopeEnum.GATEWAY, "gateway.weather.x"),
        ("x", ConfigScopeEnum.GATEWAY, "gateway.x"),
    ],
)
def test_a_missing_key_is_named_with_its_full_path(
    key: str, scope: ConfigScopeEnum, path: str
) -> None:
    module = Weather({"weather": {"a": {"b": "secret"}}})
    with pytest.raises(KeyError) as caught:
        module._c(key, scope)
    assert path in str(caught.value) and "secret" not in str(caught.value)


def test_a_missing_part_is_named() -> None:
    with pytest.raises(KeyError, match="gateway.weather"):
        Weather({})._c()
    with pytest.raises(TypeError, match="ConfigScopeEnum"):
        Weather({})._c("a", "self")  # type: ignore[arg-type]  # the wrong type is the test


def test_the_alias_follows_a_method_that_a_subclass_overrides() -> None:
    class Own(Weather):
        def _config_manager(  # type: ignore[override]  # as older applications have it
            self, key: Optional[str] = None, scope: ConfigScopeEnum = ConfigScopeEnum.SELF
        ) -> Any:
            return "own"

    assert Own()._c("a") == "own"


# -- the storage ---------------------------------------------------------------------------


def test_without_configuration_the_storage_is_in_memory() -> None:
    module = Weather({"moduleBackupStorage": {"other": "other.json"}})
    assert isinstance(module._storage, Storage)
    assert module._storage.backup_path is None
    assert module._storage.maxlen == 0


def test_a_string_is_the_path_of_the_backup_file(tmp_path: Path) -> None:
    module = Weather(stored(tmp_path / "w.json"))
    module._storage.append(1, backup=True)
    assert module._storage.maxlen == 0
    assert on_disk(tmp_path / "w.json") == [1]


def test_an_object_has_path_and_limit(tmp_path: Path) -> None:
    path = tmp_path / "backup" / "w.json"
    module = Weather(stored(path, limit=2))
    module._storage.merge([1, 2, 3])
    assert on_disk(path) == [2, 3]


def test_the_limit_may_be_left_out(tmp_path: Path) -> None:
    config = {"moduleBackupStorage": {"weather": {"path": str(tmp_path / "w.json")}}}
    assert Weather(config)._storage.maxlen == 0


def test_an_unknown_setting_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Weather(stored(tmp_path / "w.json", limt=5))
    assert "gateway.moduleBackupStorage.weather.limt" in caplog.text


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ([], "gateway.moduleBackupStorage:"),
        (None, "gateway.moduleBackupStorage:"),
        ("secret", "gateway.moduleBackupStorage:"),
        ({"weather": None}, "gateway.moduleBackupStorage.weather:"),
        ({"weather": 5}, "gateway.moduleBackupStorage.weather:"),
        ({"weather": ["secret"]}, "gateway.moduleBackupStorage.weather:"),
        ({"weather": ""}, "gateway.moduleBackupStorage.weather:"),
        ({"weather": "secret\0"}, "gateway.moduleBackupStorage.weather:"),
        ({"weather": {}}, "gateway.moduleBackupStorage.weather.path:"),
        ({"weather": {"limit": 5}}, "gateway.moduleBackupStorage.weather.path:"),
        ({"weather": {"path": 5}}, "gateway.moduleBackupStorage.weather.path:"),
        (
            {"weather": {"path": "p", "limit": -1}},
            "gateway.moduleBackupStorage.weather.limit:",
        ),
        (
            {"weather": {"path": "p", "limit": True}},
            "gateway.moduleBackupStorage.weather.limit:",
        ),
        (
            {"weather": {"path": "p", "limit": "secret"}},
            "gateway.moduleBackupStorage.weather.limit:",
        ),
        (
            {"weather": {"path": "p", "limit": None}},
            "gateway.moduleBackupStorage.weather.limit:",
        ),
    ],
)
def test_wrong_settings_are_named(settings: Any, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Weather({"moduleBackupStorage": settings})
    assert str(caught.value).startswith(place)
    assert "secret" not in str(caught.value)


def test_a_configuration_that_is_no_object_is_refused() -> None:
    with pytest.raises(ConfigError, match="module `weather`"):
        Weather([1])  # type: ignore[arg-type]  # the wrong type is the test


# -- sending -------------------------------------------------------------------------------


def test_data_are_sent_with_uucmd_or_the_given_usecase(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    sent: List[Any] = []
    Weather(uucmd=sent.append)._send_data({"secret": 1})
    Weather(uucmd=sent.append)._send_data(2, usecase=lambda data: sent.append([data]))
    Weather()._send_data(3, sent.append)
    assert sent == [{"secret": 1}, [2], 3]
    messages = [r for r in caplog.records if r.levelno == logging.INFO]
    assert len(messages) == 3 and "weather" in messages[0].getMessage()
    assert "secret" not in caplog.text
    assert all(record.name.startswith("uun_iot.") for record in caplog.records)


def test_without_uucmd_and_usecase_sending_is_a_type_error() -> None:
    module = Weather()
    with pytest.raises(TypeError, match="module `weather`"):
        module._send_data(1)
    module._storage.append(1)
    with pytest.raises(TypeError, match="module `weather`"):
        module._send_storage()
    assert module._storage.data == [1]


def test_with_nothing_stored_nothing_is_called() -> None:
    calls: List[Any] = []
    Weather(uucmd=calls.append)._send_storage()
    Weather()._send_storage()
    assert calls == []


@pytest.mark.parametrize("backup", [True, False])
def test_what_was_sent_leaves_and_the_rest_stays(
    tmp_path: Path, backup: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    path = tmp_path / "w.json"
    module = Weather(stored(path) if backup else {})
    for entry in ("one", "two", "three"):
        module._storage.append(entry)

    def usecase(entries: List[Any]) -> List[Any]:
        assert type(entries) is list and entries == ["one", "two", "three"]
        module._storage.append("four")
        entries.clear()  # its own copy
        return ["three", "one"]

    module._send_storage(usecase)
    assert module._storage.data == ["one", "three", "four"]
    if backup:
        assert on_disk(path) == ["one", "three", "four"]
        before = identity(path)
        module._send_storage(lambda entries: entries)
        assert identity(path) == before
    module._send_storage(lambda entries: [])
    assert module._storage.is_empty()
    infos = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "3 stored entries" in infos[0]
    assert "2 of 3" in warnings[0]
    assert "three" not in caplog.text


def test_the_usecase_gets_the_entries_themselves() -> None:
    module, entry = Weather(), {"a": 1}
    module._storage.merge([entry, {"a": 1}])
    module._send_storage(lambda entries: [entries[0]])
    assert len(module._storage) == 1 and module._storage.data[0] is entry


@pytest.mark.parametrize("answer", [None, True, (), {"failed": []}, "secret"])
def test_an_answer_that_is_no_list_is_a_type_error(answer: Any) -> None:
    module = Weather(uucmd=lambda entries: answer)
    module._storage.merge([1, 2])
    with pytest.raises(TypeError, match="must return the list") as caught:
        module._send_storage()
    assert "secret" not in str(caught.value)
    assert module._storage.data == [1, 2]


def test_an_error_of_the_usecase_propagates_and_nothing_leaves(tmp_path: Path) -> None:
    module = Weather(stored(tmp_path / "w.json"))
    module._storage.merge([1, 2])

    def fail(entries: List[Any]) -> List[Any]:
        raise ConnectionError("down")

    with pytest.raises(ConnectionError, match="down"):
        module._send_storage(fail)
    assert module._storage.data == on_disk(tmp_path / "w.json") == [1, 2]
    module._send_storage(lambda entries: [])
    assert module._storage.is_empty()


def test_entries_can_be_stored_while_the_network_works(tmp_path: Path) -> None:
    module = Weather(stored(tmp_path / "w.json"))
    module._storage.append(1, backup=True)
    working, finish = threading.Event(), threading.Event()

    def slow(entries: List[Any]) -> List[Any]:
        working.set()
        assert finish.wait(30)
        return []

    thread = threading.Thread(target=module._send_storage, args=(slow,))
    thread.start()
    assert working.wait(30)
    assert not module._storage.write_lock.locked()
    module._storage.append(2, backup=True)
    assert on_disk(tmp_path / "w.json") == [1, 2]
    finish.set()
    thread.join()
    assert module._storage.data == [2]


def test_concurrent_sending_takes_turns() -> None:
    module = Weather()
    module._storage.merge([1, 2, 3])
    working, finish, second_called = threading.Event(), threading.Event(), threading.Event()
    delivered: List[int] = []

    def first(entries: List[int]) -> List[int]:
        working.set()
        assert finish.wait(30)
        delivered.extend(entries[:2])
        return entries[2:]

    def second(entries: List[int]) -> List[int]:
        second_called.set()
        delivered.extend(entries)
        return []

    threads = [threading.Thread(target=module._send_storage, args=(u,)) for u in (first, second)]
    threads[0].start()
    assert working.wait(30)
    threads[1].start()
    assert not second_called.wait(0.1)
    finish.set()
    for thread in threads:
        thread.join()
    assert delivered == [1, 2, 3]
    assert module._storage.is_empty()


# -- the gateway's hooks -------------------------------------------------------------------


def test_stopping_saves_and_closes_and_starting_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    module = Weather(stored(path))
    for number in range(3):
        module._gateway_started()
        module._storage.append(number, backup=True)
        module._storage.append(-number)
        module._gateway_stopped()
        module._gateway_stopped()
        module._storage.merge([])
        Storage("of another module", str(path)).close()  # nobody has it open
    assert on_disk(path) == [0, 0, 1, -1, 2, -2]


def test_a_storage_that_cannot_be_closed_well_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "directory" / "w.json"
    module = Weather(stored(path))
    module._storage.append("secret")
    os.rename(path.parent, tmp_path / "away")
    path.parent.write_text("no directory")
    module._gateway_stopped()
    (error,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "module `weather`" in error and str(path) in error and "secret" not in error


def test_a_module_without_storage_stops_as_well() -> None:
    class Bare(Module):
        def __init__(self) -> None:
            pass

    Bare()._gateway_started()
    Bare()._gateway_stopped()
    assert Bare().id == "bare"


def test_what_is_stored_after_the_gateway_has_stopped_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    module = Module({"moduleBackupStorage": {"module": str(path)}})
    module._storage.append(1, backup=True)
    module._gateway_stopped()
    for number in (2, 3):
        module._storage.append(number, backup=True)
        assert json.loads(path.read_text()) == [1, 2, 3][:number]
    with Storage("of the next process", str(path)) as other:  # nobody keeps it
        assert other.data == [1, 2, 3]
        other.append(4, backup=True)
    module._storage.append(5, backup=True)
    # what another process has stored is not overwritten; some may be there twice
    assert set(json.loads(path.read_text())) == {1, 2, 3, 4, 5}
    module._gateway_started()
    module._storage.append(6, backup=True)
    module._gateway_stopped()
    assert json.loads(path.read_text())[-2:] == [5, 6]


def test_what_an_application_keeps_as_its_storage_is_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module: Any = Module({}, storage=False)
    module._storage = database = sqlite3.connect(tmp_path / "db")
    module._gateway_started()
    assert module._gateway_status() == {}
    module._gateway_stopped()
    database.execute("create table t (a)")  # it is open
    database.close()
    assert caplog.messages == []
