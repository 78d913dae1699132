"""What is sent once more, and what never: dead connections, policies, Retry-After."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests_toolbelt.multipart.encoder import MultipartEncoder

from tests.client.clients import hurried
from tests.client.wire import WireServer, read_request
from tests.support.sandbox import Sandbox
from uun_iot_client import (
    CommandError,
    GatewayStopping,
    NetworkError,
    RetryPolicy,
    TokenCommandError,
    TokenError,
    UuAppClient,
    UuCmdSession,
)
from uun_iot_client.connections import IDLE_LIMIT
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
#: without pauses that a test would have to wait for
QUICK = RetryPolicy(attempts=4, backoff=0.0)


@pytest.fixture
def ready(client: UuAppClient) -> UuAppClient:
    """A client that has its token, and a connection that carried a request."""
    client.refresh_token()
    return client


def sent(uuapp: Sandbox, command: str = COMMAND) -> int:
    """Return how many requests of a command the server saw, read or not."""
    return sum(request.command == command for request in uuapp.requests)


# -- kept connections that turn out to be dead


def test_a_get_on_a_dead_connection_is_sent_once_more(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("drop", command=COMMAND, times=1)
    assert ready.get(COMMAND, {"a": 1})[1] is None
    assert (sent(uuapp), uuapp.connections) == (2, 2)


def test_a_post_that_was_sent_whole_is_not_sent_again(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("drop", command=COMMAND, read=True, processed=True, times=1)
    response, exc = ready.post(COMMAND, {"a": 1})
    assert response is None
    assert isinstance(exc, NetworkError) and exc.may_have_arrived
    assert uuapp.received(COMMAND) == [{"a": 1}]


def test_a_post_that_may_be_done_twice_is_sent_once_more(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    uuapp.faults.add("drop", command=COMMAND, read=True, processed=True, times=1)
    assert ready.post(COMMAND, {"a": 1}, idempotent=True)[1] is None
    assert uuapp.received(COMMAND) == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("method", ["post", "multipart"])
def test_a_post_that_has_certainly_not_arrived_is_sent_once_more(
    uuapp: Sandbox, ready: UuAppClient, method: str
) -> None:
    # ten megabytes fit into no buffer, so the reset comes while it is sent
    content = "x" * 10_000_000
    uuapp.faults.add("reset", command=COMMAND, times=1)
    assert getattr(ready, method)(COMMAND, {"a": content})[1] is None
    assert (sent(uuapp), uuapp.connections) == (2, 2)
    assert len(uuapp.received(COMMAND)) == 1


def test_an_encoder_is_not_sent_again_since_it_was_read(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("reset", command=COMMAND, times=1)
    response, exc = ready.post(COMMAND, MultipartEncoder({"a": "x" * 10_000_000}))
    assert response is None
    assert isinstance(exc, NetworkError) and not exc.may_have_arrived
    assert (sent(uuapp), uuapp.received(COMMAND)) == (1, [])


def test_a_new_connection_that_fails_is_not_taken_for_a_dead_one(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    ready.close()
    uuapp.faults.add("drop", command=COMMAND, times=1)
    assert isinstance(ready.get(COMMAND)[1], requests.ConnectionError)
    assert sent(uuapp) == 1


def test_all_kept_connections_may_be_dead(uuapp: Sandbox, ready: UuAppClient) -> None:
    barrier = threading.Barrier(4)
    uuapp.answer(COMMAND, lambda dto_in: {"n": barrier.wait(10)})
    threads = [threading.Thread(target=ready.get, args=(COMMAND,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert uuapp.connections >= 4
    uuapp.uuapp.answers.clear()
    before = uuapp.connections
    uuapp.faults.add("drop", command=COMMAND, times=1)
    assert ready.get(COMMAND)[1] is None
    assert uuapp.connections == before + 1  # not another old one


def test_a_slow_reply_is_no_dead_connection(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    client = hurried(config, read_timeout=0.2)
    uuapp.faults.add("delay", command=COMMAND, seconds=20)
    assert isinstance(client.get(COMMAND)[1], requests.ReadTimeout)
    assert sent(uuapp) == 1
    uuapp.faults.clear()


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    clock = ManualClock()
    client = UuAppClient(config, clock=clock)
    clock.advance(IDLE_LIMIT - 1)
    assert client.post(COMMAND)[1] is None
    assert uuapp.connections == 1
    clock.advance(IDLE_LIMIT + 1)
    assert client.post(COMMAND)[1] is None
    assert uuapp.connections == 2


def test_a_server_that_ends_connections_unannounced_costs_no_call(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    uuapp.faults.add("hang_up", command=COMMAND)
    for number in range(10):
        assert ready.get(COMMAND, {"n": number})[1] is None


# -- policies


def test_by_default_there_is_one_attempt(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503)
    for call in (ready.get, ready.post, ready.multipart):
        assert isinstance(call(COMMAND)[1], CommandError)
    assert sent(uuapp) == 3


AGAIN = {408, 429, 502, 503, 504}
REFUSED = {429, 503}


@pytest.mark.parametrize("status", [400, 403, 404, 408, 429, 500, 501, 502, 503, 504])
@pytest.mark.parametrize("kind", ["get", "post", "multipart", "idempotent"])
def test_which_replies_are_asked_for_again(
    uuapp: Sandbox, ready: UuAppClient, kind: str, status: int
) -> None:
    uuapp.faults.add("status", command=COMMAND, status=status, times=1)
    arguments = {"idempotent": True} if kind == "idempotent" else {}
    method = getattr(ready, "post" if kind == "idempotent" else kind)
    response, exc = method(COMMAND, {"a": "1"}, retry=QUICK, **arguments)
    again = status in (AGAIN if kind in ("get", "idempotent") else REFUSED)
    assert (exc is None) is again
    assert response.status_code == (200 if again else status)
    assert sent(uuapp) == (2 if again else 1)
    assert uuapp.received(COMMAND) == ([{"a": "1"}] if again else [])


@pytest.mark.parametrize("kind", ["drop", "reset", "half"])
def test_a_get_is_repeated_after_network_errors(
    uuapp: Sandbox, ready: UuAppClient, kind: str
) -> None:
    uuapp.faults.add(kind, command=COMMAND, times=4)  # one of them for the kept connection
    response, exc = ready.get(COMMAND, retry=RetryPolicy(attempts=6, backoff=0.0))
    assert exc is None and response is not None


def test_a_post_is_repeated_if_the_server_was_not_reached(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    failures: List[str] = []
    uuapp.outage()

    class Restoring(RetryPolicy):
        def pause_before(self, attempt: int, wished: Any = None) -> float:
            failures.append("refused")
            if len(failures) == 3:
                uuapp.restore()
            return 0.0

    assert ready.post(COMMAND, {"a": 1}, retry=Restoring(attempts=9))[1] is None
    assert len(failures) == 3
    assert uuapp.received(COMMAND) == [{"a": 1}]


def test_a_post_that_may_have_arrived_is_not_repeated(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("drop", command=COMMAND, read=True, processed=True)
    assert isinstance(ready.post(COMMAND, {"a": 1}, retry=QUICK)[1], NetworkError)
    assert len(uuapp.received(COMMAND)) == 1
    assert isinstance(ready.post(COMMAND, {"b": 1}, retry=QUICK, idempotent=True)[1], NetworkError)
    assert uuapp.received(COMMAND)[1:] == [{"b": 1}] * QUICK.attempts


def test_each_attempt_carries_the_whole_form(
    uuapp: Sandbox, ready: UuAppClient, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(range(256)) * 1000)
    uuapp.faults.add("drop", command=COMMAND, read=True, processed=True, times=2)
    with path.open("rb") as file:
        file.seek(7)
        fields = {"data": ("image", file, "image/png"), "note": "x"}
        _, exc = ready.multipart(COMMAND, fields, retry=QUICK, idempotent=True)
    assert exc is None
    received = uuapp.received(COMMAND)
    assert len(received) == 3
    for each in received:
        assert each["note"] == "x"
        assert each["data"].content == path.read_bytes()[7:]


def test_a_file_that_was_closed_meanwhile_is_an_error_and_no_empty_form(
    uuapp: Sandbox, ready: UuAppClient, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"content")
    file = path.open("rb")

    class Closing(RetryPolicy):
        def pause_before(self, attempt: int, wished: Any = None) -> float:
            file.close()
            return 0.0

    uuapp.faults.add("status", command=COMMAND, status=503)
    _, exc = ready.multipart(COMMAND, {"data": file}, retry=Closing(attempts=3))
    assert isinstance(exc, requests.RequestException)
    assert "cannot be read again" in str(exc)
    assert sent(uuapp) == 1


def test_an_encoder_is_never_repeated(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503)
    _, exc = ready.post(COMMAND, MultipartEncoder({"a": "1"}), retry=QUICK)
    assert isinstance(exc, CommandError)
    assert sent(uuapp) == 1


def test_a_client_and_a_session_may_have_a_policy(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    client = UuAppClient(config, retry=QUICK)
    fault = {"command": COMMAND, "status": 503, "times": 3}
    uuapp.faults.add("status", **fault)
    assert client.get(COMMAND)[1] is None
    uuapp.faults.add("status", **fault)
    assert UuCmdSession(client, COMMAND).post()[1] is None
    uuapp.faults.add("status", **fault)
    once = RetryPolicy(attempts=1)
    assert isinstance(UuCmdSession(client, COMMAND, retry=once).post()[1], CommandError)
    uuapp.faults.clear()
    config["uuApp"]["network"] = {"attempts": 2}
    uuapp.faults.add("status", command=COMMAND, status=503, times=1)
    assert UuAppClient(config).get(COMMAND)[1] is None


def test_the_last_of_the_attempts_is_what_is_returned(
    uuapp: Sandbox, ready: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "uun_iot")
    uuapp.faults.add("status", command=COMMAND, status=503)
    response, exc = ready.get(COMMAND, retry=QUICK)
    assert response is not None and response.status_code == 503
    assert isinstance(exc, CommandError)
    assert sent(uuapp) == QUICK.attempts
    lines = [each.getMessage() for each in caplog.records if each.levelname == "INFO"]
    assert [line.partition(";")[2][:15] for line in lines] == [
        f" attempt {number} of 4" for number in (2, 3, 4)
    ]
    assert sum(each.levelname == "WARNING" for each in caplog.records) == 1


# -- pauses


def test_a_pause_is_no_shorter_than_the_server_wishes(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=429, retry_after=1, times=1)
    start = time.monotonic()
    assert ready.post(COMMAND, retry=QUICK)[1] is None
    assert time.monotonic() - start >= 1.0


def test_a_date_in_retry_after_is_of_the_servers_clock(uuapp: Sandbox, token_path: Path) -> None:
    then = 1_000_000_000  # long before the device's clock
    replies = [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nDate: %s\r\nRetry-After: %s\r\n\r\n"
        % (formatdate(then, usegmt=True).encode(), formatdate(then + 1, usegmt=True).encode()),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ]

    def script(sock: Any, ending: threading.Event) -> None:
        while True:
            read_request(sock)
            sock.sendall(replies.pop(0))

    with WireServer(uuapp, script) as server:
        client = UuAppClient(server.configuration(str(token_path)))
        start = time.monotonic()
        assert client.post(COMMAND, retry=QUICK)[1] is None
        assert 1.0 <= time.monotonic() - start < 30
        client.close()


def test_a_pause_that_the_deadline_does_not_leave_is_not_begun(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503, retry_after=50)
    start = time.monotonic()
    for arguments in (
        {"retry": RetryPolicy(attempts=3), "deadline": 20.0},
        {"retry": RetryPolicy(attempts=3, deadline=20.0)},
    ):
        response, exc = ready.post(COMMAND, **arguments)
        assert response is not None and isinstance(exc, CommandError)
    assert time.monotonic() - start < 10
    assert sent(uuapp) == 2


def test_a_pause_ends_when_the_gateway_stops(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=503, retry_after=50)
    results: List[Any] = []
    calling = threading.Thread(
        target=lambda: results.append(ready.post(COMMAND, retry=RetryPolicy()))
    )
    calling.start()
    assert uuapp.wait_for(lambda: sent(uuapp) == 1)
    ready._gateway_stopping(5.0)
    calling.join(10)
    assert not calling.is_alive()
    assert isinstance(results[0][1], GatewayStopping)
    ready._gateway_stopped()


@given(
    attempt=st.integers(2, 2000),
    backoff=st.floats(0, 1e6),
    longest=st.floats(0, 1e6),
    wished=st.one_of(st.none(), st.floats(0, 1e9)),
    cap=st.floats(0, 1e6),
)
def test_pauses_grow_and_have_a_bound(
    attempt: int, backoff: float, longest: float, wished: Optional[float], cap: float
) -> None:
    policy = RetryPolicy(9, backoff, longest, cap)
    pause = policy.pause_before(attempt, wished)
    assert min(wished or 0.0, cap) <= pause <= max(longest, cap)
    assert pause <= max(backoff * 2.0 ** min(attempt - 2, 60), min(wished or 0.0, cap))


def test_pauses_differ_between_devices() -> None:
    policy = RetryPolicy(backoff=1.0, longest_backoff=8.0)
    pauses = {policy.pause_before(5) for _ in range(50)}
    assert len(pauses) > 40 and max(pauses) > 4 > min(pauses)


@pytest.mark.parametrize(
    "arguments",
    [{"attempts": 0}, {"attempts": 1.5}, {"attempts": True}, {"backoff": -1}, {"deadline": "5"},
     {"longest_backoff": float("nan")}, {"longest_retry_after": None}],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused(arguments: Dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RetryPolicy(**arguments)


# -- tokens


def test_a_call_is_repeated_when_the_token_service_is_back(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False)
    uuapp.faults.add("status", command=GRANT, status=503, times=1)
    assert client.post(COMMAND, {"a": 1}, retry=QUICK)[1] is None
    assert uuapp.received(COMMAND) == [{"a": 1}]


def test_a_refusal_of_the_access_codes_is_not_repeated(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    client = UuAppClient(config, refresh_token_on_init=False)
    uuapp.faults.add("refuse_grant")
    start = time.monotonic()
    assert isinstance(client.post(COMMAND, retry=QUICK)[1], TokenCommandError)
    assert isinstance(client.post(COMMAND, retry=QUICK)[1], TokenError)
    assert time.monotonic() - start < 5
    assert sent(uuapp, GRANT) == 1


def test_a_refused_token_is_renewed_within_an_attempt(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.revoke_tokens()
    uuapp.faults.add("status", command=COMMAND, status=503, times=1)
    assert ready.post(COMMAND, {"a": 1}, retry=QUICK)[1] is None
    assert (uuapp.grants, uuapp.received(COMMAND)) == (2, [{"a": 1}])
