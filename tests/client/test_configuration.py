"""What the client does without its configuration, and with a wrong one."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sandbox import Sandbox
from uun_iot_client import TokenError, UuAppClient, UuCmdSession
from uun_iot_client.settings import configuration_problems, is_configured

COMMAND = "weather/add"
SECTIONS = ("uuApp", "uuThing", "oidcGrantToken")
REQUIRED = [
    ("uuApp", "gateway"),
    ("uuApp", "uuAppName"),
    ("uuApp", "awid"),
    ("uuThing", "accessCode1"),
    ("uuThing", "accessCode2"),
    ("oidcGrantToken", "gateway"),
    ("oidcGrantToken", "uuAppName"),
    ("oidcGrantToken", "awid"),
    ("oidcGrantToken", "uuCmd"),
]


@pytest.mark.parametrize("missing", SECTIONS)
@pytest.mark.parametrize("value", ["absent", None, {}])
def test_without_one_of_its_parts_authentication_is_disabled(
    config: Dict[str, Any],
    uuapp: Sandbox,
    caplog: pytest.LogCaptureFixture,
    missing: str,
    value: Any,
) -> None:
    caplog.set_level(logging.INFO, "uun_iot")
    config[missing] = value
    if value == "absent":
        del config[missing]
    client = UuAppClient(config)
    assert client.refresh_token() is False
    assert client.is_token_expired()
    lines = [(each.levelno, each.getMessage()) for each in caplog.records]
    assert lines == [
        (logging.INFO, f"authentication is disabled: the configuration has no `{missing}`")
    ]
    response, exc = client.get(COMMAND)
    assert response is None
    assert isinstance(exc, TokenError) and f"`{missing}." in str(exc)
    assert uuapp.requests == []


def test_an_empty_configuration_gives_token_errors_that_name_the_key() -> None:
    client = UuAppClient({})
    session = UuCmdSession(client, COMMAND)
    for call in (
        client.get,
        client.post,
        client.multipart,
        lambda _: session.get(),
        lambda _: session.post(),
    ):
        response, exc = call(COMMAND)
        assert response is None
        assert isinstance(exc, TokenError)
        assert "`uuApp.gateway`" in str(exc)
    for raising in (client.get_ignore_http_err, client.post_ignore_http_err, client.get_uucmd_url):
        with pytest.raises(TokenError, match="`uuApp.gateway`"):
            raising(COMMAND)
    with pytest.raises(TokenError):
        client.get_auth_headers()


@pytest.mark.parametrize("section, key", REQUIRED)
@pytest.mark.parametrize("value", ["absent", None, "", 5, True, ["x"], {"a": 1}])
def test_a_missing_or_wrong_value_is_named_and_nothing_is_asked(
    config: Dict[str, Any], uuapp: Sandbox, section: str, key: str, value: Any
) -> None:
    config[section][key] = value
    if value == "absent":
        del config[section][key]
    with pytest.raises(TokenError, match=f"`{section}.{key}`") as caught:
        UuAppClient(config)
    assert type(caught.value) is TokenError
    response, exc = UuAppClient(config, refresh_token_on_init=False).post(COMMAND)
    assert response is None
    assert isinstance(exc, TokenError) and f"`{section}.{key}`" in str(exc)
    assert uuapp.requests == []


@pytest.mark.parametrize("key", ["tokenPath", "clientId", "clientSecret"])
@pytest.mark.parametrize("value", [5, ["x"], {"a": 1}])
def test_optional_values_of_a_wrong_type_are_named(
    config: Dict[str, Any], key: str, value: Any
) -> None:
    config["oidcGrantToken"][key] = value
    with pytest.raises(TokenError, match=f"`oidcGrantToken.{key}`"):
        UuAppClient(config)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", [5, "text", ["x"], True])
def test_a_part_that_is_no_object_is_named(
    config: Dict[str, Any], section: str, value: Any
) -> None:
    config[section] = value
    with pytest.raises(TokenError, match=f"`{section}` must be an object"):
        UuAppClient(config)


@pytest.mark.parametrize("config", [None, [], "text", 5])
def test_a_configuration_that_is_no_dictionary_gives_token_errors(config: Any) -> None:
    client = UuAppClient(config)
    assert client.refresh_token() is False
    response, exc = client.get(COMMAND)
    assert response is None
    assert isinstance(exc, TokenError)


@pytest.mark.parametrize(
    "host",
    ["http://h", "https://h", "h/path", "user:password@h", "h?x", "h#x", "h h", "h:port", "h\\x"],
)
@pytest.mark.parametrize("section", ["uuApp", "oidcGrantToken"])
def test_only_a_host_is_taken_so_that_only_https_is_spoken(
    config: Dict[str, Any], section: str, host: str
) -> None:
    config[section]["gateway"] = host
    with pytest.raises(TokenError, match=f"`{section}.gateway` must be a host") as caught:
        UuAppClient(config)
    assert "HTTPS" in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("host", ["example.org", "example.org:8443", "10.0.0.1", "[::1]:443"])
def test_hosts_may_carry_a_port(config: Dict[str, Any], host: str) -> None:
    config["uuApp"]["gateway"] = host
    client = UuAppClient(config, refresh_token_on_init=False)
    assert client.get_uucmd_url(COMMAND).startswith(f"https://{host}/")


@pytest.mark.parametrize("uucmd", [None, 5, "", "/", {"a": 1}])
def test_a_command_that_is_no_path_is_an_error_that_says_where_it_comes_from(
    client: UuAppClient, uucmd: Any
) -> None:
    response, exc = client.post(uucmd, {})
    assert response is None
    assert isinstance(exc, TokenError) and "`uuApp.uuCmdList`" in str(exc)


@pytest.mark.parametrize("leeway", [-1, float("nan"), float("inf"), "60", None])
def test_a_leeway_that_is_no_number_of_seconds_is_refused(leeway: Any) -> None:
    with pytest.raises(ValueError, match="token_leeway"):
        UuAppClient({}, token_leeway=leeway)


def test_client_id_and_secret_go_only_where_they_are_configured(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    UuAppClient(config)
    without = copy.deepcopy(config)
    del without["oidcGrantToken"]["clientId"]
    without["oidcGrantToken"]["clientSecret"] = ""
    del without["oidcGrantToken"]["tokenPath"]
    UuAppClient(without)
    scope = f"openid https://{uuapp.gateway}/{uuapp.uuapp.name}/{uuapp.uuapp.awid}"
    sent = {
        "grant_type": "password",
        "username": None,
        "password": None,
        "accessCode1": "<accessCode1>",
        "accessCode2": "<accessCode2>",
        "scope": scope,
    }
    with_id = {
        **sent,
        "client_id": uuapp.uuapp.credentials.client_id,
        "client_secret": "<client_secret>",
    }
    assert uuapp.received("oidc/grantToken") == [with_id, sent]


def test_without_token_path_the_token_stays_in_memory(
    config: Dict[str, Any], uuapp: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    del config["oidcGrantToken"]["tokenPath"]
    before = sorted(tmp_path.rglob("*"))
    client = UuAppClient(config)
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 1
    assert sorted(tmp_path.rglob("*")) == before


# -- what is said without a call ------------------------------------------------------------------


def places(config: Any) -> List[str]:
    return [problem.partition(": ")[0] for problem in configuration_problems(config)]


@pytest.mark.parametrize("section, key", REQUIRED)
@pytest.mark.parametrize("value", ["absent", None, ""])
def test_each_key_that_calls_need_is_missed(
    config: Dict[str, Any], section: str, key: str, value: Any
) -> None:
    assert is_configured(config) and places(config) == []
    config[section][key] = value
    if value == "absent":
        del config[section][key]
    assert places(config) == [f"{section}.{key}"]


@pytest.mark.parametrize("section, key, value", [
    ("uuApp", "gateway", "https://h"),
    ("oidcGrantToken", "gateway", "user:hunter2@h"),
    ("uuApp", "awid", "a b"),
    ("oidcGrantToken", "uuCmd", "grant?x"),
])  # fmt: skip
def test_what_is_said_without_a_call_is_what_a_call_says(
    config: Dict[str, Any], section: str, key: str, value: str
) -> None:
    config[section][key] = value
    (problem,) = configuration_problems(config)
    _, exc = UuAppClient(config, refresh_token_on_init=False).get(COMMAND)
    assert str(exc) == "configuration key `{}` {}".format(*problem.split(": ", 1))
    assert "hunter2" not in problem


def test_commands_and_numbers_are_looked_at_all_of_them(config: Dict[str, Any]) -> None:
    config["uuApp"]["uuCmdList"].update({"a": "", "b": 5, "c": None, "d": "x/y", "e": "//"})
    config["uuApp"]["network"] = {"deadline": 0, "attempts": 1.5, "deadlin": 5, "readTimeout": 5}
    assert places(config) == [
        "uuApp.uuCmdList.a",
        "uuApp.uuCmdList.b",
        "uuApp.uuCmdList.e",
        "uuApp.network.deadline",
        "uuApp.network.attempts",
        "uuApp.network.deadlin",
    ]


@pytest.mark.parametrize("config", [
    {},
    {"uuApp": None, "uuThing": {}},
    {"uuApp": {"gateway": None, "uuCmdList": {"a": "b/c"}}, "oidcGrantToken": {"uuCmd": "x"}},
])  # fmt: skip
def test_a_gateway_that_is_to_talk_to_nobody_misses_nothing(config: Any) -> None:
    assert not is_configured(config)
    assert places(config) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(value=json_values)
def test_anything_is_judged_without_an_exception(value: Any) -> None:
    for config in (
        value,
        *({section: value} for section in SECTIONS),
        *({section: {key: value}} for section, key in REQUIRED),
        {"uuApp": {"uuCmdList": value}},
        {"uuApp": {"uuCmdList": {"a": value}}},
        {"uuApp": {"network": value}},
        {"uuApp": {"network": {"deadline": value, "attempts": value}}},
    ):
        assert all(isinstance(problem, str) for problem in configuration_problems(config))
