"""Loading a configuration: what is taken, and what each error says."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.helpers import Ticker, make_gateway, messages, timers, write_config
from uun_iot_core import ConfigError, Gateway, ManualClock, UunIotError, load_config, on, problems

SECRET = "4711-SECRET-hunter2"


def put(config: Dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path."""
    *parents, last = path.split(".")
    for key in parents:
        config = config.setdefault(key, {})
    config[last] = value


def whole() -> Dict[str, Any]:
    """Return a configuration with everything in it, and secrets."""
    return {
        "gateway": {
            "moduleTimers": {"customModule1": {"receive": 120, "send": 400.5}, "customModule2": 60},
            "moduleBackupStorage": {
                "customModule1": "backup/customModule1.json",
                "customModule2": {"path": "backup/customModule2.json", "limit": 50},
            },
            "customModule2": {"option1": "value1", "password": SECRET},
        },
        "uuApp": {
            "gateway": "uuapp.example",
            "uuAppName": "uu-app",
            "awid": "0" * 32,
            "uuCmdList": {"gatewayHeartbeat": "gateway/heartbeat", "own": {"any": ["shape"]}},
        },
        "uuThing": {"uuIdentity": "1-1", "accessCode1": SECRET, "accessCode2": SECRET},
        "oidcGrantToken": {
            "gateway": "oidc.example",
            "uuAppName": "uu-oidc",
            "awid": "1" * 32,
            "clientId": "id",
            "clientSecret": SECRET,
            "uuCmd": "oidc/grantToken",
            "tokenPath": "./oidc-token",
        },
        "of the application": {"any": [1, None, True]},
    }


def test_everything_documented_loads_as_it_is(tmp_path: Path) -> None:
    assert load_config(write_config(tmp_path, whole())) == whole()


def test_the_minimal_configuration_is_an_empty_object(tmp_path: Path) -> None:
    path = write_config(tmp_path, {})
    assert load_config(path) == {"gateway": {}}
    gateway = Gateway(path)
    assert gateway.config == {"gateway": {}}
    assert gateway.uuapp_client is None


def test_what_was_read_is_not_written_back(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(' { "uuApp" : {} } \n')
    with Gateway(str(path)):
        pass
    assert path.read_text() == ' { "uuApp" : {} } \n'


def test_a_byte_order_mark_and_any_alphabet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + '{"gateway": {"čidlo": "teploměr 温度"}}'.encode())
    assert load_config(str(path)) == {"gateway": {"čidlo": "teploměr 温度"}}


