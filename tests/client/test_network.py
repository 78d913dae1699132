"""Bad networks, wrong certificates, redirects, .netrc, and a gateway that stops."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
import requests

from tests.client.clients import hurried
from tests.support.sandbox import Sandbox
from uun_iot_client import (
    CommandError,
    GatewayStopping,
    ProtocolError,
    TokenError,
    TokenServiceUnreachable,
    UuAppClient,
)
from uun_iot_client.deadline import Timeouts
from uun_iot_core.clock import ManualClock
from uun_iot_core.events.base import EventType, HandlerInfo
from uun_iot_core.events.calling import call_handler

COMMAND = "weather/add"
GRANT = "oidc/grantToken"


@pytest.fixture
def ready(client: UuAppClient) -> UuAppClient:
    """A client that has its token."""
    client.refresh_token()
    return client


@pytest.fixture
def other(uuapp: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A second server, of another host and trusted too."""
    with Sandbox(directory=tmp_path / "other") as sandbox:
        bundle = tmp_path / "both.pem"
        bundle.write_text(Path(uuapp.ca_file).read_text() + Path(sandbox.ca_file).read_text())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        yield sandbox


def bearers_of(sandbox: Sandbox) -> List[Optional[str]]:
    """Return a list that gets the `Authorization` header of each request from now on."""
    seen: List[Optional[str]] = []
    handle = sandbox.uuapp.handle

    def noting(request: Any) -> Any:
        seen.append(request.headers.get("authorization"))
        return handle(request)

    sandbox.uuapp.handle = noting  # type: ignore[method-assign]  # the records leave it out
    return seen


# -- outages


@pytest.mark.parametrize("method", ["get", "post", "multipart"])
def test_an_outage_is_returned_and_over_when_it_is_over(
    uuapp: Sandbox, ready: UuAppClient, method: str
) -> None:
    uuapp.outage()
    response, exc = getattr(ready, method)(COMMAND, {"a": "1"})
    assert response is None
    assert isinstance(exc, requests.ConnectionError)
    assert "refused" in str(exc) and uuapp.gateway in str(exc)
    with pytest.raises(requests.ConnectionError):
        ready.get_ignore_http_err(COMMAND)
    with pytest.raises(requests.ConnectionError):
        ready.post_ignore_http_err(COMMAND)
    uuapp.restore()
    assert getattr(ready, method)(COMMAND, {"a": "1"})[1] is None


