"""Calls, what the server gets of them, and what is a success."""

from __future__ import annotations

import io
import json
import logging
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest
import requests
from requests_toolbelt.multipart.encoder import MultipartEncoder

from tests.support.sandbox import Fault, Sandbox
from uun_iot_client import CommandError, ProtocolError, TokenError, UuAppClient, UuCmdSession
from uun_iot_core import __version__

COMMAND = "weather/add"
OWN_LOGGER = "uun_iot.client.exchange"


def last(uuapp: Sandbox) -> Any:
    return [each for each in uuapp.requests if each.command != "oidc/grantToken"][-1]


@pytest.mark.parametrize("method", ["get", "post"])
def test_dto_in_is_the_json_body(uuapp: Sandbox, client: UuAppClient, method: str) -> None:
    response, exc = getattr(client, method)(COMMAND, {"a": [1, "ž"]})
    assert exc is None
    assert response.json() == {"uuAppErrorMap": {}, "a": [1, "ž"]}
    request = last(uuapp)
    assert (request.method, request.command, request.dto_in) == (
        method.upper(),
        COMMAND,
        {"a": [1, "ž"]},
    )
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith(f"uun-iot/{__version__}")


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_dto_in_sends_an_empty_object(uuapp: Sandbox, client: UuAppClient, method: str) -> None:
    _, exc = getattr(client, method)(COMMAND)
    assert exc is None
    assert last(uuapp).headers["content-length"] == "2"


def test_calls_share_one_connection(uuapp: Sandbox, client: UuAppClient) -> None:
    session = UuCmdSession(client, COMMAND)
    for number in range(5):
        assert client.get(COMMAND)[1] is None
        assert client.post(COMMAND, {"n": number})[1] is None
        assert client.multipart(COMMAND, {"n": str(number)})[1] is None
        assert session.post({"n": number})[1] is None
        assert session.get()[1] is None
    assert (uuapp.connections, uuapp.grants) == (1, 1)


def test_cookies_are_neither_kept_nor_sent(uuapp: Sandbox, client: UuAppClient) -> None:
    cookies = {"Set-Cookie": "uu.app.bpl=marker; Path=/"}
    uuapp.faults.add("reply", command=COMMAND, body={}, headers=cookies, times=1)
    response, exc = client.post(COMMAND)
    assert exc is None and response is not None and response.cookies["uu.app.bpl"] == "marker"
    client.post(COMMAND)
    assert "cookie" not in last(uuapp).headers


