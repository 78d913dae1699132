"""Names of servers: a resolver that does not answer keeps no call beyond its time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import requests

from tests.client.clients import hurried
from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from uun_iot_client import NetworkError, TokenServiceUnreachable, UuAppClient
from uun_iot_client.resolver import Resolver, is_address

COMMAND = "weather/add"
HOST = "uuapp.example"
#: seconds; what must end by its deadline of a fraction of one ends far before that
LATE = 10.0

Answers = Dict[str, List[str]]


class System:
    """Stands for the system's resolver, which answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: List[str] = []
        self.by: List[Tuple[str, threading.Thread]] = []  # who asked for each, addresses included
        self.answers: Answers = {}
        self.goes_on = threading.Event()
        self._real = socket.getaddrinfo
        self._changed = threading.Condition()
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        self.by.append((str(host), threading.current_thread()))
        if not isinstance(host, str) or not (host.endswith(".example") or host in self.answers):
            return self._real(host, port, *args, **kwargs)
        with self._changed:
            self.asked.append(host)
            self._changed.notify_all()
        self.goes_on.wait(60)
        answer = self.answers.get(host)
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, port or 0)) for address in answer]

    def wait_for(self, number: int) -> bool:
        """Wait until it was asked so often."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.asked) >= number, 10)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System(monkeypatch)
    yield system
    system.goes_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("uun_iot address"):
            thread.join(10)


@pytest.fixture
def hanging(uuapp: Sandbox, config: Dict[str, Any], system: System) -> Dict[str, Any]:
    """A configuration whose uuApp has a name that the system does not find."""
    config["uuApp"]["gateway"] = f"{HOST}:{uuapp.gateway.partition(':')[2]}"
    uuapp.uuapp.gateways.add(config["uuApp"]["gateway"])
    return config


def ended(exc: Any, start: float) -> None:
    assert isinstance(exc, NetworkError) and isinstance(exc, requests.ConnectTimeout)
    assert not exc.may_have_arrived
    assert f"the address of {HOST} was not found within" in str(exc)
    assert time.monotonic() - start < LATE


@pytest.mark.parametrize("method", ["get", "post", "multipart"])
@pytest.mark.parametrize("arguments", [{"deadline": 0.3}, {"connect_timeout": 0.3}])
def test_a_name_that_is_not_resolved_ends_a_call_in_its_time(
    uuapp: Sandbox, hanging: Dict[str, Any], method: str, arguments: Dict[str, float]
) -> None:
    client = hurried(hanging, **arguments)
    start = time.monotonic()
    response, exc = getattr(client, method)(COMMAND, {})
    assert response is None
    ended(exc, start)


def test_the_name_of_the_token_service_ends_a_call_in_its_time(
    uuapp: Sandbox, config: Dict[str, Any], system: System
) -> None:
    config["oidcGrantToken"]["gateway"] = HOST
    client = UuAppClient(config, refresh_token_on_init=False, deadline=0.3)
    start = time.monotonic()
    response, exc = client.get(COMMAND)
    assert response is None
    assert isinstance(exc, TokenServiceUnreachable)
    ended(exc.__cause__, start)


def test_many_calls_wait_for_one_answer(
    uuapp: Sandbox, hanging: Dict[str, Any], system: System
) -> None:
    client = hurried(hanging, deadline=2.0, breaker_failures=0)
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda _: client.get(COMMAND), range(64)))
    assert all(isinstance(exc, requests.ConnectTimeout) for _, exc in results)
    assert system.asked == [HOST]
    named = [each for each in threading.enumerate() if HOST in each.name]
    assert len(named) == 1 and named[0].daemon  # it keeps no process from ending


def test_calls_find_the_server_when_its_name_is_resolved_again(
    uuapp: Sandbox, hanging: Dict[str, Any], system: System
) -> None:
    client = hurried(hanging, deadline=0.3, breaker_failures=0)
    assert client.get(COMMAND)[1] is not None
    system.answers[HOST] = ["127.0.0.1"]
    system.goes_on.set()
    _, exc = client.get(COMMAND, deadline=10)
    # the server is there, and shows the certificate of another name
    assert isinstance(exc, requests.exceptions.SSLError)
    assert HOST in str(exc)


def test_a_name_that_there_is_not_is_an_error_at_once(
    uuapp: Sandbox, hanging: Dict[str, Any], system: System
) -> None:
    system.goes_on.set()
    client = UuAppClient(hanging)
    for _ in range(2):  # nothing is kept of the answer
        _, exc = client.get(COMMAND)
        assert isinstance(exc, requests.ConnectionError) and not isinstance(exc, requests.Timeout)
        assert HOST in str(exc) and "Name or service not known" in str(exc)
    assert system.asked == [HOST, HOST]


# -- several addresses


def test_the_next_address_is_tried_where_one_refuses(
    uuapp: Sandbox, client: UuAppClient, system: System
) -> None:
    system.goes_on.set()
    system.answers["localhost"] = ["127.0.0.2", "127.0.0.1"]
    assert client.get(COMMAND)[1] is None
    system.answers["localhost"] = ["127.0.0.2", "127.0.0.3"]
    client.close()
    _, exc = client.get(COMMAND)
    assert isinstance(exc, NetworkError) and not exc.may_have_arrived
    assert os.strerror(errno.ECONNREFUSED) in str(exc)


@contextlib.contextmanager
def out_of_reach(address: str, port: int) -> Iterator[None]:
    """Have an address take no connections, and say nothing: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((address, port))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((address, port))
        yield


