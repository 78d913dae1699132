"""The life of a token: obtained once, refreshed in time, renewed after a refusal."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List

import pytest
import requests

from tests.support.sandbox import Sandbox
from uun_iot_client import (
    CommandError,
    TokenCommandError,
    TokenError,
    TokenServiceUnreachable,
    UuAppClient,
)
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
LIFE = 1800


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def grants_asked(uuapp: Sandbox) -> int:
    return sum(request.command == GRANT for request in uuapp.requests)


def at_once(number: int, call: Callable[[], Any]) -> List[Any]:
    """Call from so many threads, all of which are ready before the first begins."""
    barrier = threading.Barrier(number)

    def ready(_: int) -> Any:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(ready, range(number)))


# -- refresh


def test_a_token_is_obtained_at_once_unless_told_otherwise(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    lazy = UuAppClient(config, refresh_token_on_init=False)
    assert (uuapp.grants, lazy.is_token_expired()) == (0, True)
    eager = UuAppClient(config)
    assert (uuapp.grants, eager.is_token_expired()) == (1, False)


def test_refresh_says_whether_it_was_needed(client: UuAppClient, uuapp: Sandbox) -> None:
    assert client.refresh_token() is True
    assert client.refresh_token() is False
    assert uuapp.grants == 1


def test_a_token_is_refreshed_from_the_leeway_before_its_end(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, token_leeway=60, clock=clock)
    clock.advance(LIFE - 60.1)
    assert not client.is_token_expired()
    assert client.refresh_token() is False
    assert uuapp.grants == 1
    clock.advance(0.2)
    assert client.is_token_expired()
    assert client.get(COMMAND)[1] is None
    assert (uuapp.grants, client.is_token_expired()) == (2, False)
    assert client.refresh_token() is False


@pytest.mark.parametrize("leeway", [LIFE, LIFE + 1, 10 * LIFE])
def test_of_a_leeway_as_long_as_life_half_the_life_counts(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock, leeway: float
) -> None:
    client = UuAppClient(config, token_leeway=leeway, clock=clock)
    clock.advance(LIFE / 2 - 0.1)
    assert not client.is_token_expired()
    clock.advance(0.2)
    assert client.is_token_expired()
    assert client.refresh_token() is True


def test_setting_the_wall_clock_changes_nothing(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    clock.set_time(4e9)
    assert not client.is_token_expired()
    clock.set_time(0)
    clock.advance(LIFE)
    assert client.is_token_expired()


def test_a_lifetime_may_be_a_numeric_string(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    uuapp.uuapp.expires_in_as_text = True
    client = UuAppClient(config, token_leeway=60, clock=clock)
    clock.advance(LIFE - 61)
    assert not client.is_token_expired()
    clock.advance(2)
    assert client.is_token_expired()


def test_a_failed_refresh_is_swallowed_while_the_token_lives(
    config: Dict[str, Any],
    uuapp: Sandbox,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = UuAppClient(config, token_leeway=60, clock=clock)
    clock.advance(LIFE - 30)
    refusing = uuapp.faults.add("status", command=GRANT)
    assert client.refresh_token() is False
    assert client.get(COMMAND)[1] is None
    assert "still serves" in caplog.text
    assert grants_asked(uuapp) == 2  # the second is not repeated at each call
    clock.advance(31)
    response, exc = client.get(COMMAND)
    assert response is None and isinstance(exc, TokenCommandError)
    uuapp.faults.remove(refusing)
    clock.advance(60)
    assert client.get(COMMAND)[1] is None


def test_others_use_the_token_while_one_refreshes_it(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, token_leeway=60, clock=clock)
    clock.advance(LIFE - 30)
    slow = uuapp.faults.add("delay", command=GRANT, seconds=20)
    refresher = threading.Thread(target=client.refresh_token)
    refresher.start()
    assert uuapp.wait_for(lambda: grants_asked(uuapp) == 2)
    assert client.get(COMMAND)[1] is None
    assert refresher.is_alive()
    uuapp.faults.remove(slow)
    refresher.join(10)
    assert uuapp.grants == 2


def test_many_threads_without_a_token_ask_for_one(client: UuAppClient, uuapp: Sandbox) -> None:
    results = at_once(64, lambda: client.get(COMMAND))
    assert [exc for _, exc in results] == [None] * 64
    assert uuapp.grants == 1
    assert len(uuapp.received(COMMAND)) == 64


def test_many_threads_with_an_expired_token_ask_for_one(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    clock.advance(LIFE + 1)
    refreshed = at_once(64, client.refresh_token)
    assert refreshed.count(True) == 1
    assert uuapp.grants == 2


def test_many_threads_with_a_revoked_token_ask_for_one(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    client = UuAppClient(config)
    uuapp.revoke_tokens()
    results = at_once(64, lambda: client.post(COMMAND, {}))
    assert [exc for _, exc in results] == [None] * 64
    assert uuapp.grants == 2


# -- failed grants


def test_after_a_failure_calls_fail_at_once_for_a_growing_while(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("status", command=GRANT)
    with pytest.raises(TokenCommandError):
        client.refresh_token()
    pauses = []
    for attempts in range(1, 9):
        start = clock.monotonic()
        while True:
            response, exc = client.post(COMMAND, {})
            assert response is None
            if grants_asked(uuapp) > attempts:
                break
            assert type(exc) is TokenError
            assert "the next one is in" in str(exc) and "503" in str(exc)
            clock.advance(0.25)
        assert isinstance(exc, TokenCommandError)
        pauses.append(clock.monotonic() - start)
    for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60]):
        assert 0.75 * longest <= pause <= longest + 0.25


def test_a_success_ends_the_pauses(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("status", command=GRANT, times=3)
    for _ in range(3):
        assert isinstance(client.get(COMMAND)[1], TokenCommandError)
        clock.advance(60)
    assert client.get(COMMAND)[1] is None
    clock.advance(LIFE)
    uuapp.faults.add("status", command=GRANT, times=1)
    assert isinstance(client.get(COMMAND)[1], TokenCommandError)
    clock.advance(1)
    assert client.get(COMMAND)[1] is None


def test_an_outage_of_the_token_service_is_a_token_error_from_that_of_the_network(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.outage()
    with pytest.raises(TokenError, match="cannot be reached") as caught:
        UuAppClient(config)
    assert isinstance(caught.value, TokenServiceUnreachable)
    assert isinstance(caught.value.__cause__, requests.ConnectionError)


@pytest.mark.parametrize(
    "code, status, hint",
    [
        ("identityNotAuthenticated", 401, "uuThing.accessCode1"),
        ("unexpectedError", 500, "access codes"),
        ("unsupportedCredentials", 401, "second factor"),
        ("invalidDtoIn", 400, "oidcGrantToken"),
    ],
)
def test_a_refusal_tells_code_status_and_remedy(
    config: Dict[str, Any], uuapp: Sandbox, code: str, status: int, hint: str
) -> None:
    uuapp.faults.add("refuse_grant", code=code)
    with pytest.raises(TokenCommandError) as caught:
        UuAppClient(config)
    error = caught.value
    assert (error.status, error.error_map) == (status, {f"uu-oidc-main/grantToken/{code}": "error"})
    for part in (str(status), f"uu-oidc-main/grantToken/{code} (", hint):
        assert part in str(error)


def test_wrong_codes_are_refused(config: Dict[str, Any], uuapp: Sandbox) -> None:
    config["uuThing"]["accessCode2"] = "wrong"
    response, exc = UuAppClient(config, refresh_token_on_init=False).get(COMMAND)
    assert response is None
    assert isinstance(exc, TokenCommandError) and exc.status == 401


GOOD = {"id_token": "abc", "expires_in": 60, "uuAppErrorMap": {}}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        "null",
        "[1]",
        '"text"',
        '{"id_token": ',
        "[" * 100_000,
        {},
        {**GOOD, "id_token": None},
        {**GOOD, "id_token": ""},
        {**GOOD, "id_token": 5},
        {**GOOD, "id_token": "two words"},
        {**GOOD, "id_token": "line\r\nX-Injected: 1"},
        {**GOOD, "id_token": "ž"},
        {"id_token": "abc"},
        *({**GOOD, "expires_in": bad} for bad in (0, -1, True, None, "", "soon", "nan", [60])),
        '{"id_token": "abc", "expires_in": 1e999}',
        '{"id_token": "abc", "expires_in": NaN}',
        '{"id_token": "abc", "expires_in": 1' + "0" * 400 + "}",
    ],
    ids=lambda reply: str(reply)[:40],
)
def test_a_reply_that_is_no_token_is_a_token_error(
    config: Dict[str, Any], uuapp: Sandbox, reply: Any
) -> None:
    uuapp.faults.add("reply", command=GRANT, body=reply)
    with pytest.raises(TokenError, match="is no token") as caught:
        UuAppClient(config)
    assert type(caught.value) is TokenError


def test_a_captive_portal_in_place_of_the_token_service_is_named(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.faults.add("reply", command=GRANT, body="<html>Log in</html>", content_type="text/html")
    with pytest.raises(TokenError, match="text/html.*login page"):
        UuAppClient(config)


def test_an_error_entry_with_200_refuses_the_token(config: Dict[str, Any], uuapp: Sandbox) -> None:
    body = {**GOOD, "uuAppErrorMap": {"uu/x/failed ": {"type": "error"}}}
    uuapp.faults.add("reply", command=GRANT, body=body)
    with pytest.raises(TokenCommandError) as caught:
        UuAppClient(config)
    assert (caught.value.status, caught.value.error_map) == (200, {"uu/x/failed": "error"})


# -- refused tokens


@pytest.mark.parametrize("method", ["get", "post", "multipart"])
def test_a_revoked_token_is_renewed_and_the_call_repeated_whole(
    config: Dict[str, Any], uuapp: Sandbox, method: str
) -> None:
    client = UuAppClient(config)
    uuapp.revoke_tokens()
    response, exc = getattr(client, method)(COMMAND, {"a": "1"})
    assert exc is None
    assert response.status_code == 200
    assert uuapp.received(COMMAND) == [{"a": "1"}]
    assert uuapp.grants == 2


def test_files_of_a_form_are_repeated_from_where_they_stood(
    config: Dict[str, Any], uuapp: Sandbox, tmp_path: Any
) -> None:
    client = UuAppClient(config)
    path = tmp_path / "image"
    path.write_bytes(b"0123456789" * 10_000)
    uuapp.revoke_tokens()
    with path.open("rb") as file:
        file.seek(5)
        _, exc = client.multipart(COMMAND, {"data": ("image", file, "image/png")})
    assert exc is None
    assert uuapp.received(COMMAND)[0]["data"].content == path.read_bytes()[5:]


def test_an_encoder_is_sent_once_and_the_next_call_has_a_new_token(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    from requests_toolbelt.multipart.encoder import MultipartEncoder

    client = UuAppClient(config)
    uuapp.revoke_tokens()
    response, exc = client.post(COMMAND, MultipartEncoder({"a": "1"}))
    assert response is not None and response.status_code == 401
    assert isinstance(exc, CommandError)
    _, exc = client.post(COMMAND, MultipartEncoder({"a": "2"}))
    assert exc is None
    assert uuapp.received(COMMAND) == [{"a": "2"}]
    assert uuapp.grants == 2


@pytest.mark.parametrize(
    "status, code",
    [
        (403, "uu-appg01/authorization/accessDenied"),
        (403, "uu-oidc/invalidToken"),
        (401, "uu-app-workspace/authorization/userIsNotAuthorized"),
        (500, "uu-app-server/internalServerError"),
    ],
)
def test_other_refusals_do_not_cost_a_token(
    client: UuAppClient, uuapp: Sandbox, status: int, code: str
) -> None:
    body = {"uuAppErrorMap": {f"{code} ": {"type": "error"}}}
    uuapp.faults.add("reply", command=COMMAND, status=status, body=body)
    _, exc = client.post(COMMAND)
    assert isinstance(exc, CommandError) and exc.codes == (code,)
    assert uuapp.grants == 1
    assert sum(request.command == COMMAND for request in uuapp.requests) == 1


def test_fresh_tokens_that_are_refused_too_are_not_asked_for_at_each_call(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    refusing = uuapp.faults.add("reply", command=COMMAND, status=401, body={})
    for _ in range(20):
        response, exc = client.post(COMMAND)
        assert response is not None and response.status_code == 401
        assert isinstance(exc, CommandError)
    assert uuapp.grants == 2
    clock.advance(1)
    client.post(COMMAND)
    assert uuapp.grants == 3
    uuapp.faults.remove(refusing)
    assert client.post(COMMAND)[1] is None


def test_a_refused_token_that_cannot_be_renewed_is_kept_for_other_commands(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    client = UuAppClient(config)
    uuapp.faults.add("status", command=GRANT)
    uuapp.faults.add("reply", command=COMMAND, status=401, body={})
    for method in (client.get, client.post):
        response, exc = method(COMMAND)
        assert response is not None and response.status_code == 401
        assert isinstance(exc, CommandError)
        assert client.get("weather/list")[1] is None


# -- a token request of the user's own


def test_token_request_is_called_as_documented(config: Dict[str, Any], uuapp: Sandbox) -> None:
    calls: List[Dict[str, Any]] = []

    def fetch(url: str, **arguments: Any) -> requests.Response:
        calls.append({"url": url, **arguments})
        return requests.post(url, **arguments)

    client = UuAppClient(config, fetch)
    assert client.get(COMMAND)[1] is None
    (call,) = calls
    assert sorted(call) == ["headers", "json", "timeout", "url"]
    assert call["url"] == uuapp.url(GRANT)
    assert call["json"]["grant_type"] == "password"
    assert call["headers"]["User-Agent"].startswith("uun-iot/")
    assert all(seconds > 0 for seconds in call["timeout"])


@pytest.mark.parametrize(
    "error", [requests.Timeout("slow"), OSError("disk"), KeyError("x"), ValueError("y")]
)
def test_what_a_token_request_raises_becomes_a_token_error(
    config: Dict[str, Any], error: Exception
) -> None:
    def fetch(url: str, **arguments: Any) -> requests.Response:
        raise error

    with pytest.raises(TokenError) as caught:
        UuAppClient(config, fetch)
    assert caught.value.__cause__ is error
    assert type(error).__name__ in str(caught.value) or "slow" in str(caught.value)


def test_a_refusal_that_a_token_request_raises_is_judged_and_shows_no_codes(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    def fetch(url: str, **arguments: Any) -> requests.Response:
        response = requests.post(url, **arguments)
        response.raise_for_status()
        return response

    config["uuThing"]["accessCode1"] = "wrong-code-marker"
    with pytest.raises(TokenCommandError) as caught:
        UuAppClient(config, fetch)
    assert caught.value.permanent and caught.value.status == 401
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_the_request_of_an_error_that_a_token_request_raises_is_dropped(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    def fetch(url: str, **arguments: Any) -> requests.Response:
        response = requests.post(url, **arguments)
        try:
            raise requests.HTTPError("odd", response=response)
        except requests.HTTPError as exc:
            raise KeyError("own") from exc

    with pytest.raises(TokenError) as caught:
        UuAppClient(config, fetch)
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    inner = cause.__cause__
    assert isinstance(inner, requests.HTTPError)
    assert inner.request is None and inner.response is None


def test_requests_post_given_as_token_request_is_the_default_and_follows_no_redirect(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.faults.add("redirect", command=GRANT, status=307, location=uuapp.url(COMMAND))
    with pytest.raises(TokenError):
        UuAppClient(config, requests.post)
    assert [each.command for each in uuapp.requests] == [GRANT]


def test_a_token_request_that_returns_nothing_is_a_token_error(config: Dict[str, Any]) -> None:
    def fetch(url: str, **arguments: Any) -> Any:
        return None

    with pytest.raises(TokenError, match=r"must return a requests\.Response, got NoneType"):
        UuAppClient(config, fetch)


def test_a_token_request_that_uses_its_own_client_does_not_hang(config: Dict[str, Any]) -> None:
    clients: List[UuAppClient] = []

    def fetch(url: str, **arguments: Any) -> Any:
        clients[0].get_auth_headers()

    clients.append(UuAppClient(config, fetch, refresh_token_on_init=False))
    with pytest.raises(TokenError, match="used the client that waits for its token"):
        clients[0].refresh_token()