def test_a_key_that_is_there_twice_is_a_warning_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"a": [0, {"b": 1, "b": 2, "b": 3}], "gateway": {"moduleTimers": {"weather": 1, '
        '"weather": {"x": 1, "x": 1}}, "moduleTimers": {"weather": 5}}}'
    )
    config = load_config(str(path))
    assert config == {"a": [0, {"b": 3}], "gateway": {"moduleTimers": {"weather": 5}}}
    said = "the key stands there more than once; keep one of them"
    assert messages(caplog, logging.WARNING) == [
        f"{path}: a[1].b: {said}",
        f"{path}: gateway.moduleTimers: {said}",
    ]


def test_a_path_object_is_taken(tmp_path: Path) -> None:
    assert load_config(Path(write_config(tmp_path))) == {"gateway": {}}  # type: ignore[arg-type]  # applications do it


def test_null_stands_for_a_text_that_is_not_set(tmp_path: Path) -> None:
    config = whole()
    for path in ("uuApp.awid", "uuThing.accessCode1", "oidcGrantToken.clientId"):
        put(config, path, None)
    assert load_config(write_config(tmp_path, config)) == config


# -- files that cannot be read -------------------------------------------------------------------

DAMAGED: Dict[str, Tuple[bytes, str]] = {
    "empty": (b"", "line 1, column 1"),
    "blank": (b" \n\n", "line 3, column 1"),
    "cut off": (b'{"gateway": {\n  "moduleTimers": {', "line 2"),
    "two values": (b"{} {}", "line 1, column 4"),
    "single quotes": (b"{'gateway': {}}", "line 1, column 2"),
    "a trailing comma": (b'{"gateway": {},}', "line 1"),
    "zeros after a power cut": (b"\0" * 512, "line 1, column 1"),
    "not UTF-8": (b'{"gateway": {"name": "\xe8idlo"}}', "UTF-8"),
    "UTF-16": ('{"gateway": {}}'.encode("utf-16"), "UTF-8"),
    "nested without end": (b"[" * 200_000, "nested too deeply"),
}


@pytest.mark.parametrize(("content", "where"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_an_error_that_names_it_and_the_place(
    tmp_path: Path, content: bytes, where: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Gateway(str(path))
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    assert path.read_bytes() == content


def test_a_number_of_too_many_digits_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"gateway": {"moduleTimers": {"weather": ' + "9" * 5000 + "}}}")
    with pytest.raises(ConfigError, match="config.json"):
        load_config(str(path))


@pytest.mark.parametrize("name", ["missing.json", "missing/config.json", ".", "\0"])
def test_a_path_without_a_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(ConfigError) as caught:
        Gateway(path)
    assert path in str(caught.value)
    assert "cannot be read" in str(caught.value)


def test_the_error_is_a_value_error_of_the_library() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, UunIotError)


def test_a_damaged_file_with_secrets_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(whole())[:-1])
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    error: Any = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__


# -- values of a wrong type ----------------------------------------------------------------------

TEXTS = [
    *(f"uuApp.{key}" for key in ("gateway", "uuAppName", "awid")),
    *(f"uuApp.uuCmdList.{key}" for key in ("gatewayGetConfiguration", "gatewayHeartbeat")),
    *(f"uuThing.{key}" for key in ("uuIdentity", "accessCode1", "accessCode2")),
    *(
        f"oidcGrantToken.{key}"
        for key in (
            "gateway",
            "uuAppName",
            "awid",
            "clientId",
            "clientSecret",
            "uuCmd",
            "tokenPath",
        )
    ),
]
OBJECTS = [
    "gateway",
    "gateway.moduleTimers",
    "gateway.moduleBackupStorage",
    "uuApp",
    "uuApp.uuCmdList",
    "uuThing",
    "oidcGrantToken",
]
WRONG: Dict[str, Tuple[Any, ...]] = {
    **{path: (5, True, [SECRET], {SECRET: SECRET}) for path in TEXTS},
    **{path: (5, False, None, [SECRET], SECRET) for path in OBJECTS},
    "gateway.moduleTimers.weather": (0, -5, True, False, None, SECRET, "60", [60], [], "", -0.0),
    "gateway.moduleTimers.weather.send": (0, -1, True, None, SECRET, "60", [60], {"a": 1}),
    "gateway.moduleBackupStorage.weather": (5, True, None, "", [SECRET]),
    "gateway.moduleBackupStorage.weather.path": (5, None, "", [SECRET], {SECRET: SECRET}),
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in WRONG.items() for value in values]
)
def test_a_value_of_a_wrong_type_is_named_by_file_and_path_and_not_shown(
    tmp_path: Path, path: str, value: Any
) -> None:
    config = whole()
    put(config, path, value)
    file = write_config(tmp_path, config)
    with pytest.raises(ConfigError) as caught:
        Gateway(file)
    text = str(caught.value)
    assert f"{file}: {path}: expected" in text
    assert SECRET not in text


@pytest.mark.parametrize("limit", [-1, 1.5, True, "50", None, [50]])
def test_a_limit_is_a_whole_number_of_entries(tmp_path: Path, limit: Any) -> None:
    config: Dict[str, Any] = {}
    put(config, "gateway.moduleBackupStorage.weather", {"path": "a.json", "limit": limit})
    with pytest.raises(ConfigError, match=r"gateway\.moduleBackupStorage\.weather\.limit"):
        load_config(write_config(tmp_path, config))


@pytest.mark.parametrize("config", [[], "{}", 5, None, True, [{"gateway": {}}]])
def test_a_file_that_holds_no_object_is_an_error(tmp_path: Path, config: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"config\.json: top level: expected an object"):
        load_config(str(path))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_period_that_is_no_finite_number_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"gateway": {"moduleTimers": {"weather": {"send": ' + text + "}}}}")
    with pytest.raises(ConfigError, match=r"gateway\.moduleTimers\.weather\.send"):
        load_config(str(path))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    config = whole()
    put(config, "gateway.moduleTimers.customModule2", 0)
    put(config, "uuThing.accessCode1", 5)
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(tmp_path, config))
    assert "gateway.moduleTimers.customModule2" in str(caught.value)
    assert "uuThing.accessCode1" in str(caught.value)


def test_one_mistake_hides_no_other() -> None:
    config = {
        "gateway": {
            "moduleTimers": {"a": 0},
            "moduleBackupStorage": {"a": "s.json", "b": {"path": "s.json"}, "c": {"path": 5}},
            "watchdog": [],
            "heartbeat": {"extended": 1},
        },
        "oidcGrantToken": {"tokenPath": "s.json"},
        "uuApp": [],
    }
    assert [problem.partition(": ")[0] for problem in problems(config)] == [
        "gateway.moduleTimers.a",
        "gateway.moduleBackupStorage.c.path",
        "gateway.watchdog",
        "gateway.heartbeat.extended",
        "uuApp",
        "gateway.moduleBackupStorage.a",
        "gateway.moduleBackupStorage.b.path",
    ]


def test_a_path_that_no_file_can_have_is_refused() -> None:
    storages = {"a": "\ud800", "b": {"path": "a\0b"}}
    config = {
        "gateway": {"moduleBackupStorage": storages},
        "oidcGrantToken": {"tokenPath": "\udfff"},
    }
    found = [problem.partition(": ")[0] for problem in problems(config)]
    assert found[:2] == ["gateway.moduleBackupStorage.a", "gateway.moduleBackupStorage.b.path"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def acceptable(period: Any) -> bool:
    """Return whether a value is a finite number over 0, by the words of the documentation."""
    if type(period) not in (int, float):
        return False
    try:
        return 0 < float(period) < math.inf
    except OverflowError:
        return False


@given(st.one_of(json_values, st.floats(0, 1e9), st.integers(1, 10**6)))
def test_a_period_is_accepted_if_and_only_if_it_is_a_finite_number_over_0(period: Any) -> None:
    found = problems(timers(weather={"send": period}))
    assert (found == []) is acceptable(period)
    assert all(problem.startswith("gateway.moduleTimers.weather.send: ") for problem in found)


@given(json_values)
def test_any_json_is_judged_without_an_exception(value: Any) -> None:
    for config in (
        value,
        {"gateway": value},
        timers(weather=value),
        {"gateway": {"moduleTimers": value, "moduleBackupStorage": value}},
        {"gateway": {"moduleBackupStorage": {"weather": value}}},
        {"uuApp": value, "uuThing": value, "oidcGrantToken": value},
        {"uuApp": {"uuCmdList": value}},
    ):
        assert all(isinstance(problem, str) for problem in problems(config))


# -- timers and the handlers of the modules ------------------------------------------------------


class Named:
    id = "weather"

    def __init__(self) -> None:
        self.calls = ""

    @on("tick", "send")
    def send(self) -> None:
        self.calls += "s"

    @on("tick", "receive")
    def receive(self) -> None:
        self.calls += "r"


class Plain:
    id = "weather"

    @on("tick")
    def tick(self) -> None: ...


class Both(Named, Plain):
    id = "weather"


MISFITS: Dict[str, Tuple[Any, Any, str]] = {
    "one period for named timers": (Named(), 5, "receive, send"),
    "named periods for a plain timer": (Plain(), {"send": 5}, "expected one period"),
    "an empty object for a plain timer": (Plain(), {}, "expected one period"),
    "handlers with and without an id": (Both(), {"send": 5}, "with a timer id"),
}


@pytest.mark.parametrize(("module", "period", "say"), MISFITS.values(), ids=MISFITS.keys())
def test_periods_that_do_not_fit_the_handlers_are_an_error(
    tmp_path: Path, module: Any, period: Any, say: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_gateway(tmp_path, timers(weather=period), module)
    text = str(caught.value)
    assert f"{tmp_path / 'config.json'}: gateway.moduleTimers.weather: " in text
    assert say in text


@pytest.mark.parametrize("module", [Named(), Plain()])
def test_tick_handlers_without_an_entry_are_one_info_line(
    tmp_path: Path, module: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    clock = ManualClock()
    with make_gateway(tmp_path, {}, module, clock=clock):
        clock.advance(1000)
    lines = [line for line in messages(caplog, logging.INFO) if "weather" in line]
    assert lines == ["gateway.moduleTimers.weather is not set: module `weather` has no timer"]
    assert messages(caplog, logging.WARNING) == []
    assert getattr(module, "calls", "") == ""


def test_a_handler_whose_timer_id_has_no_period_is_a_warning_and_the_others_tick(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, module = ManualClock(), Named()
    with make_gateway(tmp_path, timers(weather={"send": 5}), module, clock=clock):
        clock.advance(5)
    assert module.calls == "ss"
    (line,) = messages(caplog, logging.WARNING)
    assert line.startswith("gateway.moduleTimers.weather.receive is missing")


@pytest.mark.parametrize(
    ("periods", "path"),
    [
        ({"weather": {"send": 5, "receive": 5, "sned": 5}}, "gateway.moduleTimers.weather.sned"),
        ({"weather": {"send": 5, "receive": 5}, "wether": 5}, "gateway.moduleTimers.wether"),
        (
            {"weather": {"send": 5, "receive": 5}, "wether": {"send": 5}},
            "gateway.moduleTimers.wether.send",
        ),
    ],
)
def test_a_period_without_a_handler_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, periods: Dict[str, Any], path: str
) -> None:
    make_gateway(tmp_path, timers(**periods), Named())
    (line,) = messages(caplog, logging.WARNING)
    assert line.startswith(f"{path}: ")


def test_a_backup_file_of_no_module_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storages = {"weather": str(tmp_path / "a.json"), "wether": str(tmp_path / "b.json")}
    make_gateway(tmp_path, {"gateway": {"moduleBackupStorage": storages}}, Named())
    assert messages(caplog, logging.WARNING) == [
        "gateway.moduleBackupStorage.wether: no module has this id; the modules are config, weather"
    ]


def test_whole_and_broken_seconds_are_periods(tmp_path: Path) -> None:
    clock = ManualClock()
    one, two = Ticker(clock, "one"), Ticker(clock, "two")
    with make_gateway(tmp_path, timers(one=2, two=0.5), one, two, clock=clock):
        clock.advance(2)
    assert one.ticks == [0, 2]
    assert two.ticks == [0, 0.5, 1, 1.5, 2]


def test_the_working_directory_may_change_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, timers(ticker=1))
    monkeypatch.chdir(tmp_path)
    clock = ManualClock()
    ticker = Ticker(clock)
    gateway = Gateway("config.json", lambda config, client: ticker, clock=clock)
    other = tmp_path / "other"
    other.mkdir()
    os.chdir(other)
    with gateway:
        clock.advance(1)
    assert ticker.ticks == [0, 1]
    assert os.listdir(other) == []


@pytest.mark.parametrize(
    ("storages", "place"),
    [
        ({"a": "s.json", "b": {"path": "./s.json"}}, "gateway.moduleBackupStorage.b.path"),
        ({"a": "config.json"}, "gateway.moduleBackupStorage.a"),
        ({"a": "token"}, "gateway.moduleBackupStorage.a"),
        ({"a": "in\0the/middle"}, "gateway.moduleBackupStorage.a"),
        ({"a": "/dev/null"}, "gateway.moduleBackupStorage.a"),
        ({"a": "."}, "gateway.moduleBackupStorage.a"),
    ],
)
def test_a_backup_file_that_something_else_is_or_uses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storages: Any, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = {
        "gateway": {"moduleBackupStorage": storages},
        "oidcGrantToken": {"tokenPath": "token"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"config.json: {place}: ") as caught:
        load_config("config.json")
    assert str(caught.value).count(place) == 1


def test_a_token_file_that_is_the_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"oidcGrantToken": {"tokenPath": "config.json"}}')
    with pytest.raises(ConfigError, match="oidcGrantToken.tokenPath: names the same file"):
        load_config("config.json")
