"""When a token is refreshed ahead of need, when it ends, and refusals that are for good."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
import requests

from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot_client import (
    CommandError,
    TokenCommandError,
    TokenError,
    TokenServiceUnreachable,
    UuAppClient,
)
from uun_iot_client.held import from_file
from uun_iot_client.servertime import ServerTime
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
LIFE = 1800
DAY = 86400
#: when these tests take place, by the server's clock
NOW = 1_700_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def grants_asked(uuapp: Sandbox) -> int:
    return sum(request.command == GRANT for request in uuapp.requests)


# -- ahead of need


def test_one_call_refreshes_a_token_of_which_a_quarter_is_left(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    clock.advance(LIFE * 0.74)
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 1
    clock.advance(LIFE * 0.07)
    assert not client.is_token_expired()
    assert client.refresh_token() is False  # as documented: it is not needed
    assert client.get(COMMAND)[1] is None
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 2


def test_the_window_scales_with_the_lifetime(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    uuapp.tokens.lifetime = 100_000
    client = UuAppClient(config, clock=clock)
    clock.advance(74_000)
    client.get(COMMAND)
    assert uuapp.grants == 1
    clock.advance(7_000)
    client.get(COMMAND)
    assert uuapp.grants == 2


def test_devices_that_began_together_do_not_refresh_together(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    del config["oidcGrantToken"]["tokenPath"]
    clients = [UuAppClient(config, clock=clock) for _ in range(12)]
    clock.advance(LIFE * 0.745)
    seen = []
    for _ in range(7):
        for client in clients:
            assert client.get(COMMAND)[1] is None
        seen.append(uuapp.grants)
        clock.advance(LIFE * 0.01)
    assert seen[0] == 12
    assert seen[-1] == 24
    assert len(set(seen)) > 3


def test_others_go_on_while_one_call_refreshes_ahead(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    clock.advance(LIFE * 0.81)
    slow = uuapp.faults.add("delay", command=GRANT, seconds=60)
    first = threading.Thread(target=client.get, args=(COMMAND,))
    first.start()
    assert uuapp.wait_for(lambda: grants_asked(uuapp) == 2)
    for _ in range(5):
        assert client.get(COMMAND)[1] is None
    assert first.is_alive()
    uuapp.faults.remove(slow)
    first.join(10)
    assert (uuapp.grants, grants_asked(uuapp)) == (2, 2)


def test_a_refresh_ahead_that_fails_hurts_no_call_and_is_tried_once_a_minute(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, clock=clock)
    clock.advance(LIFE * 0.81)
    uuapp.faults.add("status", command=GRANT)
    for _ in range(60):
        assert client.get(COMMAND)[1] is None
        clock.advance(1)
    assert grants_asked(uuapp) == 2
    clock.advance(1)
    assert client.get(COMMAND)[1] is None
    assert grants_asked(uuapp) == 3


def test_a_refresh_that_is_not_needed_leaves_the_call_its_time(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.tokens.lifetime = 100
    client = UuAppClient(config, token_leeway=99.9, deadline=4.0)
    assert eventually(client.is_token_expired)
    uuapp.faults.add("delay", command=GRANT, seconds=60)
    assert client.get(COMMAND)[1] is None
    assert grants_asked(uuapp) == 2
    uuapp.faults.clear()


# -- refusals


@pytest.mark.parametrize(
    "code",
    ["identityNotAuthenticated", "unsupportedCredentials", "unexpectedError", "invalidDtoIn"],
)
@pytest.mark.parametrize("status", [None, 500, 400])
def test_a_refusal_for_good_is_told_apart_and_not_asked_again_at_once(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock, code: str, status: Any
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("refuse_grant", code=code, status=status)
    _, exc = client.get(COMMAND)
    assert isinstance(exc, TokenCommandError) and exc.permanent
    assert exc.retry_in is None
    clock.advance(7)
    _, exc = client.get(COMMAND)
    assert type(exc) is TokenError and code in str(exc)
    assert grants_asked(uuapp) == 1
    clock.advance(4)
    assert isinstance(client.get(COMMAND)[1], TokenCommandError)
    pauses: List[float] = []
    for _ in range(8):
        start, asked = clock.monotonic(), grants_asked(uuapp)
        while grants_asked(uuapp) == asked:
            clock.advance(5)
            client.get(COMMAND)
        pauses.append(clock.monotonic() - start)
    assert pauses[-1] >= 0.75 * 900
    uuapp.faults.clear()
    clock.advance(900)
    assert client.get(COMMAND)[1] is None


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_trouble_of_the_token_service_is_none_for_good(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock, status: int
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("status", command=GRANT, status=status, times=1)
    _, exc = client.get(COMMAND)
    assert isinstance(exc, TokenCommandError) and not exc.permanent
    assert exc.retry_in is not None and exc.retry_in <= 1
    clock.advance(1)
    assert client.get(COMMAND)[1] is None


def test_a_token_service_is_left_alone_for_as_long_as_it_wishes(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("status", command=GRANT, status=429, retry_after=120, times=1)
    client.get(COMMAND)
    clock.advance(119)
    assert isinstance(client.get(COMMAND)[1], TokenError)
    assert grants_asked(uuapp) == 1
    clock.advance(2)
    assert client.get(COMMAND)[1] is None


def test_mended_access_codes_are_tried_at_once(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock
) -> None:
    right = config["uuThing"]["accessCode1"]
    config["uuThing"]["accessCode1"] = "wrong"
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    assert isinstance(client.get(COMMAND)[1], TokenCommandError)
    config["uuThing"]["accessCode1"] = right
    assert client.get(COMMAND)[1] is None


def test_a_backlog_is_told_once_of_a_pause(
    config: Dict[str, Any], uuapp: Sandbox, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "uun_iot")
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    uuapp.faults.add("status", command=GRANT)
    for _ in range(20):
        client.post(COMMAND)
    levels = [each.levelname for each in caplog.records if "no token: the last" in each.message]
    assert levels == ["WARNING", *["DEBUG"] * 18]


def test_a_token_service_that_is_not_there_is_told_apart(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    uuapp.outage()
    client = UuAppClient(config, refresh_token_on_init=False)
    _, exc = client.get(COMMAND)
    assert isinstance(exc, TokenServiceUnreachable)
    assert isinstance(exc.__cause__, requests.ConnectionError)
    assert exc.retry_in is not None


# -- clocks that are wrong


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def uuapp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_clock: ManualClock
) -> Iterator[Sandbox]:
    """A sandbox that lives by a clock of the test."""
    with Sandbox(directory=tmp_path / "uuapp", now=server_clock.time) as sandbox:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        yield sandbox


def lazy(config: Dict[str, Any], clock: ManualClock) -> UuAppClient:
    return UuAppClient(config, refresh_token_on_init=False, clock=clock)


@pytest.mark.parametrize("set_to", [0.0, NOW - 10 * 365 * DAY, NOW - DAY])
def test_a_clock_set_back_keeps_no_dead_token_alive(
    config: Dict[str, Any], uuapp: Sandbox, server_clock: ManualClock, set_to: float
) -> None:
    UuAppClient(config, clock=ManualClock(NOW)).close()
    server_clock.advance(LIFE - 100)  # while the device was off
    clock = ManualClock(set_to)
    client = lazy(config, clock)
    assert client.get(COMMAND)[1] is None  # from here on the server's date is known
    assert (uuapp.grants, client.is_token_expired()) == (1, False)
    clock.advance(41)
    server_clock.advance(41)
    assert client.is_token_expired()  # 59 seconds are left of it, not half an hour
    clock.advance(60)
    server_clock.advance(60)
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 2


@pytest.mark.parametrize("set_to", [0.0, NOW - DAY])
def test_a_token_that_died_while_the_clock_was_set_back_costs_no_call(
    config: Dict[str, Any], uuapp: Sandbox, server_clock: ManualClock, set_to: float
) -> None:
    UuAppClient(config, clock=ManualClock(NOW)).close()
    server_clock.advance(LIFE + 1)
    client = lazy(config, ManualClock(set_to))
    assert client.post(COMMAND, {"a": 1})[1] is None
    assert (uuapp.grants, uuapp.received(COMMAND)) == (2, [{"a": 1}])


@pytest.mark.parametrize("ahead", [-DAY, -3600.0, 3600.0, DAY])
def test_a_clock_that_is_always_wrong_costs_no_grant(
    config: Dict[str, Any], uuapp: Sandbox, server_clock: ManualClock, ahead: float
) -> None:
    clock = ManualClock(NOW + ahead)
    UuAppClient(config, clock=clock).close()
    for each in (clock, server_clock):
        each.advance(600)
    client = lazy(config, ManualClock(clock.time()))
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 1
    assert not client.is_token_expired()


@pytest.mark.parametrize("ahead", [3600.0, DAY, 10 * 365 * DAY])
def test_a_clock_set_forward_costs_one_grant_and_no_call(
    config: Dict[str, Any], uuapp: Sandbox, ahead: float
) -> None:
    UuAppClient(config, clock=ManualClock(NOW)).close()
    clock = ManualClock(NOW + ahead)
    client = lazy(config, clock)
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 2
    clock.set_time(NOW)
    assert client.get(COMMAND)[1] is None
    assert lazy(config, clock).get(COMMAND)[1] is None
    assert uuapp.grants <= 3


def test_an_opaque_token_lives_by_what_the_file_says(
    config: Dict[str, Any], uuapp: Sandbox, server_clock: ManualClock
) -> None:
    uuapp.tokens.opaque = True
    UuAppClient(config, clock=ManualClock(NOW)).close()
    clock = ManualClock(NOW + LIFE - 100)
    client = lazy(config, clock)
    assert client.refresh_token() is False
    clock.advance(41)
    assert client.is_token_expired()
    assert lazy(config, ManualClock(NOW + LIFE)).refresh_token() is True


def test_a_jwt_ends_by_its_own_word_whatever_the_file_says(
    config: Dict[str, Any], uuapp: Sandbox, token_path: Path
) -> None:
    UuAppClient(config, clock=ManualClock(NOW)).close()
    content = json.loads(token_path.read_text())
    token_path.write_text(json.dumps({**content, "expires_at": NOW + 10 * DAY}))
    assert lazy(config, ManualClock(NOW + LIFE - 100)).refresh_token() is False
    assert lazy(config, ManualClock(NOW + LIFE)).refresh_token() is True


@pytest.mark.parametrize(
    "token", ["a.b.c", "a.e30.c", "a.W10.c", "a.bnVsbA.c", "a.eyJleHAiOiJzb29uIn0.c", "..", "a.!.c"]
)
def test_what_is_no_jwt_lives_by_expires_at(token: str) -> None:
    clock = ManualClock(NOW)
    content = {"id_token": token, "expires_at": NOW + 50, "expires_in": 60}
    held = from_file(content, clock, ServerTime(clock), 0.0)
    assert held is not None and held.expires is None
    assert held.ends == 50


@pytest.mark.parametrize("date", [None, "", "soon", "Tue, 99 Nov 2026 13:29:00 GMT", "1"])
def test_a_damaged_date_is_passed_over(date: Any) -> None:
    time = ServerTime(ManualClock())
    time.note(date)
    assert (time.monotonic_of(NOW), time.ahead()) == (None, None)


def test_a_reply_without_a_token_renewal_is_left_alone_after_403(
    config: Dict[str, Any], uuapp: Sandbox
) -> None:
    client = UuAppClient(config, clock=ManualClock(NOW))
    uuapp.faults.add("status", command=COMMAND, status=403)
    assert isinstance(client.get(COMMAND)[1], CommandError)
    assert uuapp.grants == 1
