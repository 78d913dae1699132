"""The console stays quick and safe whatever arrives: large, deep, many, and for long."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, Iterator, Optional

import pytest
import requests

from tests.support.sandbox import Ledger, Sandbox
from uun_iot.sandbox import Request
from uun_iot.sandbox.console import Console
from uun_iot.sandbox.excerpt import Excerpts

MEGABYTE = 1024 * 1024


def arrived(command: str, dto_in: Optional[Dict[str, Any]], identity: str = "1-1") -> Request:
    return Request(
        time=time.time(),
        method="POST",
        path="/",
        command=command,
        headers={"user-agent": "python"},
        dto_in=dto_in,
        status=200,
        connection=1,
        processed=True,
        request_id="",
        identity=identity,
    )


@pytest.fixture
def console(uuapp: Sandbox) -> Iterator[Console]:
    with Console(uuapp) as console:
        yield console


def ask(console: Console, path: str) -> Any:
    reply = requests.get(f"{console.url}api/{path}", timeout=60, proxies={"http": ""})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_large_bodies_cost_no_more_than_what_is_shown_of_them(
    uuapp: Sandbox, console: Console
) -> None:
    whole = {"id": "a-1", "text": "blue sky " * (8 * MEGABYTE // 9)}
    for _ in range(20):
        uuapp.records.add(arrived("photo/add", whole))
    begin = time.perf_counter()
    listed = ask(console, "requests")
    assert time.perf_counter() - begin < 2  # to look for secrets in all of it takes a minute
    assert len(listed) == 20
    text = json.dumps(whole)
    assert all(one["cut"] and text.startswith(one["body"]) for one in listed)
    assert all(len(one["body"]) == 600 for one in listed)
    one = ask(console, f"requests/{listed[-1]['number']}")
    assert one["cut"] and len(one["body"]) == 200_000 and text.startswith(one["body"])


def test_a_large_heartbeat_is_not_told_again_and_again(uuapp: Sandbox, console: Console) -> None:
    heartbeat = {"cpuUsage": 5, "restarts": 3, "log": "x " * MEGABYTE}
    uuapp.records.add(arrived("gateway/heartbeat", heartbeat))
    (seen,) = ask(console, "state")["gateways"]
    assert (seen["heartbeat"]["cpuUsage"], seen["heartbeat"]["restarts"]) == (5, 3)
    assert seen["agent"] == "python" and len(json.dumps(seen)) < 4000


def test_a_body_as_deep_as_python_reads_it_keeps_nothing_else_from_being_seen(
    uuapp: Sandbox, console: Console
) -> None:
    for depth in (100, 300, 900):
        uuapp.records.add(arrived("odd/add", {"a": json.loads("[" * depth + "]" * depth)}))
    uuapp.records.add(arrived("weather/add", {"id": "a-1"}))
    listed = ask(console, "requests")
    assert [one["command"] for one in listed] == ["odd/add"] * 3 + ["weather/add"]
    assert [one["cut"] for one in listed] == [True, True, True, False]
    assert ask(console, "requests/3")["body"].startswith('{"a": [[[[')


@pytest.mark.parametrize("at", range(0, 2400, 199))
def test_no_part_of_a_secret_stands_where_a_text_is_cut(uuapp: Sandbox, at: int) -> None:
    code = uuapp.uuapp.credentials.access_code1
    token = uuapp.tokens.issue("1-1", "audience").id_token
    excerpts = Excerpts(uuapp)
    for secret in (code, token):
        # many, so that what takes their place is shorter than they are
        text = "-" * at + f" {secret} " * 400
        value, cut = excerpts.of({"text": text}, 600)
        assert cut and len(value["text"]) <= 600 + 2000
        assert secret[:8] not in json.dumps(value)


def test_what_is_short_is_shown_whole(uuapp: Sandbox) -> None:
    value = {"a": [1, 2.5, None, True, {"b": "text", "": []}], "c": float("inf")}
    found = Excerpts(uuapp).of(value, 600)
    assert not found.cut
    assert found.value == {**value, "c": "inf"}


def test_what_is_searched_has_all_words_and_no_secrets(uuapp: Sandbox, console: Console) -> None:
    code = uuapp.uuapp.credentials.access_code1
    uuapp.records.add(arrived("weather/add", {"text": "-" * 5000 + " Needle", "note": code}))
    uuapp.records.add(arrived("hive/add", {"text": "needle"}))
    for words, numbers in (
        ("needle", [1, 2]),
        ("NEEDLE weather 200", [1]),
        (code, []),
        ("", [1, 2]),
    ):
        reply = requests.get(
            f"{console.url}api/search", params={"words": words}, timeout=60, proxies={"http": ""}
        )
        assert reply.json() == {"numbers": numbers}, words


def test_of_many_gateways_the_first_have_charts_and_the_others_are_counted(
    uuapp: Sandbox, console: Console
) -> None:
    # one that sends many figures leaves room for the others'
    uuapp.records.add(arrived("weather/add", {f"figure {n}": n for n in range(700)}, "0"))
    for number in range(150):
        uuapp.records.add(arrived("gateway/heartbeat", {"cpuUsage": 1, "ramUsage": 2}, f"{number}"))
    state = ask(console, "state")
    assert [one["identity"] for one in state["gateways"]] == [f"{n}" for n in range(100)]
    assert state["moreGateways"] == 50
    _, series = console._overview.figures_since(0)
    of = [gateway for (gateway, _, _), _ in series]
    assert of.count("0") == 64 and all(of.count(f"{n}") == 2 for n in range(1, 100))
    assert len(set(of)) == 100


def test_counts_are_as_quick_after_many_ids_that_are_no_series() -> None:
    ledger = Ledger()
    ids = [f"{number:x}-{number * 7919 % 10_007:04}" for number in range(100_000)]
    ledger.add("weather/add", ids)
    ledger.add("weather/add", ids[:10])
    ledger.add("weather/add", ["run-1", "run-5", "run-3", "run-3"])
    begin = time.perf_counter()
    for _ in range(100):
        counts = ledger.counts()
    assert time.perf_counter() - begin < 0.1  # a walk through all of them takes 2 s
    assert counts == (100_003, 11, 2)


def test_ids_that_are_no_series_do_not_fill_the_memory() -> None:
    ledger = Ledger()
    ledger.add("weather/add", [f"{number:x}-{number % 10}" for number in range(250_000)])
    ledger.add("weather/add", ["run-1", "0-0", "1-3"])
    assert len(ledger._series) == 200_000
    # what came early is still told apart, later ones count as new
    assert ledger.counts() == (250_002, 1, 1)
