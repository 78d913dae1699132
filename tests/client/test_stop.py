"""A gateway that stops while replies trickle in, which no time-out of a socket ends."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import socketserver
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
import requests

from tests.client.clients import hurried
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot_client import GatewayStopping, TokenError, UuAppClient
from uun_iot_core import Gateway, gateway, on
from uun_iot_core.events.base import EventType, HandlerInfo
from uun_iot_core.events.calling import call_handler

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
GRACE = 0.4
#: seconds; a reply that trickles in takes twenty and more
LATE = 2.0
ENDED = "the request was ended because the gateway stops"


def trickle(uuapp: Sandbox, where: str, command: str = COMMAND) -> None:
    """Let replies to a command come in small pieces, each well within its time-out."""
    long = "x" * 20000
    if where == "first line":
        uuapp.faults.add("slow", command=command, chunk_size=1, seconds=0.3)
    elif where == "headers":
        uuapp.faults.add("slow", command=command, chunk_size=100, seconds=0.1)
        uuapp.faults.add("reply", command=command, body={}, headers={"X-Long": long})
    else:
        uuapp.faults.add("slow", command=command, chunk_size=1000, seconds=0.1)
        uuapp.faults.add("reply", command=command, body={"long": long * 10})


class Station:
    """A module that posts in each tick and when the gateway stops, if told to."""

    id = "station"

    def __init__(self, client: Any, ticks: bool, stops: bool) -> None:
        self.client, self.ticks, self.stops = client, ticks, stops
        self.results: List[Any] = []

    @on("tick")
    def tick(self) -> None:
        if self.ticks:
            self.results.append(self.client.post(COMMAND, {"a": 1}))

    @on("stop")
    def end(self) -> None:
        if self.stops:
            self.results.append(self.client.post(COMMAND, {"a": 1}))


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "STOP_GRACE", GRACE)


def started(
    config: Dict[str, Any],
    directory: Path,
    ticks: bool = False,
    stops: bool = False,
    read_timeout: float = 30.0,
) -> Gateway:
    """Return a gateway with a `Station`, started."""
    path = directory / "config.json"
    path.write_text(json.dumps({**config, "gateway": {"moduleTimers": {"station": 1000}}}))
    made = Gateway(
        str(path),
        lambda config, client: Station(client, ticks, stops),
        client=lambda config: UuAppClient(config, read_timeout=read_timeout),
    )
    made.start()
    return made


def stopped(made: Gateway) -> float:
    """Stop a gateway; return how many seconds that took."""
    start = time.monotonic()
    made.stop()
    return time.monotonic() - start


def station_of(made: Gateway) -> Station:
    station: Station = made._modules["station"]
    return station


def ended(results: List[Any]) -> None:
    """Check that the one call was ended, and says so."""
    ((response, exc),) = results
    assert response is None
    assert isinstance(exc, requests.ConnectionError)
    assert ENDED in str(exc)


def in_stop_handler(call: Any) -> Any:
    results: List[Any] = []
    call_handler(lambda: results.append(call()), HandlerInfo(EventType.STOP, owner_id="test"))
    (result,) = results
    return result


PLACES = ["first line", "headers", "body"]


@pytest.mark.parametrize("where", PLACES)
def test_a_stop_handler_is_not_kept_by_a_reply_that_trickles_in(
    uuapp: Sandbox, config: Dict[str, Any], tmp_path: Path, where: str
) -> None:
    made = started(config, tmp_path, stops=True)
    trickle(uuapp, where)
    assert stopped(made) < GRACE + LATE
    ended(station_of(made).results)


@pytest.mark.parametrize("where", PLACES)
def test_a_tick_is_ended_later_and_not_never(
    uuapp: Sandbox, config: Dict[str, Any], tmp_path: Path, where: str
) -> None:
    trickle(uuapp, where)
    made = started(config, tmp_path, ticks=True, read_timeout=1.5)
    assert uuapp.wait_for(lambda: any(each.command == COMMAND for each in uuapp.requests))
    duration = stopped(made)
    assert GRACE + 1.5 <= duration < GRACE + 1.5 + LATE
    ended(station_of(made).results)


def test_after_the_stop_calls_are_made_again(
    uuapp: Sandbox, config: Dict[str, Any], tmp_path: Path
) -> None:
    made = started(config, tmp_path, stops=True)
    for _ in range(2):
        trickle(uuapp, "headers")
        stopped(made)
        ended(station_of(made).results)
        station_of(made).results.clear()
        uuapp.faults.clear()
        assert made.uuapp_client.post(COMMAND)[1] is None
        made.start()
    made.stop()
    assert station_of(made).results[0][1] is None


def test_a_grant_that_trickles_in_is_ended_too(uuapp: Sandbox, client: UuAppClient) -> None:
    trickle(uuapp, "headers", GRANT)
    client._gateway_stopping(GRACE)
    start = time.monotonic()
    response, exc = in_stop_handler(lambda: client.post(COMMAND))
    assert time.monotonic() - start < GRACE + LATE
    assert response is None
    assert isinstance(exc, TokenError) and ENDED in str(exc)
    assert isinstance(exc.__cause__, requests.ConnectionError)
    client._gateway_stopped()


def test_a_call_of_others_goes_on_when_those_of_stop_handlers_are_ended(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    client.refresh_token()
    slow = uuapp.faults.add("delay", command="other/one", seconds=20)
    results: List[Any] = []
    other = threading.Thread(target=lambda: results.append(client.post("other/one")))
    other.start()
    assert uuapp.wait_for(lambda: any(each.command == "other/one" for each in uuapp.requests))
    trickle(uuapp, "headers")
    client._gateway_stopping(GRACE)
    ended([in_stop_handler(lambda: client.post(COMMAND))])
    assert other.is_alive()
    uuapp.faults.remove(slow)
    other.join(10)
    assert [exc for _, exc in results] == [None]
    client._gateway_stopped()


def test_a_call_that_connects_after_the_moment_is_ended_as_well(
    uuapp: Sandbox, config: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = hurried(config, read_timeout=0.3)
    client.close()
    resolving, go_on = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def slowly(*args: Any, **kwargs: Any) -> Any:
        resolving.set()
        assert go_on.wait(10)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    trickle(uuapp, "headers")
    results: List[Any] = []
    caller = threading.Thread(target=lambda: results.append(client.post(COMMAND)))
    caller.start()
    assert resolving.wait(10)
    client._gateway_stopping(0.0)
    (call,) = client._transport._calls._under_way
    assert eventually(lambda: call.ended)  # and it has no connection yet
    go_on.set()
    caller.join(LATE)
    assert not caller.is_alive()
    ended(results)
    assert not any(each.command == COMMAND for each in uuapp.requests)
    client._gateway_stopped()


# -- behind a proxy


class Tunnel(socketserver.BaseRequestHandler):
    """Answers CONNECT, slowly if told to, and passes bytes on."""

    server: Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        host, _, port = head.split()[1].decode().rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as target:
            self.answer(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300 + b"\r\n\r\n")
            self.pass_on(target)

    def answer(self, content: bytes) -> None:
        size = 2 if self.server.slow else len(content)
        for at in range(0, len(content), size):
            self.request.sendall(content[at : at + size])
            if self.server.slow and self.server.closing.wait(0.1):
                return

    def pass_on(self, target: socket.socket) -> None:
        while True:
            for source in select.select([self.request, target], [], [])[0]:
                content = source.recv(65536)
                if not content:
                    return
                (self.request if source is target else target).sendall(content)


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy on the loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.slow = False
        self.closing = threading.Event()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy() as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield server
        server.closing.set()
        server.shutdown()
        serving.join(10)


@pytest.mark.parametrize("slow", ["proxy", "server"])
def test_behind_a_proxy_calls_are_ended_too(
    uuapp: Sandbox, client: UuAppClient, proxy: Proxy, slow: str
) -> None:
    client.refresh_token()
    if slow == "server":
        trickle(uuapp, "headers")
    else:
        client.close()
        proxy.slow = True
    before = len(uuapp.requests)
    client._gateway_stopping(GRACE)
    start = time.monotonic()
    ended([in_stop_handler(lambda: client.post(COMMAND))])
    assert time.monotonic() - start < GRACE + LATE
    assert len(uuapp.requests) - before == (slow == "server")
    client._gateway_stopped()


# -- what is logged


def test_a_sender_with_a_backlog_is_told_once_in_each_stop(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.refresh_token()
    caplog.set_level(logging.DEBUG, "uun_iot_client")
    caplog.set_level(logging.DEBUG, "uun_iot")
    for _ in range(2):
        caplog.clear()
        client._gateway_stopping(GRACE)
        for level in [30] * 5 + [40] * 5 + [10, 5]:
            assert isinstance(client.post(COMMAND, log_level=level)[1], GatewayStopping)
        lines = [each for each in caplog.records if "the gateway is stopping" in each.getMessage()]
        assert [each.levelno for each in lines] == [30, *[10] * 4, 40, *[10] * 4, 10]
        client._gateway_stopped()


def test_each_request_that_was_ended_is_logged(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.refresh_token()
    trickle(uuapp, "headers")
    client._gateway_stopping(2.0)  # no piece takes so long, whatever else the machine does
    client.post(COMMAND)
    in_stop_handler(lambda: client.post(COMMAND))
    lines = [each for each in caplog.records if ENDED in each.getMessage()]
    assert [each.levelno for each in lines] == [logging.WARNING]
    client._gateway_stopped()
