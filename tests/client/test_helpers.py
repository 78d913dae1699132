"""Beyond the documented calls: `command`, `pages`, the entries of error maps, the error tree."""

from __future__ import annotations

import logging
import pickle
from typing import Any, Callable, Dict, List

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sandbox import Sandbox
from uun_iot_client import (
    CommandError,
    DtoInError,
    ErrorEntry,
    NetworkError,
    ProtocolError,
    TokenError,
    UuAppClient,
    UuAppClientException,
    UuCmdSession,
)
from uun_iot_client.errormap import parse_error_map
from uun_iot_client.paging import pages

COMMAND = "weather/add"
LIST = "weather/list"
ENTRY: Dict[str, Any] = {
    "type": "error",
    "message": "payload-marker is not valid",
    "id": "occurrence-1",
    "timestamp": "2026-11-24T12:00:00.000Z",
    "paramMap": {"invalidValueKeyMap": {"$.temperature": {"value": "payload-marker"}}},
    "cause": {"uun/dao/failed ": {"type": "error", "cause": {"uun/db/gone": {}}}},
}


# -- command


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_command_returns_the_parsed_reply(
    uuapp: Sandbox, client: UuAppClient, method: str
) -> None:
    assert client.command(COMMAND, {"a": [1]}, method=method) == {"uuAppErrorMap": {}, "a": [1]}
    assert uuapp.requests[-1].method == method