def test_url_is_made_of_gateway_application_workspace_and_command(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    assert client.get_uucmd_url(COMMAND) == uuapp.url(COMMAND)


def test_auth_headers_open_the_uuapp(uuapp: Sandbox, client: UuAppClient) -> None:
    headers = client.get_auth_headers("text/x")
    assert headers["Authorization"].startswith("Bearer ")
    assert headers["Content-Type"] == "text/x"
    assert headers["User-Agent"].startswith(f"uun-iot/{__version__}")
    assert client.get_auth_headers()["Content-Type"] == "application/json"
    response = requests.post(uuapp.url(COMMAND), json={}, headers=client.get_auth_headers())
    assert response.status_code == 200


# -- bodies


@pytest.mark.parametrize("dto_in", [[1], "text", b"bytes", 5, ("a",), object()])
def test_post_refuses_other_types_than_documented(client: UuAppClient, dto_in: Any) -> None:
    with pytest.raises(ValueError, match="must be a dictionary, a MultipartEncoder or None"):
        client.post(COMMAND, dto_in)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_is_no_json_is_returned_as_an_error_that_does_not_show_it(
    uuapp: Sandbox, client: UuAppClient, method: str, value: Any
) -> None:
    response, exc = getattr(client, method)(COMMAND, {"key": value})
    assert response is None
    assert isinstance(exc, requests.RequestException)
    assert "dtoIn is no JSON" in str(exc)
    assert not uuapp.received(COMMAND)


def test_multipart_sends_fields_and_files(
    uuapp: Sandbox, client: UuAppClient, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(range(256)) * 500)
    with path.open("rb") as file:
        file.seek(256)
        fields = {"note": "x", "data": ("image.png", file, "image/png"), "raw": b"\x00\xff"}
        _, exc = client.multipart(COMMAND, fields)
    assert exc is None
    received = uuapp.received(COMMAND)[0]
    assert received["note"] == "x"
    assert received["data"].content == path.read_bytes()[256:]
    assert last(uuapp).headers["content-type"].startswith("multipart/form-data; boundary=")


def test_post_takes_an_encoder_with_its_content_type(uuapp: Sandbox, client: UuAppClient) -> None:
    encoder = MultipartEncoder({"a": "1"})
    _, exc = client.post(COMMAND, encoder)
    assert exc is None
    assert uuapp.received(COMMAND) == [{"a": "1"}]
    assert last(uuapp).headers["content-type"] == encoder.content_type


def test_multipart_without_fields_is_an_empty_form(uuapp: Sandbox, client: UuAppClient) -> None:
    _, exc = client.multipart(COMMAND)
    assert exc is None
    assert uuapp.received(COMMAND) == [{}]


@pytest.mark.parametrize("value", [5, None, {"a": 1}, io.StringIO("text"), ("only a name",)])
def test_multipart_names_a_field_that_cannot_be_sent(client: UuAppClient, value: Any) -> None:
    with pytest.raises(ValueError, match="multipart field `bad`"):
        client.multipart(COMMAND, {"good": "1", "bad": value})


@pytest.mark.parametrize(
    "name, value", [(1, "x"), (b"raw", "x"), ("named", (1, b"x")), ("typed", ("f", b"x", 5))]
)
def test_multipart_names_a_field_whose_name_is_no_string(
    client: UuAppClient, name: Any, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"multipart field .?{name!r}".replace("'", ".")):
        client.multipart(COMMAND, {name: value})


# -- what is a success

PAGE = Fault("reply", command=COMMAND, body="<html>Log in</html>", content_type="text/html")
BAD_FOR_POST = {
    "page": PAGE,
    "page without a type": Fault("reply", command=COMMAND, body="<!DOCTYPE html>", content_type=""),
    "empty": Fault("reply", command=COMMAND, body=b""),
    "null": Fault("reply", command=COMMAND, body="null"),
    "list": Fault("reply", command=COMMAND, body=[1]),
    "string": Fault("reply", command=COMMAND, body='"ok"'),
    "half": Fault("reply", command=COMMAND, body='{"a": '),
    "binary": Fault("reply", command=COMMAND, body=b"\xff\xfe\x00\xd8", content_type="image/png"),
    "deep": Fault("reply", command=COMMAND, body="[" * 100_000),
}


@pytest.mark.parametrize("fault", BAD_FOR_POST.values(), ids=list(BAD_FOR_POST))
@pytest.mark.parametrize("method", ["post", "multipart"])
def test_a_post_counts_only_when_a_json_object_confirms_it(
    uuapp: Sandbox, client: UuAppClient, fault: Fault, method: str
) -> None:
    uuapp.faults.add(fault)
    response, exc = getattr(client, method)(COMMAND, {"a": "1"})
    assert isinstance(exc, ProtocolError) and isinstance(exc, requests.RequestException)
    assert response is not None and response.status_code == 200
    assert exc.status == 200
    with pytest.raises(ProtocolError):
        client.post_ignore_http_err(COMMAND)


@pytest.mark.parametrize("name", ["page", "page without a type", "empty", "half", "deep"])
def test_a_get_refuses_pages_and_what_only_says_that_it_is_json(
    uuapp: Sandbox, client: UuAppClient, name: str
) -> None:
    uuapp.faults.add(BAD_FOR_POST[name])
    response, exc = client.get(COMMAND)
    assert isinstance(exc, ProtocolError)
    assert response is not None and response.status_code == 200


def test_a_get_may_download_anything_else(uuapp: Sandbox, client: UuAppClient) -> None:
    content = bytes(range(256)) * 10
    uuapp.faults.add("reply", body=content, content_type="image/png", command=COMMAND)
    response, exc = client.get(COMMAND)
    assert exc is None
    assert response is not None and response.content == content


def test_a_reply_that_nobody_else_holds_can_be_read_in_pieces(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    body = b"0123456789" * 1000
    uuapp.faults.add("reply", command=COMMAND, body=body, content_type="image/png")
    chunks = client.get_ignore_http_err(COMMAND).iter_content(4096)
    assert b"".join(chunks) == body


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_content_is_a_success(uuapp: Sandbox, client: UuAppClient, method: str) -> None:
    uuapp.faults.add("reply", status=204, command=COMMAND)
    response, exc = getattr(client, method)(COMMAND)
    assert exc is None
    assert response.status_code == 204


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 502, 503])
def test_http_errors_are_returned_with_the_response(
    uuapp: Sandbox, client: UuAppClient, method: str, status: int
) -> None:
    body = {"uuAppErrorMap": {" uun/add/invalid ": {"type": "error", "message": "payload"}}}
    headers = {"X-Request-Id": "request-7"}
    uuapp.faults.add("reply", status=status, command=COMMAND, body=body, headers=headers)
    response, exc = getattr(client, method)(COMMAND)
    assert response.status_code == status
    assert isinstance(exc, CommandError) and isinstance(exc, requests.HTTPError)
    assert (exc.status, exc.codes, exc.response) == (status, ("uun/add/invalid",), response)
    assert exc.request_id == "request-7"
    for part in (str(status), "uun/add/invalid", "request-7"):
        assert part in str(exc)
    assert "payload" not in str(exc)
    ignoring = getattr(client, f"{method}_ignore_http_err")
    assert ignoring(COMMAND).status_code == status


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_error_entry_with_200_is_an_error(
    uuapp: Sandbox, client: UuAppClient, method: str
) -> None:
    entries = {"uun/a/warned": {"type": "warning"}, "uun/a/failed": {"type": "error"}}
    uuapp.faults.add("reply", body={"uuAppErrorMap": entries}, command=COMMAND)
    response, exc = getattr(client, method)(COMMAND)
    assert response.status_code == 200
    assert isinstance(exc, CommandError)
    assert exc.codes == ("uun/a/warned", "uun/a/failed")
    assert getattr(client, f"{method}_ignore_http_err")(COMMAND).status_code == 200


