"""The embedded uuApp does what a uuApp does, and each fault is what it says."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from tests.support.sandbox import Fault, Request, Sandbox, UploadedFile

GRANT = "oidc/grantToken"
TIMEOUT = 10


def grant_dto(uuapp: Sandbox, **changes: Any) -> Dict[str, Any]:
    config = uuapp.configuration()
    app = config["uuApp"]
    return {
        "grant_type": "password",
        "username": None,
        "password": None,
        "accessCode1": config["uuThing"]["accessCode1"],
        "accessCode2": config["uuThing"]["accessCode2"],
        "scope": f"openid https://{app['gateway']}/{app['uuAppName']}/{app['awid']}",
        **changes,
    }


class Client:
    """A bare client: one pooled session, no retries, one token."""

    def __init__(self, uuapp: Sandbox) -> None:
        self.uuapp = uuapp
        self.session = requests.Session()
        self.token: Optional[str] = None

    def grant(self, **changes: Any) -> requests.Response:
        dto_in = grant_dto(self.uuapp, **changes)
        return self.session.post(self.uuapp.url(GRANT), json=dto_in, timeout=TIMEOUT)

    def call(self, command: str, method: str = "POST", **arguments: Any) -> requests.Response:
        if self.token is None:
            self.token = self.grant().json()["id_token"]
        headers = {"Authorization": f"Bearer {self.token}", **arguments.pop("headers", {})}
        arguments = {"timeout": TIMEOUT, **arguments}
        return self.session.request(method, self.uuapp.url(command), headers=headers, **arguments)


@pytest.fixture
def client(uuapp: Sandbox) -> Iterator[Client]:
    client = Client(uuapp)
    with client.session:
        yield client


def codes(response: requests.Response) -> List[str]:
    return list(response.json()["uuAppErrorMap"])


def decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def tls(uuapp: Sandbox) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=uuapp.ca_file)
    sock = socket.create_connection(("127.0.0.1", uuapp.port), TIMEOUT)
    return context.wrap_socket(sock, server_hostname="localhost")


class TestGrant:
    def test_gives_a_signed_token_for_the_application(self, client: Client) -> None:
        response = client.grant()
        assert response.status_code == 200
        reply = response.json()
        assert set(reply) == {
            "id_token",
            "access_token",
            "token_type",
            "expires_in",
            "uuAppErrorMap",
        }
        assert reply["expires_in"] == 1800 and reply["uuAppErrorMap"] == {}
        header, payload, _ = reply["id_token"].split(".")
        assert decode(header)["alg"] == "RS256"
        claims = decode(payload)
        assert claims["exp"] - claims["iat"] == 1800
        assert claims["nbf"] <= claims["exp"]
        assert f"openid {claims['aud']}" == grant_dto(client.uuapp)["scope"]
        assert client.uuapp.grants == 1

    def test_each_token_is_another(self, client: Client) -> None:
        tokens = [client.grant().json()[key] for key in ("id_token", "access_token")] + [
            client.grant().json()[key] for key in ("id_token", "access_token")
        ]
        assert len(set(tokens)) == 4
        assert set(tokens) <= set(client.uuapp.secrets)
        assert client.uuapp.grants == 4

    def test_lifetime_may_be_text_and_short(self, client: Client) -> None:
        client.uuapp.tokens.lifetime = 90
        client.uuapp.uuapp.expires_in_as_text = True
        assert client.grant().json()["expires_in"] == "90"

    def test_client_is_optional_and_checked_where_given(self, client: Client) -> None:
        known = client.uuapp.configuration()["oidcGrantToken"]
        pair = {"client_id": known["clientId"], "client_secret": known["clientSecret"]}
        assert client.grant(**pair).status_code == 200
        assert client.grant(**{**pair, "client_secret": "wrong"}).status_code == 401
        assert client.grant(client_id=known["clientId"]).status_code == 401

    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [
            ({"accessCode1": "no"}, 401, "identityNotAuthenticated "),
            ({"accessCode2": "no"}, 401, "identityNotAuthenticated "),
            ({"accessCode1": ""}, 500, "unexpectedError"),
            ({"accessCode2": None}, 500, "unexpectedError"),
            ({"grant_type": "client_credentials"}, 400, "invalidDtoIn"),
            ({"scope": "openid https://localhost:1/other/app"}, 400, "invalidDtoIn"),
            ({"scope": "openid"}, 400, "invalidDtoIn"),
            ({"username": "somebody"}, 400, "invalidDtoIn"),
        ],
    )
    def test_refusals(
        self, client: Client, changes: Dict[str, Any], status: int, code: str
    ) -> None:
        response = client.grant(**changes)
        assert response.status_code == status
        assert codes(response) == [f"uu-oidc-main/grantToken/{code}"]
        assert client.uuapp.grants == 0
        assert client.uuapp.requests[0].status == status

    @pytest.mark.parametrize(
        ("code", "status", "expected"),
        [("unsupportedCredentials", None, 401), ("unsupportedCredentials", 500, 500)],
    )
    def test_refusal_on_demand(
        self, client: Client, code: str, status: Optional[int], expected: int
    ) -> None:
        client.uuapp.faults.add("refuse_grant", code=code, status=status, times=1)
        response = client.grant()
        assert response.status_code == expected
        assert codes(response) == [f"uu-oidc-main/grantToken/{code}"]
        assert client.grant().status_code == 200

    def test_records_hold_no_secret(self, client: Client) -> None:
        known = client.uuapp.configuration()["oidcGrantToken"]
        client.grant(client_id=known["clientId"], client_secret=known["clientSecret"])
        client.call("sensor/create", json={})
        seen = repr([(vars(request)) for request in client.uuapp.requests])
        seen += repr(client.uuapp.requests) + repr(client.uuapp.uuapp.credentials)
        assert [secret for secret in client.uuapp.secrets if secret in seen] == []
        assert client.uuapp.received(GRANT)[0]["client_secret"] == "<client_secret>"


class TestBearer:
    def assert_refused(self, response: requests.Response) -> None:
        assert response.status_code == 401
        assert codes(response) == ["uu-oidc/invalidToken"]

    def test_is_needed(self, client: Client) -> None:
        url = client.uuapp.url("sensor/create")
        self.assert_refused(client.session.post(url, json={"n": 1}, timeout=TIMEOUT))
        assert client.uuapp.received("sensor/create") == []
        assert client.uuapp.requests[0].dto_in == {"n": 1}
        assert not client.uuapp.requests[0].processed

    def test_must_be_signed(self, client: Client) -> None:
        token: str = client.grant().json()["id_token"]
        header, payload, signature = token.split(".")
        claims = {**decode(payload), "exp": decode(payload)["exp"] + 1}
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        bad = [
            f"{header}.{forged}.{signature}",
            f"{header}.{payload}.",
            "a.b.c",
            "á.b.c",
            "x.y",
            "gibberish",
            "",
        ]
        for client.token in bad:
            headers = {"Authorization": f"Bearer {client.token}".encode()}
            self.assert_refused(client.call("sensor/create", json={}, headers=headers))
        client.token = token
        assert client.call("sensor/create", json={}).status_code == 200

    def test_of_another_sandbox_is_refused(self, client: Client, tmp_path: Path) -> None:
        with Sandbox() as other:
            grant = requests.post(
                other.url(GRANT), json=grant_dto(other), timeout=TIMEOUT, verify=other.ca_file
            )
        client.token = grant.json()["id_token"]
        self.assert_refused(client.call("sensor/create", json={}))

    def test_expired_and_revoked(self, client: Client) -> None:
        for end in (client.uuapp.expire_tokens, client.uuapp.revoke_tokens):
            client.token = None
            assert client.call("sensor/create", json={}).status_code == 200
            end()
            self.assert_refused(client.call("sensor/create", json={}))
        client.token = None
        assert client.call("sensor/create", json={}).status_code == 200

    def test_ends_by_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [1_700_000_000.0]
        with Sandbox(now=lambda: now[0], token_lifetime=100) as uuapp:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", uuapp.ca_file)
            client = Client(uuapp)
            with client.session:
                response = client.call("sensor/create", json={})
                date = parsedate_to_datetime(response.headers["Date"])
                assert date.timestamp() == now[0]
                now[0] += 99.9
                assert client.call("sensor/create", json={}).status_code == 200
                now[0] += 0.2
                self.assert_refused(client.call("sensor/create", json={}))
                now[0] -= 1000
                self.assert_refused(client.call("sensor/create", json={}))

    def test_need_not_be_a_jwt(self, client: Client) -> None:
        client.uuapp.tokens.opaque = True
        assert client.call("sensor/create", json={}).status_code == 200
        assert "." not in (client.token or "")
        client.uuapp.revoke_tokens()
        self.assert_refused(client.call("sensor/create", json={}))


class TestCommands:
    def test_echo_and_record(self, client: Client) -> None:
        response = client.call("sensor/create", json={"value": 1.5, "list": [1, None]})
        assert response.status_code == 200
        assert response.json() == {"value": 1.5, "list": [1, None], "uuAppErrorMap": {}}
        assert client.uuapp.received("sensor/create") == [{"value": 1.5, "list": [1, None]}]
        request = client.uuapp.requests[-1]
        assert (request.method, request.command, request.status) == ("POST", "sensor/create", 200)
        assert request.headers["content-type"] == "application/json"
        assert "authorization" not in request.headers
        assert request.request_id == response.headers["X-Request-Id"]
        assert parsedate_to_datetime(response.headers["Date"]).tzinfo is not None
        assert {"uu.app.bpl", "uu.app.cbu"} <= set(response.cookies.keys())

    def test_heartbeat(self, client: Client) -> None:
        beat = {"bootTimestamp": "2024-05-01T12:30:00.000Z", "cpuUsage": 1.0, "ramUsage": None}
        assert client.call("gateway/heartbeat", json=beat).status_code == 200
        assert client.uuapp.received("gateway/heartbeat") == [beat]

    def test_configuration_is_published(self, client: Client) -> None:
        asked = client.call("gateway/getConfiguration", "GET", json={})
        assert asked.json() == {"uuAppErrorMap": {}}
        client.uuapp.publish({"moduleTimers": {"weather": 5}})
        asked = client.call("gateway/getConfiguration", "GET", json={})
        assert asked.json() == {"moduleTimers": {"weather": 5}, "uuAppErrorMap": {}}

    def test_get_takes_a_body_or_a_query(self, client: Client) -> None:
        client.call("sensor/list", "GET", json={"pageIndex": 2})
        client.call("sensor/list", "GET", params={"pageIndex": "3", "q": "a b"})
        assert client.uuapp.received("sensor/list") == [
            {"pageIndex": 2},
            {"pageIndex": "3", "q": "a b"},
        ]

    def test_multipart_is_taken_apart(self, client: Client) -> None:
        picture = bytes(range(256)) * 40 + b"\r\n--not the boundary\r\n"
        form = MultipartEncoder(
            {"name": "dvůr", "picture": ("yard.jpg", picture, "image/jpeg"), "empty": ""}
        )
        response = client.call(
            "picture/create", data=form, headers={"Content-Type": form.content_type}
        )
        assert response.json()["picture"]["size"] == len(picture)
        (fields,) = client.uuapp.received("picture/create")
        assert fields["name"] == "dvůr" and fields["empty"] == ""
        assert isinstance(fields["picture"], UploadedFile)
        assert fields["picture"].filename == "yard.jpg"
        assert fields["picture"].content_type == "image/jpeg"
        assert fields["picture"].content == picture

    def test_cut_multipart_is_refused(self, client: Client) -> None:
        form = MultipartEncoder({"name": "x", "picture": ("yard.jpg", b"abc", "image/jpeg")})
        headers = {"Content-Type": form.content_type}
        cut = form.to_string()[:-20]
        response = client.call("picture/create", data=cut, headers=headers)
        assert response.status_code == 400
        response = client.call("picture/create", data=b"", headers=headers)
        assert response.status_code == 400
        assert client.uuapp.received("picture/create") == []

    @pytest.mark.parametrize("body", [b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
    def test_input_that_is_no_object_is_refused(self, client: Client, body: bytes) -> None:
        response = client.call("sensor/create", data=body)
        assert response.status_code == 400
        assert codes(response) == [f"{client.uuapp.uuapp.name}/sensor/create/invalidDtoIn"]
        assert client.uuapp.received("sensor/create") == []

    def test_body_may_come_in_chunks(self, client: Client) -> None:
        client.call("sensor/create", data=iter([b'{"a"', b": 1}"]))
        assert client.uuapp.received("sensor/create") == [{"a": 1}]

    def test_unknown_route_is_a_page(self, client: Client) -> None:
        root = f"https://{client.uuapp.gateway}/"
        wrong_method = client.session.get(client.uuapp.url(GRANT), timeout=TIMEOUT)
        for response in (wrong_method, client.session.get(root, timeout=TIMEOUT)):
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/html")
        assert [request.command for request in client.uuapp.requests] == [GRANT, None]

    def test_answers_can_be_set(self, client: Client) -> None:
        client.uuapp.answer("sensor/list", lambda dto_in: {"itemList": [dto_in["pageIndex"]]})
        client.uuapp.answer("sensor/get", {"value": 3})
        reply = client.call("sensor/list", "GET", json={"pageIndex": 7}).json()
        assert reply == {"itemList": [7], "uuAppErrorMap": {}}
        assert client.call("sensor/get", "GET").json()["value"] == 3

    def test_an_answer_that_fails_is_a_500(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.uuapp.answer("sensor/list", lambda dto_in: {"itemList": dto_in["missing"]})
        response = client.call("sensor/list", "GET")
        assert response.status_code == 500
        assert "sensor/list" in caplog.text and "KeyError" in caplog.text


class TestRecords:
    def test_wait_for_wakes_on_arrival(self, client: Client) -> None:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                client.uuapp.wait_for, lambda: len(client.uuapp.received("sensor/create")) == 2, 10
            )
            client.call("sensor/create", json={"n": 1})
            assert not waiting.done()
            client.call("sensor/create", json={"n": 2})
            assert waiting.result(timeout=TIMEOUT)

    def test_wait_for_gives_up(self, uuapp: Sandbox) -> None:
        assert not uuapp.wait_for(lambda: uuapp.grants, timeout=0.05)

    def test_callback_sees_each_request_before_the_reply(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: List[Request] = []
        client.uuapp.on_request = seen.append
        client.call("sensor/create", json={})
        assert [request.command for request in seen] == [GRANT, "sensor/create"]

        def fails(request: Request) -> None:
            raise RuntimeError("observer")

        client.uuapp.on_request = fails
        assert client.call("sensor/create", json={}).status_code == 200
        assert "observer" in caplog.text

    def test_kept_alive_connection_is_reused(self, client: Client) -> None:
        for _ in range(5):
            client.call("sensor/create", json={})
        assert client.uuapp.connections == client.uuapp.handshakes == 1
        assert {request.connection for request in client.uuapp.requests} == {1}
        client.call("sensor/create", json={}, headers={"Connection": "close"})
        client.call("sensor/create", json={})
        assert client.uuapp.connections == 2


class TestFaults:
    def test_status(self, client: Client) -> None:
        client.uuapp.faults.add("status", command="a/b", status=503, retry_after=7, times=2)
        assert client.call("other/command", json={}).status_code == 200
        for _ in range(2):
            response = client.call("a/b", json={"n": 1})
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "7"
        assert client.call("a/b", json={"n": 2}).status_code == 200
        assert client.uuapp.received("a/b") == [{"n": 2}]
        assert [r.faults for r in client.uuapp.requests if r.command == "a/b"] == [
            ["status"],
            ["status"],
            [],
        ]
        assert client.uuapp.faults.in_force() == []

    def test_status_of_a_processed_request(self, client: Client) -> None:
        client.uuapp.faults.add("status", command="a/b", status=500, processed=True)
        assert client.call("a/b", json={"n": 1}).status_code == 500
        assert client.uuapp.received("a/b") == [{"n": 1}]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("<p>Log in", b"<p>Log in"),
            (b"", b""),
            (None, b"null"),
            ([1, 2], b"[1, 2]"),
            ({"uuAppErrorMap": {"x/y": {"type": "error"}}}, None),
        ],
    )
    def test_reply(self, client: Client, body: Any, expected: Optional[bytes]) -> None:
        client.uuapp.faults.add(
            Fault("reply", command="a/b", body=body, content_type="text/html", headers={"X-A": "1"})
        )
        response = client.call("a/b", json={})
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/html"
        assert response.headers["X-A"] == "1" and "X-Request-Id" not in response.headers
        assert response.content == (json.dumps(body).encode() if expected is None else expected)

    def test_redirect(self, client: Client) -> None:
        client.uuapp.faults.add("redirect", command="a/b", location="https://localhost:1/x")
        response = client.call("a/b", json={}, allow_redirects=False)
        assert response.status_code == 307
        assert response.headers["Location"] == "https://localhost:1/x"

    @pytest.mark.parametrize("read", [False, True])
    def test_drop_ends_without_an_answer(self, client: Client, read: bool) -> None:
        client.uuapp.faults.add("drop", command="a/b", read=read, times=1)
        with pytest.raises(requests.ConnectionError, match="RemoteDisconnected"):
            client.call("a/b", json={"n": 1})
        assert client.uuapp.received("a/b") == []
        request = client.uuapp.requests[-1]
        assert request.status is None and request.faults == ["drop"]
        assert request.dto_in == ({"n": 1} if read else None)
        assert client.call("a/b", json={"n": 2}).status_code == 200

    def test_drop_of_a_processed_request(self, client: Client) -> None:
        client.uuapp.faults.add("drop", command="a/b", processed=True, times=1)
        with pytest.raises(requests.ConnectionError, match="RemoteDisconnected"):
            client.call("a/b", json={"n": 1})
        assert client.uuapp.received("a/b") == [{"n": 1}]

    @pytest.mark.parametrize("arguments", [{}, {"read": True}, {"processed": True}])
    @pytest.mark.parametrize("kind", ["reset", "drop"])
    def test_end_of_the_connection(
        self, client: Client, kind: str, arguments: Dict[str, bool]
    ) -> None:
        token = client.grant().json()["id_token"]
        client.uuapp.faults.add(kind, command="a/b", times=1, **arguments)
        path = client.uuapp.url("a/b").partition(client.uuapp.gateway)[2]
        head = f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n"
        with tls(client.uuapp) as sock:
            sock.sendall(head.encode() + b"{}")
            if kind == "reset":
                with pytest.raises(ConnectionResetError):
                    self.read_to_the_end(sock)
            else:
                self.read_to_the_end(sock)
        assert bool(client.uuapp.received("a/b")) is arguments.get("processed", False)

    @staticmethod
    def read_to_the_end(sock: ssl.SSLSocket) -> None:
        """Read below TLS, which in some Pythons shows a reset as an end of file."""
        while socket.socket.recv(sock, 65536):
            pass

    def test_half(self, client: Client) -> None:
        client.uuapp.faults.add("half", command="a/b", times=1)
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            client.call("a/b", json={"n": 1})
        assert client.uuapp.received("a/b") == [{"n": 1}]

    def test_slow(self, client: Client) -> None:
        """Each piece comes in time, the whole takes longer than the read timeout."""
        client.call("a/b", json={})
        client.uuapp.faults.add("slow", command="a/b", seconds=0.02, chunk_size=16)
        response = client.call("a/b", json={"n": "x" * 99}, timeout=(TIMEOUT, 0.3))
        assert response.json()["n"] == "x" * 99
        assert response.elapsed.total_seconds() > 0.1  # some 300 bytes of headers alone

    def test_delay_outlasts_a_read_timeout(self, client: Client) -> None:
        fault = client.uuapp.faults.add("delay", command="a/b", seconds=600)
        with pytest.raises(requests.ReadTimeout):
            client.call("a/b", json={"n": 1}, timeout=(TIMEOUT, 0.2))
        assert client.uuapp.received("a/b") == [{"n": 1}]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.call, "a/b", json={"n": 2})
            assert client.uuapp.wait_for(lambda: len(client.uuapp.received("a/b")) == 2)
            assert not waiting.done()
            client.uuapp.faults.remove(fault)
            assert waiting.result(timeout=TIMEOUT).status_code == 200

    def test_stop_does_not_wait_for_a_delay(self, tmp_path: Path) -> None:
        with Sandbox() as uuapp, requests.Session() as session:
            uuapp.faults.add("delay", seconds=600)
            with pytest.raises(requests.ReadTimeout):
                session.post(
                    uuapp.url(GRANT), json={}, timeout=(TIMEOUT, 0.2), verify=uuapp.ca_file
                )

    def test_hang_up_leaves_a_stale_connection(self, client: Client) -> None:
        client.uuapp.faults.add("hang_up", times=1)
        response = client.grant()
        assert response.status_code == 200 and "Connection" not in response.headers
        with tls(client.uuapp) as sock:
            client.uuapp.faults.add("hang_up", times=1)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b""
            while True:
                piece = sock.recv(65536)
                if not piece:
                    break
                data += piece
        assert data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"</p>")

    def test_http10(self, client: Client) -> None:
        client.uuapp.faults.add("http10")
        for _ in range(3):
            response = client.call("a/b", json={})
            assert response.raw.version == 10
        assert client.uuapp.connections == 4

    def test_faults_of_several_stages_add_up(self, client: Client) -> None:
        client.uuapp.faults.add("delay", command="a/b", seconds=0.1)
        client.uuapp.faults.add("status", command="a/b", status=429)
        client.uuapp.faults.add("slow", command="a/b", seconds=0.001)
        response = client.call("a/b", json={})
        assert response.status_code == 429
        assert response.elapsed.total_seconds() >= 0.1
        assert client.uuapp.requests[-1].faults == ["delay", "status", "slow"]
        client.uuapp.faults.clear()
        assert client.call("a/b", json={}).status_code == 200

    def test_times_are_exact_under_threads(self, client: Client) -> None:
        client.grant()
        client.uuapp.faults.add("status", command="a/b", status=503, times=17)
        client.call("warm/up", json={})

        def call(number: int) -> int:
            return client.call("a/b", json={"n": number}).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(call, range(60)))
        assert statuses.count(503) == 17 and statuses.count(200) == 43
        assert len(client.uuapp.received("a/b")) == 43

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"kind": "earthquake"}, "no fault 'earthquake'; there are delay, status"),
            ({"kind": "status", "times": 0}, "times must be at least 1"),
            ({"kind": "delay"}, "seconds must be over 0"),
            ({"kind": "slow", "seconds": 1, "chunk_size": 0}, "chunk_size"),
            ({"kind": "redirect"}, "location is missing"),
            ({"kind": "refuse_grant", "code": "x"}, "identityNotAuthenticated, unexpectedError"),
        ],
    )
    def test_wrong_faults_are_refused(self, arguments: Dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Fault(**arguments)


class TestOutage:
    def test_refuses_and_returns_on_the_same_port(self, client: Client) -> None:
        client.call("a/b", json={"n": 1})
        port = client.uuapp.port
        for number in (2, 3):
            client.uuapp.outage("refuse")
            client.uuapp.outage("refuse")  # twice is once
            for _ in range(3):
                with pytest.raises(requests.ConnectionError, match="refused"):
                    client.call("a/b", json={"n": 0})
            client.uuapp.restore()
            client.uuapp.restore()
            assert client.uuapp.port == port
            assert client.call("a/b", json={"n": number}).status_code == 200
        assert client.uuapp.received("a/b") == [{"n": 1}, {"n": 2}, {"n": 3}]

    def test_ends_live_connections(self, uuapp: Sandbox) -> None:
        with tls(uuapp) as sock:
            assert uuapp.wait_for(lambda: uuapp.handshakes == 1)
            uuapp.outage()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", uuapp.port), TIMEOUT).close()
            assert sock.recv(1) == b""

    def test_ends_waiting_requests(self, client: Client) -> None:
        client.uuapp.faults.add("delay", command="a/b", seconds=600)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.call, "a/b", json={})
            assert client.uuapp.wait_for(lambda: client.uuapp.received("a/b"))
            client.uuapp.outage()
            with pytest.raises(requests.ConnectionError):
                waiting.result(timeout=TIMEOUT)

    def test_needs_a_running_sandbox_and_a_known_kind(self, uuapp: Sandbox) -> None:
        with pytest.raises(ValueError, match="there is 'refuse'"):
            uuapp.outage("flood")
        with pytest.raises(RuntimeError, match="start"):
            Sandbox().outage()

    def test_stop_during_an_outage_and_start_again(self, client: Client) -> None:
        uuapp, port = client.uuapp, client.uuapp.port
        client.call("a/b", json={})
        uuapp.outage()
        uuapp.stop()
        uuapp.stop()
        uuapp.start()
        assert uuapp.port == port
        assert client.call("a/b", json={}).status_code == 200  # the token is still good


class TestConnections:
    def test_a_silent_client_blocks_nobody(self, client: Client) -> None:
        silent = [
            socket.create_connection(("127.0.0.1", client.uuapp.port), TIMEOUT) for _ in range(5)
        ]
        try:
            half_a_request = tls(client.uuapp)
            half_a_request.sendall(b"POST /")
            silent.append(half_a_request)
            assert client.call("a/b", json={}).status_code == 200
            assert client.uuapp.wait_for(lambda: client.uuapp.connections == 7)
            assert client.uuapp.handshakes == 2
            client.uuapp.stop()  # does not wait for them either
        finally:
            for sock in silent:
                sock.close()

    def test_fifty_at_once(self, client: Client) -> None:
        client.grant()
        client.call("warm/up", json={})
        barrier = threading.Barrier(50)

        def call(number: int) -> int:
            with requests.Session() as session:
                headers = {"Authorization": f"Bearer {client.token}"}
                barrier.wait(TIMEOUT)
                return session.post(
                    client.uuapp.url("a/b"), json={"n": number}, headers=headers, timeout=60
                ).status_code

        with ThreadPoolExecutor(50) as pool:
            assert set(pool.map(call, range(50))) == {200}
        numbers = [dto_in["n"] for dto_in in client.uuapp.received("a/b")]
        assert sorted(numbers) == list(range(50))
        assert client.uuapp.connections == 51

    def test_clients_that_break_off_leave_no_trace(
        self, client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        address = ("127.0.0.1", client.uuapp.port)
        socket.create_connection(address, TIMEOUT).close()
        with socket.create_connection(address, TIMEOUT) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
        for start in (
            b"",
            b"POST / HTTP/1.1\r\nHost: x\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\nabc",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ):
            with tls(client.uuapp) as sock:
                sock.sendall(start)
        assert client.call("a/b", json={}).status_code == 200
        client.uuapp.stop()
        assert [request.command for request in client.uuapp.requests] == [GRANT, "a/b"]
        assert caplog.records == [] and capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "text",
        [
            b"NONSENSE\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET http://[ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        ],
    )
    def test_nonsense_is_a_400(self, uuapp: Sandbox, text: bytes) -> None:
        with tls(uuapp) as sock:
            sock.sendall(text)
            assert sock.recv(65536).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    def test_continue_is_said_to_who_waits_for_it(self, uuapp: Sandbox) -> None:
        with tls(uuapp) as sock:
            sock.sendall(
                b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
                b"Connection: close\r\n\r\n"
            )
            assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"{}")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_drop_connections_leaves_the_port_open(self, client: Client) -> None:
        client.call("a/b", json={})
        client.uuapp.drop_connections()
        assert client.call("a/b", json={}).status_code == 200
        assert client.uuapp.connections == 2


class TestCertificates:
    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("expired", "certificate has expired"),
            ("not_yet_valid", "certificate is not yet valid"),
            ("foreign_ca", "unable to get local issuer certificate"),
            ("other_host", "localhost"),
        ],
    )
    def test_bad_ones_are_refused(self, client: Client, kind: str, reason: str) -> None:
        client.uuapp.use_certificate(kind)
        with pytest.raises(requests.exceptions.SSLError, match=reason):
            client.grant()
        client.uuapp.use_certificate("valid")
        assert client.grant().status_code == 200
        assert client.uuapp.handshakes < client.uuapp.connections or kind == "other_host"

    def test_unknown_kind_is_refused(self, uuapp: Sandbox) -> None:
        with pytest.raises(ValueError, match="no certificate of kind 'golden'; there are valid"):
            uuapp.use_certificate("golden")

    def test_address_will_do_for_the_name(self, client: Client) -> None:
        url = client.uuapp.url(GRANT).replace("localhost", "127.0.0.1")
        response = client.session.post(url, json=grant_dto(client.uuapp), timeout=TIMEOUT)
        assert response.status_code == 200


class TestLife:
    def test_configuration_is_complete(self, uuapp: Sandbox) -> None:
        config = uuapp.configuration(
            token_path="/t", gateway={"moduleTimers": {"a": 1}}, commands={"send": "a/b"}
        )
        assert config == json.loads(json.dumps(config))
        assert config["gateway"] == {"moduleTimers": {"a": 1}}
        assert config["uuApp"]["uuCmdList"] == {
            "gatewayHeartbeat": "gateway/heartbeat",
            "gatewayGetConfiguration": "gateway/getConfiguration",
            "send": "a/b",
        }
        assert config["oidcGrantToken"]["tokenPath"] == "/t"
        assert "gateway" not in uuapp.configuration()

    def test_secrets_are_distinct(self) -> None:
        secrets = Sandbox().secrets + Sandbox().secrets
        assert len(set(secrets)) == 6 and min(map(len, secrets)) >= 32

    def test_leaves_no_file_and_no_thread(self) -> None:
        before = set(threading.enumerate())
        with Sandbox() as uuapp:
            ca_file = uuapp.ca_file
            sock = tls(uuapp)
        with sock:
            assert sock.recv(1) == b""
        assert not Path(ca_file).exists()
        assert [t for t in threading.enumerate() if t not in before and "sandbox" in t.name] == []
        with pytest.raises(RuntimeError, match="start"):
            uuapp.ca_file  # noqa: B018  # reading it is the test

    def test_a_taken_port_is_named(self, uuapp: Sandbox) -> None:
        with pytest.raises(OSError, match=f"cannot use port {uuapp.port} of 127.0.0.1"):
            Sandbox(uuapp.port).start()
