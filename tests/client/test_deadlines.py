"""Nothing hangs: time-outs of the parts of a call, and the deadline of the whole."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
import requests

from tests.client.clients import hurried
from tests.client.wire import WireServer, read_request
from tests.support.sandbox import Sandbox
from uun_iot_client import (
    NetworkError,
    ProtocolError,
    RetryPolicy,
    TokenError,
    TokenServiceUnreachable,
    UuAppClient,
    UuCmdSession,
)
from uun_iot_client.calls import Calls
from uun_iot_core.clock import SYSTEM_CLOCK
from uun_iot_core.exceptions import ConfigError

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
#: seconds; what must end by its deadline of a fraction of one ends far before that
LATE = 10.0


def trickle(uuapp: Sandbox, where: str, command: str = COMMAND) -> None:
    """Let replies come in small pieces, each within every time-out, for a minute and more."""
    if where == "first line":
        uuapp.faults.add("slow", command=command, chunk_size=1, seconds=0.2)
        return
    long = "x" * 100_000
    uuapp.faults.add("slow", command=command, chunk_size=100, seconds=0.1)
    headers = {"X-Long": long} if where == "headers" else {}
    uuapp.faults.add("reply", command=command, body={"long": long}, headers=headers)


def ended(result: Any, start: float) -> None:
    response, exc = result
    assert response is None
    assert isinstance(exc, NetworkError) and isinstance(exc, requests.Timeout)
    assert exc.may_have_arrived
    assert time.monotonic() - start < LATE


@pytest.mark.parametrize(
    "method, where", [("get", "first line"), ("post", "headers"), ("multipart", "body")]
)
def test_a_reply_that_trickles_in_ends_with_the_deadline(
    uuapp: Sandbox, config: Dict[str, Any], method: str, where: str
) -> None:
    client = hurried(config, deadline=0.4)
    trickle(uuapp, where)
    start = time.monotonic()
    ended(getattr(client, method)(COMMAND, {"a": "1"}), start)
    uuapp.faults.clear()
    assert getattr(client, method)(COMMAND, {"a": "1"})[1] is None


def test_a_deadline_may_be_that_of_a_call_or_of_a_session(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    client.refresh_token()
    trickle(uuapp, "headers")
    calls: List[Callable[[], Any]] = [
        lambda: client.get(COMMAND, deadline=0.1),
        lambda: client.multipart(COMMAND, deadline=0.1),
        lambda: client.post(COMMAND, retry=RetryPolicy(attempts=1, deadline=0.1)),
        UuCmdSession(client, COMMAND, deadline=0.1).post,
    ]
    for call in calls:
        start = time.monotonic()
        ended(call(), start)
    with pytest.raises(NetworkError):
        client.command(COMMAND, deadline=0.2)


def test_a_call_has_no_deadline_where_that_is_wished(config: Dict[str, Any]) -> None:
    client = hurried(config, deadline=math.inf)
    assert client.post(COMMAND, {"a": 1})[1] is None
    assert client.post(COMMAND, {"a": 1}, deadline=math.inf)[1] is None
    assert client._transport._calls._watcher is None


def test_a_grant_that_trickles_in_ends_with_the_deadline_of_its_call(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    trickle(uuapp, "headers", GRANT)
    client = UuAppClient(config, refresh_token_on_init=False, deadline=0.4)
    start = time.monotonic()
    response, exc = client.get(COMMAND)
    assert time.monotonic() - start < LATE
    assert response is None
    assert isinstance(exc, TokenServiceUnreachable)
    assert isinstance(exc.__cause__, requests.Timeout)


def test_a_call_does_not_wait_longer_for_the_grant_of_another_thread(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    slow = uuapp.faults.add("delay", command=GRANT, seconds=20)
    granting = threading.Thread(target=client.refresh_token)
    granting.start()
    assert uuapp.wait_for(lambda: any(each.command == GRANT for each in uuapp.requests))
    response, exc = client.get(COMMAND, deadline=0.2)
    assert response is None
    assert isinstance(exc, TokenError) and "in time: another thread" in str(exc)
    assert granting.is_alive()
    uuapp.faults.remove(slow)
    granting.join(10)
    assert client.get(COMMAND)[1] is None


def test_a_server_that_takes_no_body_ends_with_the_deadline_and_got_nothing_whole(
    uuapp: Sandbox, token_path: Path
) -> None:
    def stall(sock: Any, ending: threading.Event) -> None:
        ending.wait(60)

    with WireServer(uuapp, stall) as server:
        client = UuAppClient(server.configuration(str(token_path)), deadline=0.5)
        start = time.monotonic()
        response, exc = client.post(COMMAND, {"a": "x" * 30_000_000})
        assert time.monotonic() - start < LATE
        assert response is None
        assert isinstance(exc, NetworkError) and not exc.may_have_arrived


def test_a_handshake_that_never_comes_ends_with_the_connect_time_out(
    uuapp: Sandbox, token_path: Path
) -> None:
    def silent(sock: Any, ending: threading.Event) -> None:
        ending.wait(60)

    with WireServer(uuapp, silent, tls=False) as server:
        client = UuAppClient(server.configuration(str(token_path)), connect_timeout=0.3)
        start = time.monotonic()
        response, exc = client.post(COMMAND, {"a": 1})
        assert time.monotonic() - start < LATE
        assert response is None
        assert isinstance(exc, NetworkError) and not exc.may_have_arrived


def test_a_form_has_the_more_time_the_bigger_it_is(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    # 300 KiB: 0.1 s, and 18 s for a slow link
    client = hurried(config, deadline=0.1)
    slow = uuapp.faults.add("delay", command=COMMAND, seconds=1.0)
    _, exc = client.multipart(COMMAND, {"a": b"x" * 300 * 1024})
    assert exc is None
    _, exc = client.multipart(COMMAND, {"a": b"x" * 300 * 1024}, deadline=0.1)
    assert isinstance(exc, requests.Timeout)
    uuapp.faults.remove(slow)


def test_redirects_share_one_deadline(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    client = hurried(config, deadline=0.6)
    uuapp.faults.add("redirect", command=COMMAND, location=uuapp.url("other/one"), times=1)
    trickle(uuapp, "headers", "other/one")
    start = time.monotonic()
    ended(client.get(COMMAND), start)


# -- replies without an end


def endless(sock: Any, ending: threading.Event) -> None:
    read_request(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not ending.is_set():
        sock.sendall(b" " * 65536)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_reply_without_an_end_does_not_fill_the_memory(
    uuapp: Sandbox, token_path: Path, method: str
) -> None:
    with WireServer(uuapp, endless) as server:
        client = UuAppClient(server.configuration(str(token_path)), reply_limit=1 << 20)
        response, exc = getattr(client, method)(COMMAND)
        assert response is None
        assert isinstance(exc, ProtocolError)
        assert "bigger than 1048576 bytes" in str(exc)


def test_a_big_reply_within_the_limit_is_read_whole(uuapp: Sandbox, client: UuAppClient) -> None:
    content = bytes(range(256)) * 4 * 20_000  # 20 MB
    uuapp.faults.add("reply", body=content, content_type="image/png", command=COMMAND)
    response, exc = client.get(COMMAND)
    assert exc is None and response is not None
    assert response.content == content


def test_headers_without_an_end_are_no_reply(uuapp: Sandbox, token_path: Path) -> None:
    def flood(sock: Any, ending: threading.Event) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while not ending.is_set():
            sock.sendall(b"X-More: 1\r\n" * 1000)

    with WireServer(uuapp, flood) as server:
        client = UuAppClient(server.configuration(str(token_path)))
        response, exc = client.post(COMMAND)
        assert response is None
        assert isinstance(exc, requests.RequestException)
        assert isinstance(exc, (NetworkError, ProtocolError))


# -- where the numbers come from


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "deadline"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "5"])
def test_an_argument_that_is_no_number_of_seconds_is_refused(
    config: Dict[str, Any], name: str, value: Any
) -> None:
    arguments: Dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        UuAppClient(config, refresh_token_on_init=False, **arguments)


@pytest.mark.parametrize("name", ["breaker_failures", "reply_limit"])
def test_an_argument_that_is_no_whole_number_is_refused(config: Dict[str, Any], name: str) -> None:
    arguments: Dict[str, Any] = {name: 1.5}
    with pytest.raises(ValueError, match=name):
        UuAppClient(config, refresh_token_on_init=False, **arguments)


def test_a_call_refuses_a_deadline_that_is_none(client: UuAppClient) -> None:
    with pytest.raises(ValueError, match="deadline"):
        client.get(COMMAND, deadline=0)


def test_the_configuration_may_set_them_and_an_argument_wins(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    config["uuApp"]["network"] = {"readTimeout": 0.2, "connectTimeout": 5, "deadline": 60}
    uuapp.faults.add("delay", command=COMMAND, seconds=1.0, times=1)
    assert isinstance(UuAppClient(config).get(COMMAND)[1], requests.ReadTimeout)
    uuapp.faults.add("delay", command=COMMAND, seconds=0.5, times=1)
    assert UuAppClient(config, read_timeout=20).get(COMMAND)[1] is None


@pytest.mark.parametrize(
    "network, place",
    [
        ({"readTimeout": 0}, r"uuApp\.network\.readTimeout: must be"),
        ({"readTimeout": "5"}, r"uuApp\.network\.readTimeout: expected seconds, got a string"),
        ({"deadline": True}, r"uuApp\.network\.deadline: expected seconds, got a boolean"),
        ({"attempts": 1.5}, r"uuApp\.network\.attempts: expected a whole number"),
        ({"attempts": 0}, r"uuApp\.network\.attempts: must be 1 or more"),
        ({"breakerFailures": -1}, r"uuApp\.network\.breakerFailures: must be 0 or more"),
        ({"readTimeOut": 5}, r"uuApp\.network\.readTimeOut: unknown; there are connectTimeout"),
        ([], r"uuApp\.network: expected an object, got a list"),
    ],
)
def test_a_wrong_value_of_the_configuration_is_named(
    config: Dict[str, Any], network: Any, place: str
) -> None:
    config["uuApp"]["network"] = network
    with pytest.raises(ConfigError, match=place):
        UuAppClient(config, refresh_token_on_init=False)


# -- the thread that watches


def test_the_watching_thread_is_there_only_while_it_may_be_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uun_iot_client.calls._LINGER", 0.05)
    calls = Calls(SYSTEM_CLOCK)
    for _ in range(2):
        with calls.under_way(0.1) as call:
            watcher = calls._watcher
            assert watcher is not None and watcher.is_alive()
            with calls.under_way(100) as other:
                assert calls._watcher is watcher
        watcher.join(10)
        assert not watcher.is_alive()
        assert (call.ended, other.ended) == (None, None)


def test_a_call_that_begins_later_and_ends_sooner_is_ended_in_time(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    client.refresh_token()
    slow = uuapp.faults.add("delay", command="other/one", seconds=60)
    results: List[Any] = []
    other = threading.Thread(target=lambda: results.append(client.post("other/one")))
    other.start()
    assert uuapp.wait_for(lambda: any(each.command == "other/one" for each in uuapp.requests))
    trickle(uuapp, "headers")
    start = time.monotonic()
    ended(client.post(COMMAND, deadline=0.2), start)
    assert other.is_alive()
    uuapp.faults.remove(slow)
    other.join(10)
    assert [exc for _, exc in results] == [None]