@pytest.mark.parametrize(
    "error_map",
    [
        {},
        None,
        "a string",
        [],
        7,
        {"code": None},
        {"code": "text"},
        {"code": {"type": None}},
        {"code": {"type": ["error"]}},
        {"code": {}},
        {"uun/unsupportedKeys": {"type": "warning", "message": "…"}},
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_warnings_and_malformed_error_maps_are_no_errors(
    uuapp: Sandbox, client: UuAppClient, method: str, error_map: Any
) -> None:
    uuapp.faults.add("reply", body={"uuAppErrorMap": error_map}, command=COMMAND)
    assert getattr(client, method)(COMMAND)[1] is None


def test_a_reply_without_error_map_is_a_success(uuapp: Sandbox, client: UuAppClient) -> None:
    uuapp.faults.add("reply", body={"a": 1}, command=COMMAND)
    assert client.post(COMMAND)[1] is None


def test_codes_of_the_server_cannot_forge_log_lines(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    code = "a\nCRITICAL forged \x1b[31m" + "x" * 10_000
    uuapp.faults.add("reply", status=400, command=COMMAND, body={"uuAppErrorMap": {code: {}}})
    _, exc = client.post(COMMAND)
    assert exc is not None
    text = caplog.records[-1].getMessage()
    assert "\n" not in text and "\x1b" not in text and len(text) < 400


# -- custom requests


def sender(url: str, **arguments: Any) -> Callable[[Any], requests.Response]:
    return lambda dto_in: requests.post(url, json=dto_in, timeout=5, **arguments)


@pytest.mark.parametrize("dto_in, sent", [(None, {}), ({"a": 1}, {"a": 1})])
def test_custom_request_passes_dto_in(
    uuapp: Sandbox, client: UuAppClient, dto_in: Any, sent: Dict[str, Any]
) -> None:
    send = sender(uuapp.url(COMMAND), headers=client.get_auth_headers())
    response, exc = client.custom_request(send, dto_in)
    assert exc is None and response is not None
    assert uuapp.received(COMMAND) == [sent]


def test_custom_request_returns_what_went_wrong(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    response, exc = client.custom_request(sender(uuapp.url(COMMAND)), {}, "my label", logging.ERROR)
    assert response is not None and response.status_code == 401
    assert isinstance(exc, requests.HTTPError)
    assert (caplog.records[-1].levelno, "my label" in caplog.text) == (logging.ERROR, True)
    assert uuapp.grants == 0

    def with_raise(dto_in: Any) -> requests.Response:
        reply = requests.post(uuapp.url(COMMAND), json=dto_in, timeout=5)
        reply.raise_for_status()
        return reply

    response, exc = client.custom_request(with_raise)
    assert response is not None and response.status_code == 401
    assert isinstance(exc, requests.HTTPError)

    uuapp.outage()
    response, exc = client.custom_request(sender(uuapp.url(COMMAND)))
    assert response is None
    assert isinstance(exc, requests.ConnectionError)

    def without_token(dto_in: Any) -> requests.Response:
        return requests.post("https://unused", headers=client.get_auth_headers(), json=dto_in)

    response, exc = client.custom_request(without_token)
    assert response is None
    assert isinstance(exc, TokenError)


def test_custom_request_looks_at_the_error_map_of_json_only(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    entry = {"uuAppErrorMap": {"a/failed": {"type": "error"}}}
    uuapp.faults.add("reply", command=COMMAND, body=entry, times=1)
    uuapp.faults.add("reply", command=COMMAND, body="<html>", content_type="text/html", times=1)
    uuapp.faults.add("reply", command=COMMAND, body="[1]", times=1)
    send = sender(uuapp.url(COMMAND))
    assert isinstance(client.custom_request(send)[1], CommandError)
    assert client.custom_request(send)[1] is None
    assert client.custom_request(send)[1] is None


def test_custom_request_leaves_a_stream_to_its_caller(uuapp: Sandbox, client: UuAppClient) -> None:
    uuapp.faults.add("reply", command=COMMAND, body=b"x" * 1000, content_type="image/png")
    send = sender(uuapp.url(COMMAND), stream=True)
    response, exc = client.custom_request(send)
    assert exc is None and response is not None
    assert b"".join(response.iter_content(100)) == b"x" * 1000


def test_custom_request_that_returns_no_response_is_an_error(client: UuAppClient) -> None:
    def forgetful(dto_in: Any) -> Any:
        return None

    response, exc = client.custom_request(forgetful)
    assert response is None
    assert isinstance(exc, requests.RequestException)
    assert "NoneType" in str(exc)


# -- log lines


@pytest.mark.parametrize("level, expected", [(None, 30), (logging.DEBUG, 10), (logging.ERROR, 40)])
@pytest.mark.parametrize("method", ["get", "post", "multipart", "get_ignore_http_err"])
def test_errors_are_logged_with_the_level_of_the_call(
    uuapp: Sandbox,
    client: UuAppClient,
    caplog: pytest.LogCaptureFixture,
    method: str,
    level: Optional[int],
    expected: int,
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    uuapp.faults.add("status", status=503, command=COMMAND)
    arguments = {} if level is None else {"log_level": level}
    getattr(client, method)(COMMAND, {"key": "payload"}, **arguments)
    records = [each for each in caplog.records if each.name == OWN_LOGGER]
    assert [each.levelno for each in records] == [expected]
    text = records[0].getMessage()
    for part in (COMMAND, "503", "uu-app-server/internalServerError", last(uuapp).request_id):
        assert part in text
    assert "payload" not in caplog.text


def test_level_of_a_session_holds_unless_a_call_gives_another(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    uuapp.faults.add("status", status=503, command=COMMAND)
    session = UuCmdSession(client, COMMAND, log_level=logging.ERROR)
    session.post({})
    session.get({}, log_level=logging.INFO)
    session.post(None, logging.WARNING)
    session.get()
    UuCmdSession(client, COMMAND).get()
    levels = [each.levelno for each in caplog.records if each.name == OWN_LOGGER]
    assert levels == [40, 20, 30, 40, 30]


def test_successes_are_logged_for_debugging_without_payload(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    client.post(COMMAND, {"key": "payload"})
    text = caplog.records[-1].getMessage()
    assert COMMAND in text and "200" in text and last(uuapp).request_id in text
    assert "payload" not in caplog.text


def test_session_readies_its_token_ahead(uuapp: Sandbox, client: UuAppClient) -> None:
    session = UuCmdSession(client, COMMAND)
    session.update_headers()
    assert (uuapp.grants, client.is_token_expired()) == (1, False)
    response, exc = session.post({"a": 1})
    assert exc is None and response is not None
    assert json.loads(response.content)["a"] == 1
    uuapp.outage()
    with pytest.raises(TokenError):
        UuCmdSession(UuAppClient({}), COMMAND).update_headers()


def test_closing_leaves_no_thread(config: Dict[str, Any]) -> None:
    before = set(threading.enumerate())
    client = UuAppClient(config, refresh_token_on_init=False)
    assert client.get(COMMAND)[1] is None
    client.close()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("uun_iot"):
            thread.join(5)
            assert not thread.is_alive()
