"""Outages in bulk: after a few calls without a reply the others do not wait for one."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

import pytest
import requests

from tests.client.clients import hurried
from tests.support.sandbox import Sandbox
from uun_iot_client import (
    CircuitOpen,
    CommandError,
    NetworkError,
    RetryPolicy,
    TokenError,
    UuAppClient,
    UuCmdSession,
)
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ready(config: Dict[str, Any], clock: ManualClock) -> UuAppClient:
    return UuAppClient(config, clock=clock)


def opened(client: UuAppClient, uuapp: Sandbox, failures: int = 5) -> None:
    """Begin an outage, and make so many calls that the breaker opens."""
    uuapp.outage()
    for _ in range(failures):
        _, exc = client.post(COMMAND)
        assert isinstance(exc, NetworkError) and not isinstance(exc, CircuitOpen)


def test_a_backlog_does_not_spend_a_time_out_for_each_of_its_entries(
    uuapp: Sandbox, config: Dict[str, Any], clock: ManualClock
) -> None:
    client = hurried(config, clock=clock, read_timeout=0.1)
    uuapp.faults.add("delay", command=COMMAND, seconds=60)  # a network that swallows everything
    session = UuCmdSession(client, COMMAND)
    results = [session.post({"n": number})[1] for number in range(5000)]
    assert [type(exc).__name__ for exc in results] == ["NetworkError"] * 5 + ["CircuitOpen"] * 4995
    assert all(isinstance(exc, requests.Timeout) for exc in results[:5])
    assert sum(each.command == COMMAND for each in uuapp.requests) == 5
    uuapp.faults.clear()


def test_the_error_is_named_says_why_and_is_a_connection_error(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    opened(ready, uuapp)
    response, exc = ready.get(COMMAND)
    assert response is None
    assert isinstance(exc, CircuitOpen)
    assert isinstance(exc, NetworkError) and isinstance(exc, requests.ConnectionError)
    assert not exc.may_have_arrived
    assert 0.75 <= exc.retry_in <= 1
    for part in ("the last 5 calls got no reply", "refused", "the next attempt is made in"):
        assert part in str(exc)
    with pytest.raises(CircuitOpen):
        ready.command(COMMAND)
    with pytest.raises(requests.ConnectionError):
        ready.post_ignore_http_err(COMMAND)


def test_one_probe_at_a_time_tries_again(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    uuapp.restore()
    slow = uuapp.faults.add("delay", command=COMMAND, seconds=60)
    clock.advance(1.01)
    probing = threading.Thread(target=ready.post, args=(COMMAND, {"probe": 1}))
    probing.start()
    assert uuapp.wait_for(lambda: any(each.command == COMMAND for each in uuapp.requests))
    with ThreadPoolExecutor(8) as pool:
        others = list(pool.map(lambda _: ready.post(COMMAND, {"other": 1}), range(32)))
    assert {type(exc).__name__ for _, exc in others} == {"CircuitOpen"}
    assert "by another call at this moment" in str(others[0][1])
    uuapp.faults.remove(slow)
    probing.join(10)
    assert ready.post(COMMAND, {"after": 1})[1] is None
    assert uuapp.received(COMMAND) == [{"probe": 1}, {"after": 1}]


def test_a_slow_probe_keeps_others_off_for_some_seconds_only(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    uuapp.restore()
    slow = uuapp.faults.add("delay", command=COMMAND, seconds=60)
    clock.advance(1.01)
    probing = threading.Thread(target=ready.post, args=(COMMAND, {"probe": 1}))
    probing.start()
    assert uuapp.wait_for(lambda: any(each.command == COMMAND for each in uuapp.requests))
    clock.advance(9.9)
    assert isinstance(ready.get("weather/list")[1], CircuitOpen)
    clock.advance(0.2)
    assert ready.get("weather/list")[1] is None
    uuapp.faults.remove(slow)
    probing.join(10)


def test_a_call_that_waits_for_a_token_is_no_probe(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    uuapp.restore()
    clock.advance(1750)  # the token is due, and lives
    slow = uuapp.faults.add("delay", command=GRANT, seconds=60)
    waiting = threading.Thread(target=ready.post, args=(COMMAND, {"waits": 1}))
    waiting.start()
    assert uuapp.wait_for(lambda: sum(each.command == GRANT for each in uuapp.requests) == 2)
    assert ready.post(COMMAND, {"other": 1})[1] is None
    uuapp.faults.remove(slow)
    waiting.join(10)


def test_pauses_grow_while_probes_fail(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    pauses = []
    for _ in range(8):
        start = clock.monotonic()
        while isinstance(ready.post(COMMAND)[1], CircuitOpen):
            clock.advance(0.25)
        pauses.append(clock.monotonic() - start)
    for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30]):
        assert 0.75 * longest <= pause <= longest + 0.25
    uuapp.restore()
    clock.advance(30)
    assert ready.post(COMMAND)[1] is None
    opened(ready, uuapp)  # and it begins anew
    _, exc = ready.post(COMMAND)
    assert isinstance(exc, CircuitOpen) and exc.retry_in <= 1


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500, 503])
def test_a_reply_of_whatever_status_is_no_failure(
    uuapp: Sandbox, ready: UuAppClient, status: int
) -> None:
    opened(ready, uuapp, failures=4)
    uuapp.restore()
    uuapp.faults.add("reply", command=COMMAND, status=status, body={}, times=2)
    ready.post(COMMAND)
    uuapp.faults.clear()
    opened(ready, uuapp, failures=4)
    uuapp.restore()
    assert ready.post(COMMAND)[1] is None


def test_many_refusals_do_not_open_it(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503)
    for _ in range(50):
        assert isinstance(ready.post(COMMAND)[1], CommandError)
    uuapp.faults.clear()
    assert ready.post(COMMAND)[1] is None


def test_it_can_be_reset(uuapp: Sandbox, ready: UuAppClient) -> None:
    opened(ready, uuapp)
    uuapp.restore()
    assert isinstance(ready.post(COMMAND)[1], CircuitOpen)
    ready.reset_breaker()
    assert ready.post(COMMAND)[1] is None


@pytest.mark.parametrize("failures", [0, 1, 2, 20])
def test_how_many_failures_open_it_can_be_chosen(
    uuapp: Sandbox, config: Dict[str, Any], failures: int
) -> None:
    by_argument = UuAppClient(config, breaker_failures=failures)
    config["uuApp"]["network"] = {"breakerFailures": failures}
    by_configuration = UuAppClient(config)
    for client in (by_argument, by_configuration):
        opened(client, uuapp, failures or 50)
        assert isinstance(client.post(COMMAND)[1], CircuitOpen) is (failures > 0)
        uuapp.restore()


def test_a_policy_of_retries_ends_where_it_opens(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.outage()
    _, exc = ready.get(COMMAND, retry=RetryPolicy(attempts=50, backoff=0.0))
    assert isinstance(exc, CircuitOpen)


def test_a_probe_that_has_no_token_leaves_the_place_to_the_next(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    uuapp.restore()
    clock.advance(1800)
    refusing = uuapp.faults.add("status", command=GRANT, status=503)
    assert isinstance(ready.post(COMMAND)[1], TokenError)
    uuapp.faults.remove(refusing)
    clock.advance(2)
    assert ready.post(COMMAND)[1] is None


def test_no_access_codes_are_sent_while_it_is_open(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    opened(ready, uuapp)
    ready._token.forget(ready._token.bearer())
    before = len(uuapp.requests)
    assert isinstance(ready.post(COMMAND)[1], CircuitOpen)
    assert len(uuapp.requests) == before


def test_a_request_that_is_ended_by_a_stop_does_not_open_it(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    client = hurried(config, read_timeout=0.1, breaker_failures=1)
    uuapp.faults.add("slow", command=COMMAND, chunk_size=1, seconds=0.05)
    calling = threading.Thread(target=client.post, args=(COMMAND,))
    calling.start()
    assert uuapp.wait_for(lambda: any(each.command == COMMAND for each in uuapp.requests))
    client._gateway_stopping(0.0)
    calling.join(10)
    assert not calling.is_alive()
    client._gateway_stopped()
    uuapp.faults.clear()
    assert client.post(COMMAND)[1] is None


def test_each_outage_is_logged_once(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    for _ in range(2):
        caplog.clear()
        opened(ready, uuapp)
        for _ in range(20):
            ready.post(COMMAND)
        uuapp.restore()
        clock.advance(1.01)
        assert ready.post(COMMAND)[1] is None
        not_sent = [each for each in caplog.records if "not sent: the last" in each.getMessage()]
        assert [each.levelno for each in not_sent] == [logging.WARNING, *[logging.DEBUG] * 19]
        states = [each for each in caplog.records if each.name == "uun_iot.client.breaker"]
        assert [each.levelno for each in states] == [logging.WARNING, logging.INFO]


def test_it_is_seen_in_its_repr(uuapp: Sandbox, ready: UuAppClient) -> None:
    assert repr(ready._breaker) == "Breaker(closed)"
    opened(ready, uuapp)
    assert repr(ready._breaker) == "Breaker(open)"


def test_threads_that_fail_together_open_it_once(
    uuapp: Sandbox, ready: UuAppClient, clock: ManualClock
) -> None:
    arrived: List[int] = []
    uuapp.faults.add("delay", command=COMMAND, seconds=60)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(ready.post, COMMAND, {"n": number}) for number in range(16)]
        assert uuapp.wait_for(
            lambda: sum(each.command == COMMAND for each in uuapp.requests) == 16, timeout=30
        )
        uuapp.outage()  # all of them at once
        arrived += [number for number, call in enumerate(calls) if call.result()[1] is None]
    assert arrived == []
    _, exc = ready.post(COMMAND)
    assert isinstance(exc, CircuitOpen)
    assert exc.retry_in <= 1  # they did not make the pause longer
