"""Forked children of a program whose other threads are in the middle of something."""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, Dict

import pytest
import requests

from tests.support.sandbox import Sandbox
from uun_iot_client import CircuitOpen, UuAppClient
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only"),
    # Python 3.12 warns of what is tested here
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def in_child(function: Callable[[], object]) -> str:
    """Return the `repr` of what a function returns in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        found = file.read()
    os.waitpid(pid, 0)
    return found.decode()


def test_a_child_does_not_wait_for_the_grant_of_its_parents_thread(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    asking, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def fetch(url: str, **arguments: Any) -> requests.Response:
        asking.set()
        if os.getpid() == parent:
            go_on.wait(30)
        return requests.post(url, **arguments)

    del config["oidcGrantToken"]["tokenPath"]
    client = UuAppClient(config, fetch, refresh_token_on_init=False, deadline=5)
    waiting = threading.Thread(target=client.get, args=(COMMAND,))
    waiting.start()
    assert asking.wait(10)
    assert in_child(lambda: client.get(COMMAND)[1]) == "None"
    go_on.set()
    waiting.join(10)
    assert client.get(COMMAND)[1] is None


def test_a_child_does_not_wait_for_the_probe_of_its_parents_thread(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    clock = ManualClock()
    client = UuAppClient(config, clock=clock, breaker_failures=1)
    uuapp.outage()
    client.post(COMMAND)
    uuapp.restore()
    clock.advance(1.01)
    slow = uuapp.faults.add("delay", command=COMMAND, seconds=60)
    probing = threading.Thread(target=client.post, args=(COMMAND,))
    probing.start()
    assert uuapp.wait_for(lambda: any(each.command == COMMAND for each in uuapp.requests))
    assert isinstance(client.get("weather/list")[1], CircuitOpen)
    assert in_child(lambda: client.get("weather/list")[1]) == "None"
    uuapp.faults.remove(slow)
    probing.join(10)


@pytest.mark.parametrize(
    "lock",
    [
        lambda client: client._transport._lock,
        lambda client: client._transport._calls.lock,
        lambda client: client._token._state,
        lambda client: client._breaker._lock,
        lambda client: client._redact._lock,
        lambda client: client._exchange._said_lock,
    ],
)
def test_a_child_has_locks_of_its_own(
    uuapp: Sandbox, config: Dict[str, Any], lock: Callable[[UuAppClient], Any]
) -> None:
    client = UuAppClient(config)
    assert client.get(COMMAND)[1] is None
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(client):
            held.set()
            let_go.wait(30)

    holding = threading.Thread(target=hold)
    holding.start()
    assert held.wait(10)
    assert in_child(lambda: lock(client).acquire(timeout=1)) == "True"
    let_go.set()
    holding.join(10)