def test_addresses_out_of_reach_share_the_time_of_the_connection(
    uuapp: Sandbox, config: Dict[str, Any], system: System
) -> None:
    system.goes_on.set()
    port = int(uuapp.gateway.partition(":")[2])
    client = UuAppClient(config, connect_timeout=6.5)
    client.close()
    with out_of_reach("127.0.0.2", port):
        system.answers["localhost"] = ["127.0.0.2", "127.0.0.1"]
        assert client.get(COMMAND)[1] is None
        system.answers["localhost"] = ["127.0.0.2"] * 50
        client.close()
        start = time.monotonic()
        _, exc = client.get(COMMAND, deadline=0.5)
        assert isinstance(exc, requests.ConnectTimeout)
        assert time.monotonic() - start < 3  # not 50 times that


# -- the resolver itself


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_an_address_is_none_that_anybody_is_asked_for(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1.example", "", "1.2.3"])
def test_a_name_is_no_address(host: str) -> None:
    assert not is_address(host)


def test_a_client_of_an_address_starts_no_thread_for_it(
    uuapp: Sandbox, config: Dict[str, Any], system: System
) -> None:
    port = uuapp.gateway.partition(":")[2]
    config["uuApp"]["gateway"] = config["oidcGrantToken"]["gateway"] = f"127.0.0.1:{port}"
    assert UuAppClient(config).get(COMMAND)[1] is None
    here = threading.current_thread()
    assert [thread is here for host, thread in system.by if host == "127.0.0.1"] == [True]


def test_threads_that_are_left_behind_are_few(system: System) -> None:
    resolver = Resolver(most=3)
    for number in range(3):
        with pytest.raises(TimeoutError):
            resolver.addresses(f"{number}.example", 0.01)
    with pytest.raises(socket.gaierror, match="does not answer for other hosts"):
        resolver.addresses("4.example", 60)
    with pytest.raises(TimeoutError):  # one that is asked for already may still be answered
        resolver.addresses("0.example", 0.01)
    assert len(system.asked) == 3
    system.answers["4.example"] = ["192.0.2.4"]
    system.goes_on.set()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert resolver.addresses("4.example", 10) == ["192.0.2.4"]
            break
        except socket.gaierror:
            assert time.monotonic() < deadline


def test_an_answer_that_is_long_overdue_is_asked_for_anew(system: System) -> None:
    resolver = Resolver(patience=0.0, most=2)
    with pytest.raises(TimeoutError):
        resolver.addresses(HOST, 0.01)
    with pytest.raises(TimeoutError):
        resolver.addresses(HOST, 0.01)
    assert system.asked == [HOST, HOST]
    with pytest.raises(TimeoutError):  # there may be no third thread: the last answer is as good
        resolver.addresses(HOST, 0.01)
    assert len(system.asked) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_an_answer_of_its_parents(system: System) -> None:
    resolver = Resolver()
    with pytest.raises(TimeoutError):
        resolver.addresses(HOST, 0.01)
    system.answers[HOST] = ["192.0.2.1"]
    pid = os.fork()
    if not pid:  # in the child
        status = 1
        try:
            system.goes_on = threading.Event()
            system.goes_on.set()
            status = 0 if resolver.addresses(HOST, 10) == ["192.0.2.1"] else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


# -- the system's own resolver, in a network of its own with a name server that is silent

ALONE = """
import fcntl, json, os, socket, struct, subprocess, sys, threading, time

with socket.socket() as sock:  # the loopback device of this network is off at first
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x49))
for name in ("resolv.conf", "nsswitch.conf", "hosts"):
    mount = ["mount", "--bind", os.path.join(sys.argv[2], name), "/etc/" + name]
    subprocess.run(mount, check=True)

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
answers = threading.Event()
asked = []

def serve():
    while True:
        query, client = server.recvfrom(512)
        asked.append(query)
        if not answers.is_set():
            continue
        end = query.index(b"\\0", 12) + 5
        is_a = query[end - 4 : end - 2] == b"\\0\\1"
        counts = b"\\0\\1\\0\\1\\0\\0\\0\\0" if is_a else b"\\0\\1\\0\\0\\0\\0\\0\\0"
        head = query[:2] + b"\\x81\\x80" + counts
        record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4\\x7f\\0\\0\\1" if is_a else b""
        server.sendto(head + query[12:end] + record, client)

threading.Thread(target=serve, daemon=True).start()
from uun_iot_client import UuAppClient
client = UuAppClient(json.loads(sys.argv[1]), refresh_token_on_init=False)
for seconds in (1.0, 20.0):
    start = time.monotonic()
    _, exc = client.get("weather/add", deadline=seconds)
    print(json.dumps([time.monotonic() - start, str(exc), len(asked)]))
    answers.set()
    time.sleep(max(0.0, exc.retry_in or 0.0))
"""


def alone(*command: str) -> List[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "--net", *command]


def may_be_alone() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(alone("true"), capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not may_be_alone(), reason="this system lets nobody have a network of its own")
def test_the_resolver_of_the_system_is_not_waited_for_either(
    tmp_path: Path, config: Dict[str, Any]
) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:3 attempts:3\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    (tmp_path / "hosts").write_text("")
    config["oidcGrantToken"]["gateway"] = f"{HOST}:1"
    script = [sys.executable, "-u", "-c", ALONE, json.dumps(config), str(tmp_path)]
    with Child(alone(*script)) as child:
        assert child.wait(60) == 0, child.errors
        silent, answered = (json.loads(line) for line in child.lines)
    assert silent[0] < 2.5 and silent[2] > 0  # asked once, it waits for 3 s
    assert f"the address of {HOST} was not found within" in silent[1]
    assert "refused" in answered[1]  # at the address that the name server gave