def test_a_command_without_content_returns_an_empty_object(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    uuapp.faults.add("reply", status=204, command=COMMAND)
    assert client.command(COMMAND) == {}


def test_a_command_raises_what_went_wrong(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    uuapp.faults.add("status", command=COMMAND, status=500, times=1)
    with pytest.raises(CommandError) as caught:
        client.command(COMMAND)
    assert caught.value.status == 500
    uuapp.faults.add("reply", body="<html>", content_type="text/html", command=COMMAND, times=2)
    for method in ("GET", "POST"):
        with pytest.raises(ProtocolError):
            client.command(COMMAND, method=method)
    with pytest.raises(DtoInError):
        client.command(COMMAND, {"a": object()})
    with pytest.raises(TokenError):
        UuAppClient({}).command(COMMAND)
    with pytest.raises(ValueError, match="GET or POST"):
        client.command(COMMAND, method="PUT")
    uuapp.outage()
    with pytest.raises(NetworkError):
        client.command(COMMAND)
    assert caplog.records == []  # who catches it decides what is logged


# -- pages


class Listing:
    """Answers a list command page by page, as uuApps do."""

    def __init__(self, number: int, key: str = "itemList", total: bool = True, most: int = 1000):
        self.items = [{"n": n} for n in range(number)]
        self.key, self.total, self.most = key, total, most
        self.asked: List[Any] = []

    def __call__(self, dto_in: Dict[str, Any]) -> Dict[str, Any]:
        self.asked.append(dto_in)
        info = dto_in["pageInfo"]
        size = min(info["pageSize"], self.most)
        start = info["pageIndex"] * size
        said = {"pageIndex": info["pageIndex"], "pageSize": size}
        if self.total:
            said["total"] = len(self.items)
        return {self.key: self.items[start : start + size], "pageInfo": said}


@pytest.mark.parametrize("key", ["itemList", "pageItemList"])
@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 35])
def test_all_items_of_all_pages_come_in_order(
    uuapp: Sandbox, client: UuAppClient, key: str, total: bool, number: int
) -> None:
    listing = Listing(number, key, total)
    uuapp.answer(LIST, listing)
    assert list(client.pages(LIST, {"filter": "x"}, page_size=10)) == listing.items
    assert [each["pageInfo"]["pageIndex"] for each in listing.asked] == list(
        range(len(listing.asked))
    )
    assert all(each["filter"] == "x" for each in listing.asked)
    least = max(1, -(-number // 10))
    # without a total, a first page that is short may be all that the server gives at a time
    asks_once_more = not total and number > 0 and (number < 10 or number % 10 == 0)
    assert len(listing.asked) == least + asks_once_more


def test_pages_are_asked_for_when_they_are_needed(uuapp: Sandbox, client: UuAppClient) -> None:
    listing = Listing(30)
    uuapp.answer(LIST, listing)
    items = client.pages(LIST, page_size=10, method="POST")
    assert listing.asked == []
    assert next(items) == {"n": 0}
    assert len(listing.asked) == 1
    assert uuapp.requests[-1].method == "POST"


def test_a_page_info_of_the_callers_is_where_it_begins(uuapp: Sandbox, client: UuAppClient) -> None:
    listing = Listing(35)
    uuapp.answer(LIST, listing)
    dto_in = {"pageInfo": {"pageIndex": 2, "pageSize": 10}}
    assert list(client.pages(LIST, dto_in)) == listing.items[20:]
    assert dto_in == {"pageInfo": {"pageIndex": 2, "pageSize": 10}}


def test_a_server_that_gives_smaller_pages_than_asked_for_loses_no_item(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    listing = Listing(35, most=10, total=False)
    uuapp.answer(LIST, listing)
    assert list(client.pages(LIST, page_size=100)) == listing.items


@pytest.mark.parametrize("total", [True, False])
def test_a_server_that_gives_smaller_pages_and_does_not_say_so_loses_no_item(total: bool) -> None:
    listing = Listing(200, most=50, total=total)

    def ask(dto_in: Dict[str, Any]) -> Dict[str, Any]:
        reply = listing(dto_in)
        reply["pageInfo"]["pageSize"] = dto_in["pageInfo"]["pageSize"]  # as it was asked for
        return reply

    assert list(pages(ask, LIST, {}, 100)) == listing.items
    listing.asked.clear()
    begun_late = list(pages(ask, LIST, {"pageInfo": {"pageIndex": 1}}, 100))
    assert begun_late == listing.items[50:]


@pytest.mark.parametrize("total", [True, False])
def test_equal_readings_on_equal_pages_all_come(total: bool) -> None:
    listing = Listing(400, total=total)
    listing.items = [{"temperature": 0}] * 400
    assert list(pages(listing, LIST, {}, 100)) == listing.items


def test_a_server_that_answers_the_same_page_without_end_is_an_error() -> None:
    def ask(dto_in: Dict[str, Any]) -> Dict[str, Any]:
        return {"itemList": [1, 2], "pageInfo": dto_in["pageInfo"]}

    with pytest.raises(ProtocolError, match="weather/list gave the same page"):
        list(pages(ask, LIST, {}, 2))


def test_items_that_were_announced_and_did_not_come_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replies = iter([{"itemList": [1, 2], "total": 5}, {"itemList": [], "total": 5}])
    assert list(pages(lambda dto_in: next(replies), LIST, {}, 2)) == [1, 2]
    assert "weather/list: 5 items were announced, 2 came" in caplog.text


def test_a_server_that_knows_no_pages_is_asked_twice_at_most(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [{"n": n} for n in range(50)]
    uuapp.answer(LIST, {"itemList": whole})
    assert list(client.pages(LIST, page_size=10)) == whole
    assert sum(each.command == LIST for each in uuapp.requests) == 2
    assert "weather/list: page 1 is the same as the one before" in caplog.text


def test_a_reply_without_a_list_is_a_protocol_error(uuapp: Sandbox, client: UuAppClient) -> None:
    uuapp.answer(LIST, {"itemList": None})
    with pytest.raises(ProtocolError, match="weather/list has no list"):
        list(client.pages(LIST))


@pytest.mark.parametrize(
    "arguments",
    [{"page_size": 0}, {"page_size": True}, {"dto_in": {"pageInfo": {"pageIndex": -1}}}],
)
def test_a_page_that_cannot_be_is_refused_at_once(client: UuAppClient, arguments: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number"):
        client.pages(LIST, **arguments)


@given(
    number=st.integers(0, 60),
    size=st.integers(1, 20),
    most=st.integers(1, 20),
    total=st.booleans(),
)
def test_pages_add_up_to_the_list(number: int, size: int, most: int, total: bool) -> None:
    listing = Listing(number, total=total, most=most)
    assert list(pages(listing, LIST, {}, size)) == listing.items


# -- entries of error maps


def test_entries_of_an_error_map_are_parsed(uuapp: Sandbox, client: UuAppClient) -> None:
    body = {"uuAppErrorMap": {" uun/add/invalid ": ENTRY, "uun/add/odd": {"type": "warning"}}}
    uuapp.faults.add("reply", status=400, command=COMMAND, body=body)
    _, exc = client.post(COMMAND)
    assert isinstance(exc, CommandError)
    first, second = exc.entries
    assert (first.code, first.type, first.is_error) == ("uun/add/invalid", "error", True)
    assert (first.message, first.id) == (ENTRY["message"], ENTRY["id"])
    assert (first.timestamp, first.param_map) == (ENTRY["timestamp"], ENTRY["paramMap"])
    (cause,) = first.cause
    assert (cause.code, [each.code for each in cause.cause]) == ("uun/dao/failed", ["uun/db/gone"])
    assert (second.code, second.is_error) == ("uun/add/odd", False)
    assert exc.codes == ("uun/add/invalid", "uun/add/odd")
    assert "payload-marker" not in f"{exc} {exc!r} {exc.entries!r}"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["uuAppErrorMap", "type", "message", "cause", "paramMap", "id", "x"]), inner
    ),
)  # fmt: skip


@given(JSON)
def test_whatever_an_error_map_holds_it_is_read(body: Any) -> None:
    for entry in parse_error_map(body):
        assert isinstance(entry, ErrorEntry) and entry.type in ("error", "warning")


def test_a_cause_that_has_no_end_has_one() -> None:
    entry: Dict[str, Any] = {}
    for _ in range(500):
        entry = {"cause": {"code": entry}}
    found = parse_error_map({"uuAppErrorMap": {"code": entry}})
    depth = 0
    while found:
        found, depth = found[0].cause, depth + 1
    assert depth == 8


def test_warnings_are_logged_once_and_stay_in_the_reply(
    uuapp: Sandbox, client: UuAppClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uun_iot")
    warning = {"uun/add/unsupportedKeys": {"type": "warning", "message": "payload-marker"}}
    uuapp.faults.add("reply", command=COMMAND, body={"uuAppErrorMap": warning})
    for _ in range(3):
        response, exc = client.post(COMMAND)
        assert exc is None and response is not None
        (entry,) = parse_error_map(response.json())
        assert (entry.code, entry.is_error) == ("uun/add/unsupportedKeys", False)
    assert "uun/add/unsupportedKeys" in client.command(COMMAND)["uuAppErrorMap"]
    lines = [each for each in caplog.records if "done with warnings" in each.getMessage()]
    assert [each.levelno for each in lines] == [logging.WARNING, *[logging.DEBUG] * 3]
    assert "uun/add/unsupportedKeys" in lines[0].getMessage()
    assert "payload-marker" not in caplog.text


# -- the tree


def test_every_error_of_a_call_is_one_of_the_client(uuapp: Sandbox, client: UuAppClient) -> None:
    situations: List[Callable[[], object]] = [
        lambda: uuapp.faults.add("drop", command=COMMAND),
        lambda: uuapp.faults.add("half", command=COMMAND),
        lambda: uuapp.faults.add("status", command=COMMAND, status=500),
        lambda: uuapp.faults.add("reply", command=COMMAND, body="<html>", content_type="text/html"),
        lambda: uuapp.faults.add("redirect", command=COMMAND, location="http://h/"),
        lambda: uuapp.faults.add("redirect", command=COMMAND, location="https://["),
        lambda: uuapp.faults.add("redirect", command=COMMAND, location=uuapp.url(COMMAND)),
        lambda: uuapp.faults.add(
            "reply", command=COMMAND, body=b"{", headers={"Content-Encoding": "gzip"}
        ),
        lambda: client._gateway_stopping(1.0),
        client._gateway_stopped,
        uuapp.outage,
    ]
    client.refresh_token()
    seen = 0
    for happen in situations:
        uuapp.faults.clear()
        happen()
        for method in (client.get, client.post, client.multipart):
            _, exc = method(COMMAND)
            if exc is not None:
                seen += 1
                assert isinstance(exc, UuAppClientException), exc
                assert isinstance(exc, (requests.RequestException, TokenError))
    assert seen > 20


def test_errors_can_be_handed_to_another_process(uuapp: Sandbox, client: UuAppClient) -> None:
    uuapp.faults.add("status", command=COMMAND, status=500, times=1)
    errors: List[Any] = [client.post(COMMAND)[1], UuAppClient({}).post(COMMAND)[1]]
    uuapp.outage()
    errors += [client.post(COMMAND)[1] for _ in range(6)]
    for error in errors:
        content = pickle.dumps(error)
        assert b"Bearer" not in content and uuapp.tokens.given_out[0].encode() not in content
        copy = pickle.loads(content)
        assert (type(copy), str(copy)) == (type(error), str(error))
    assert pickle.loads(pickle.dumps(errors[0])).status == 500
    assert pickle.loads(pickle.dumps(errors[2])).may_have_arrived is False


# -- clients derived from ours


def test_a_client_may_add_headers_and_have_paths_of_its_own(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    class Device(UuAppClient):
        def get_auth_headers(self, content_type: str = "application/json") -> Dict[str, str]:
            headers = super().get_auth_headers(content_type)
            return {**headers, "X-Device": "7", "Authorization": "Bearer of-another"}

        def get_uucmd_url(self, uucmd: str) -> str:
            return super().get_uucmd_url(f"weather/{uucmd}")

    client = Device(config)
    for result in (
        client.get("add"),
        client.post("add"),
        client.multipart("add", {"a": "1"}),
        UuCmdSession(client, "add").post({"a": 1}),
    ):
        assert result[1] is None
        request = uuapp.requests[-1]
        assert (request.command, request.headers["x-device"]) == (COMMAND, "7")
    client.close()


def test_a_session_gives_a_client_only_what_it_was_given(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    calls: List[Any] = []

    class Documented(UuAppClient):
        def get(self, uucmd: str, dto_in: Any = None, log_level: int = 30) -> Any:  # type: ignore[override]
            calls.append(("get", log_level))
            return super().get(uucmd, dto_in, log_level)

        def post(self, uucmd: str, dto_in: Any = None, log_level: int = 30) -> Any:  # type: ignore[override]
            calls.append(("post", log_level))
            return super().post(uucmd, dto_in, log_level)

    class Own(UuCmdSession):
        def __init__(self, client: UuAppClient) -> None:
            super().__init__(client, COMMAND, 10)
            self._client = self._log_level = self._retry = self._deadline = self._level = None

    client = Documented(config)
    session = Own(client)
    assert session.get({"a": 1})[1] is None
    assert session.post({"a": 1})[1] is None
    assert calls == [("get", 10), ("post", 10)]
    client.close()