@pytest.mark.parametrize("kind", ["drop", "reset", "half"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_broken_reply_is_no_reply(
    uuapp: Sandbox, ready: UuAppClient, kind: str, method: str
) -> None:
    uuapp.faults.add(kind, command=COMMAND)
    response, exc = getattr(ready, method)(COMMAND, {"a": 1})
    assert response is None
    assert isinstance(exc, requests.RequestException)
    assert not isinstance(exc, requests.HTTPError)
    # once more on a new connection, where that is safe
    assert sum(request.command == COMMAND for request in uuapp.requests) <= 2
    assert len(uuapp.received(COMMAND)) <= (2 if method == "get" else 1)


def test_a_connection_closed_between_calls_is_replaced(uuapp: Sandbox, ready: UuAppClient) -> None:
    assert ready.post(COMMAND)[1] is None
    before = uuapp.connections
    uuapp.outage()  # ends the connections, and waits for it
    uuapp.restore()
    assert ready.post(COMMAND)[1] is None
    assert uuapp.connections == before + 1


def test_http_1_0_is_spoken_too(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("http10", command=COMMAND)
    for _ in range(3):
        assert ready.post(COMMAND, {"a": 1})[1] is None


def test_every_call_has_a_time_out(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    usual = Timeouts()
    assert 0 < usual.connect <= usual.read <= 60 <= usual.deadline < 3600
    client = hurried(config, read_timeout=0.3)
    uuapp.faults.add("delay", seconds=20)
    for call in (client.get, client.post, client.multipart):
        response, exc = call(COMMAND)
        assert response is None
        assert isinstance(exc, requests.Timeout)
    del config["oidcGrantToken"]["tokenPath"]
    with pytest.raises(TokenServiceUnreachable, match="Timeout") as caught:
        UuAppClient(config, read_timeout=0.3)
    assert isinstance(caught.value.__cause__, requests.Timeout)
    uuapp.faults.clear()


def test_a_host_that_does_not_exist_is_an_error(config: Dict[str, Any], uuapp: Sandbox) -> None:
    client = UuAppClient(config)
    config["uuApp"]["gateway"] = "no-such-host.invalid"
    response, exc = client.get(COMMAND)
    assert response is None
    assert isinstance(exc, requests.ConnectionError)
    assert "no-such-host.invalid" in str(exc)


# -- certificates


@pytest.mark.parametrize(
    "kind, text",
    [
        ("not_yet_valid", r"not yet valid by this device's date 20\d\d-.*clock"),
        ("expired", r"expired by this device's date 20\d\d-"),
        ("foreign_ca", r"not accepted: (unable to get|self.signed).*; .* REQUESTS_CA_BUNDLE"),
        ("other_host", r"not accepted: .*(mismatch|not valid for)"),
    ],
)
def test_a_certificate_that_is_not_good_is_named(
    uuapp: Sandbox, config: Dict[str, Any], kind: str, text: str
) -> None:
    uuapp.use_certificate(kind)
    with pytest.raises(TokenError, match=text) as caught:
        UuAppClient(config)
    assert isinstance(caught.value.__cause__, requests.exceptions.SSLError)
    assert uuapp.requests == []


def test_a_certificate_not_yet_valid_is_transient(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    clock = ManualClock()
    uuapp.use_certificate("not_yet_valid")
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    _, exc = client.get(COMMAND)
    assert type(exc) is TokenServiceUnreachable
    uuapp.use_certificate("valid")
    clock.advance(1)
    assert client.get(COMMAND)[1] is None


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment_are_honoured(
    uuapp: Sandbox, config: Dict[str, Any], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    client = UuAppClient(config, refresh_token_on_init=False, clock=ManualClock())
    with pytest.raises(TokenError, match="not accepted"):
        client.refresh_token()
    monkeypatch.setenv(variable, uuapp.ca_file)
    assert UuAppClient(config).get(COMMAND)[1] is None


@pytest.mark.parametrize("content", [None, "damaged"])
def test_a_bad_bundle_of_authorities_is_an_error_of_requests(
    uuapp: Sandbox,
    ready: UuAppClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: Optional[str],
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    uuapp.drop_connections()
    response, exc = ready.get(COMMAND)
    assert response is None
    assert isinstance(exc, requests.RequestException)


def test_proxies_of_the_environment_are_honoured(
    uuapp: Sandbox, ready: UuAppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuapp.drop_connections()
    monkeypatch.setenv("HTTPS_PROXY", "http://user:proxy-password@127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    before = len(uuapp.requests)
    response, exc = ready.get(COMMAND)
    assert response is None
    assert isinstance(exc, requests.exceptions.ProxyError)
    assert "proxy-password" not in str(exc)
    assert len(uuapp.requests) == before


# -- redirects, .netrc


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["post", "multipart"])
def test_a_post_follows_no_redirect(
    uuapp: Sandbox, ready: UuAppClient, status: int, method: str
) -> None:
    uuapp.faults.add("redirect", command=COMMAND, status=status, location=uuapp.url("other/one"))
    response, exc = getattr(ready, method)(COMMAND, {"a": "1"})
    assert response.status_code == status
    assert isinstance(exc, CommandError)
    assert "redirects are not followed" in str(exc)
    assert not uuapp.received("other/one")


def test_a_grant_follows_no_redirect(
    uuapp: Sandbox, other: Sandbox, config: Dict[str, Any]
) -> None:
    uuapp.faults.add("redirect", command=GRANT, location=other.url(GRANT))
    with pytest.raises(TokenError, match="307"):
        UuAppClient(config)
    assert other.requests == []


@pytest.mark.parametrize("status", [302, 307])
def test_a_get_follows_a_redirect_on_its_host_with_the_bearer(
    uuapp: Sandbox, ready: UuAppClient, status: int
) -> None:
    uuapp.faults.add("redirect", command=COMMAND, status=status, location=uuapp.url("other/one"))
    assert ready.get(COMMAND)[1] is None
    assert len(uuapp.received("other/one")) == 1


def test_the_bearer_never_follows_to_another_host(
    uuapp: Sandbox, other: Sandbox, ready: UuAppClient
) -> None:
    seen = bearers_of(other)
    uuapp.faults.add("redirect", command=COMMAND, location=other.url("other/one"))
    response, exc = ready.get(COMMAND)
    assert seen == [None]
    assert isinstance(exc, CommandError)
    assert response is not None and response.status_code == 401
    assert uuapp.grants == 1  # that the other host wants a token is no reason for a new one


def test_a_redirect_to_plain_http_is_refused(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("redirect", command=COMMAND, location=f"http://{uuapp.gateway}/x")
    response, exc = ready.get(COMMAND)
    assert response is None
    assert isinstance(exc, requests.RequestException)
    assert "only HTTPS" in str(exc)


NOWHERE = [
    "https://[",
    "https://h:port/",
    "https://h:99999/",
    "//",
    "https://",
    "https:// /",
    "https://\x00/",
    f"https://{'a' * 70}.example/",
    "https://.example./",
    "https://\xff\xfe/",
    "\xff\xfe",
    "data:,x",
]


@pytest.mark.parametrize("location", NOWHERE)
def test_a_redirect_to_nowhere_is_an_error_of_requests(
    uuapp: Sandbox, ready: UuAppClient, location: str
) -> None:
    uuapp.faults.add("redirect", command=COMMAND, location=location)
    _, exc = ready.get(COMMAND)
    assert isinstance(exc, requests.RequestException)


@pytest.mark.parametrize("location", NOWHERE)
def test_where_a_redirect_of_a_post_or_a_grant_leads_is_not_even_looked_at(
    uuapp: Sandbox, ready: UuAppClient, config: Dict[str, Any], location: str
) -> None:
    uuapp.faults.add("redirect", location=location)
    response, exc = ready.post(COMMAND)
    assert response is not None and response.status_code == 307
    assert isinstance(exc, CommandError)
    with pytest.raises(TokenError, match="307"):
        UuAppClient({**config, "oidcGrantToken": {**config["oidcGrantToken"], "tokenPath": ""}})


def test_redirects_in_a_circle_end(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("redirect", command=COMMAND, location=uuapp.url(COMMAND))
    response, exc = ready.get(COMMAND)
    assert response is None
    assert isinstance(exc, requests.TooManyRedirects)


def test_netrc_never_replaces_the_bearer(
    uuapp: Sandbox,
    other: Sandbox,
    config: Dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen, seen_elsewhere = bearers_of(uuapp), bearers_of(other)
    client = UuAppClient(config)
    assert client.get(COMMAND)[1] is None
    assert client.post(COMMAND)[1] is None
    assert seen[0] is None  # the grant
    assert [str(each).split()[0] for each in seen[1:]] == ["Bearer", "Bearer"]
    on_its_host = uuapp.faults.add("redirect", command=COMMAND, location=uuapp.url("other/one"))
    assert client.get(COMMAND)[1] is None
    assert str(seen[-1]).split()[0] == "Bearer"  # and the redirected one
    uuapp.faults.remove(on_its_host)
    uuapp.faults.add("redirect", command=COMMAND, location=other.url(COMMAND))
    client.get(COMMAND)
    assert seen_elsewhere == [None]


def test_a_captive_portal_is_no_success(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("reply", body="<html>Log in</html>", content_type="text/html")
    for call in (ready.get, ready.post, ready.multipart):
        assert isinstance(call(COMMAND)[1], ProtocolError)
    with pytest.raises(ProtocolError):
        ready.post_ignore_http_err(COMMAND)


def test_an_unknown_route_is_no_success(uuapp: Sandbox, ready: UuAppClient) -> None:
    response, exc = ready.get("gateway/heartbeat")  # which is a POST
    assert response is not None and response.status_code == 200
    assert isinstance(exc, ProtocolError)


# -- stopping


def in_stop_handler(call: Callable[[], Any]) -> Any:
    results: List[Any] = []
    call_handler(lambda: results.append(call()), HandlerInfo(EventType.STOP, owner_id="test"))
    (result,) = results
    return result


def test_while_the_gateway_stops_new_calls_fail_at_once(uuapp: Sandbox, ready: UuAppClient) -> None:
    ready._gateway_stopping(5.0)
    before = len(uuapp.requests)
    for call in (ready.get, ready.post, ready.multipart, lambda _: custom(ready, uuapp)):
        response, exc = call(COMMAND)
        assert response is None
        assert isinstance(exc, GatewayStopping) and isinstance(exc, requests.ConnectionError)
        assert "the gateway is stopping" in str(exc)
    for raising in (ready.get_ignore_http_err, ready.post_ignore_http_err):
        with pytest.raises(requests.ConnectionError, match="stopping"):
            raising(COMMAND)
    assert len(uuapp.requests) == before
    ready._gateway_stopped()
    assert ready.get(COMMAND)[1] is None


def custom(client: UuAppClient, uuapp: Sandbox) -> Any:
    return client.custom_request(lambda dto: requests.post(uuapp.url(COMMAND), json=dto, timeout=5))


def test_grants_stop_too_and_that_is_no_failure_of_theirs(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    client._gateway_stopping(5.0)
    for call in (client.refresh_token, client.get_auth_headers):
        with pytest.raises(TokenError, match="the gateway is stopping"):
            call()
    assert uuapp.requests == []
    client._gateway_stopped()
    assert client.refresh_token() is True


def test_a_token_request_of_the_users_own_stops_too(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    calls: List[str] = []

    def fetch(url: str, **arguments: Any) -> requests.Response:
        calls.append(url)
        return requests.post(url, **arguments)

    client = UuAppClient(config, fetch, refresh_token_on_init=False)
    client._gateway_stopping(5.0)
    with pytest.raises(TokenError, match="the gateway is stopping"):
        client.refresh_token()
    assert calls == []
    assert in_stop_handler(client.refresh_token) is True
    assert len(calls) == 1


def test_stop_handlers_have_their_grace(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    clock = ManualClock()
    client = UuAppClient(config, refresh_token_on_init=False, clock=clock)
    client._gateway_stopping(5.0)
    clock.advance(1)
    assert in_stop_handler(lambda: client.post(COMMAND, {"last": 1}))[1] is None
    assert uuapp.received(COMMAND) == [{"last": 1}]
    clock.advance(4.1)
    assert isinstance(in_stop_handler(lambda: client.post(COMMAND))[1], GatewayStopping)


def test_requests_of_stop_handlers_end_with_their_grace(uuapp: Sandbox, ready: UuAppClient) -> None:
    uuapp.faults.add("delay", command=COMMAND, seconds=20)
    ready._gateway_stopping(0.5)
    start = time.monotonic()
    response, exc = in_stop_handler(lambda: ready.post(COMMAND))
    assert response is None
    assert isinstance(exc, requests.Timeout)
    assert time.monotonic() - start < 5
    uuapp.faults.clear()


def test_a_stop_handler_does_not_wait_for_the_grant_of_another_thread(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    slow = uuapp.faults.add("delay", command=GRANT, seconds=20)
    granting = threading.Thread(target=client.refresh_token)
    granting.start()
    assert uuapp.wait_for(lambda: any(each.command == GRANT for each in uuapp.requests))
    client._gateway_stopping(0.3)
    response, exc = in_stop_handler(lambda: client.post(COMMAND))
    assert response is None
    assert isinstance(exc, TokenError) and "while the gateway stops" in str(exc)
    assert granting.is_alive()
    uuapp.faults.remove(slow)
    granting.join(10)
    assert not granting.is_alive()


def test_closing_gives_up_connections_and_calls_open_new_ones(
    uuapp: Sandbox, ready: UuAppClient
) -> None:
    ready.close()
    before = uuapp.connections
    assert ready.get(COMMAND)[1] is None
    assert uuapp.connections == before + 1
