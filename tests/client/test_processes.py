"""Processes that share a token file: one of them asks, and the others take it from there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot_client import TokenError, UuAppClient
from uun_iot_client.turns import turn

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
PROCESSES = 10

#: says `ready`, and makes one call for each line that it reads
CALLER = """
import fcntl, json, sys
from uun_iot_client import UuAppClient
client = UuAppClient(json.loads(sys.argv[1]), refresh_token_on_init=False)
import requests, requests_toolbelt.multipart.encoder
print("ready")
for number, path in enumerate(sys.argv[2:]):
    fcntl.flock(open(path), fcntl.LOCK_SH)  # all get it at once when the test lets it go
    _, exc = client.post("weather/add", {"n": number})
    print(f"call {number}: {exc}")
"""


class Gate:
    """A file that children wait at until it is opened; whoever comes later finds it open."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = open(path, "w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self) -> None:
        self._file.close()


@contextlib.contextmanager
def callers(config: Dict[str, Any], gates: List[Gate]) -> Iterator[List[Child]]:
    """Run the processes; each waits at each of the gates before it calls."""
    arguments = [json.dumps(config), *(gate.path for gate in gates)]
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(Child.python(CALLER, *arguments)) for _ in range(PROCESSES)]
        for child in children:
            child.wait_for_line("^ready$", timeout=60)
        yield children


def test_ten_processes_ask_for_one_token_and_once_more_when_it_is_revoked(
    uuapp: Sandbox, config: Dict[str, Any], token_path: Path, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path / "first"), Gate(tmp_path / "second")]
    slow = uuapp.faults.add("delay", command=GRANT, seconds=0.5)  # so that they meet
    with callers(config, gates) as children:
        for number, gate in enumerate(gates):
            gate.open()
            for child in children:
                child.wait_for_line(f"^call {number}: ", timeout=60)
            assert uuapp.grants == number + 1
            uuapp.revoke_tokens()
        uuapp.faults.remove(slow)
        for child in children:
            assert child.wait(30) == 0
            assert [line for line in child.lines if line.startswith("call")] == [
                "call 0: None",
                "call 1: None",
            ]
    assert len(uuapp.received(COMMAND)) == 2 * PROCESSES
    assert os.listdir(token_path.parent) == [token_path.name]  # no lock is left


def test_a_token_of_another_process_is_taken_instead_of_asking(
    uuapp: Sandbox, config: Dict[str, Any]
) -> None:
    first, second = (UuAppClient(config, refresh_token_on_init=False) for _ in range(2))
    assert (first.refresh_token(), second.refresh_token()) == (True, False)
    uuapp.revoke_tokens()
    assert first.get(COMMAND)[1] is None
    assert second.get(COMMAND)[1] is None
    assert uuapp.grants == 2


def test_a_token_that_was_refused_is_not_taken_from_the_file_again(
    uuapp: Sandbox, config: Dict[str, Any], token_path: Path
) -> None:
    client = UuAppClient(config)
    content = token_path.read_bytes()
    uuapp.revoke_tokens()
    assert client.get(COMMAND)[1] is None
    token_path.write_bytes(content)  # as if the disk had kept the old one
    uuapp.revoke_tokens()
    assert client.get(COMMAND)[1] is None
    assert uuapp.grants == 3


HOLDER = """
import sys, time
from uun_iot_client.turns import turn
with turn(sys.argv[1], 0.0, time.sleep) as is_ours:
    print("held" if is_ours else "not held")
    sys.stdin.read() if len(sys.argv) > 2 else time.sleep(600)
"""


def test_a_turn_is_let_go_when_its_process_is_killed(token_path: Path) -> None:
    with Child.python(HOLDER, str(token_path)) as child:
        child.wait_for_line("^held$")
        with turn(str(token_path), 0.0, lambda seconds: None) as is_ours:
            assert not is_ours
        waiting = threading.Event()

        def pause(seconds: float) -> None:
            if not waiting.is_set():
                waiting.set()
                child.kill()
                child.wait()

        with turn(str(token_path), 30.0, pause) as is_ours:
            assert is_ours and waiting.is_set()
    assert os.listdir(token_path.parent) == []


def test_a_process_that_hangs_in_its_turn_is_not_waited_for_for_ever(
    uuapp: Sandbox,
    config: Dict[str, Any],
    token_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uun_iot_client.token._LONGEST_TURN", 0.3)
    with Child.python(HOLDER, str(token_path)) as child:
        child.wait_for_line("^held$")
        child.signal(signal.SIGSTOP)
        assert UuAppClient(config, refresh_token_on_init=False).get(COMMAND)[1] is None
        child.signal(signal.SIGCONT)
    assert uuapp.grants == 1
    assert "another process has been at it" in caplog.text


def test_a_call_does_not_wait_longer_for_another_process_than_it_may(
    uuapp: Sandbox, config: Dict[str, Any], token_path: Path
) -> None:
    with Child.python(HOLDER, str(token_path)) as child:
        child.wait_for_line("^held$")
        client = UuAppClient(config, refresh_token_on_init=False)
        start = time.monotonic()
        _, exc = client.get(COMMAND, deadline=0.2)
        assert isinstance(exc, TokenError)
        assert time.monotonic() - start < 10
        client._gateway_stopping(5.0)
        _, exc = client.get(COMMAND)
        assert exc is not None and "stopping" in str(exc)


def test_a_token_that_lives_is_used_while_another_process_refreshes_it(
    uuapp: Sandbox, config: Dict[str, Any], token_path: Path
) -> None:
    uuapp.tokens.lifetime = 100
    client = UuAppClient(config, token_leeway=99)
    with Child.python(HOLDER, str(token_path)) as child:
        child.wait_for_line("^held$")
        uuapp.tokens.lifetime = 1800
        assert eventually(client.is_token_expired, timeout=20)
        assert client.refresh_token() is False
        assert client.get(COMMAND)[1] is None
        assert uuapp.grants == 1
    assert client.refresh_token() is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
# since Python 3.12 a fork beside threads is a warning; this child runs nothing that could wait
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_keep_a_turn(token_path: Path) -> None:
    read, write = os.pipe()
    with turn(str(token_path), 0.0, lambda seconds: None) as is_ours:
        assert is_ours
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the parent closes its end
            os._exit(0)
        os.close(read)
    with turn(str(token_path), 0.0, lambda seconds: None) as is_ours:
        assert is_ours
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
