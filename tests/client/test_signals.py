"""What a signal handler of the user's raises in the middle of a call is theirs, and comes out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Type

import pytest

from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from uun_iot_client import RetryPolicy, UuAppClient
from uun_iot_client.threads import start

COMMAND = "weather/add"
GRANT = "oidc/grantToken"


class Interrupted(Exception):
    """An ordinary exception of an application."""


@contextlib.contextmanager
def raising(kind: Type[Exception]) -> Iterator[Callable[[], None]]:
    """Have SIGUSR1 raise in the main thread; give what sends it there."""

    def handler(number: int, frame: Any) -> None:
        raise kind("from the handler")

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupted(
    uuapp: Sandbox, command: str, kind: Type[Exception], call: Callable[[], object]
) -> None:
    """Make a call, and let the signal come when the server has its request."""
    slow = uuapp.faults.add("delay", command=command, seconds=60)
    seen = len(uuapp.requests)
    with raising(kind) as send:

        def when_asked() -> None:
            if uuapp.wait_for(
                lambda: any(each.command == command for each in uuapp.requests[seen:]), timeout=30
            ):
                send()

        sender = threading.Thread(target=when_asked)
        sender.start()
        with pytest.raises(kind, match="^from the handler$"):
            call()
        sender.join(30)
    uuapp.faults.remove(slow)


@pytest.mark.parametrize("kind", [Interrupted, RuntimeError, ValueError])
@pytest.mark.parametrize("method", ["get", "post", "command"])
def test_it_comes_out_of_a_call_that_is_as_good_as_new_after_it(
    uuapp: Sandbox, client: UuAppClient, method: str, kind: Type[Exception]
) -> None:
    client.refresh_token()
    interrupted(uuapp, COMMAND, kind, lambda: getattr(client, method)(COMMAND, {"n": 1}))
    assert client.get(COMMAND, {"n": 2})[1] is None
    assert uuapp.received(COMMAND)[-1] == {"n": 2}


@pytest.mark.parametrize("kind", [Interrupted, ValueError])
def test_it_comes_out_of_a_grant_which_counts_as_no_failure(
    uuapp: Sandbox, client: UuAppClient, kind: Type[Exception]
) -> None:
    interrupted(uuapp, GRANT, kind, lambda: client.get(COMMAND))
    assert client.get(COMMAND)[1] is None  # no cool-down


def test_it_ends_the_attempts_of_a_policy(uuapp: Sandbox, client: UuAppClient) -> None:
    client.refresh_token()
    policy = RetryPolicy(attempts=4, backoff=0.0)
    interrupted(uuapp, COMMAND, Interrupted, lambda: client.get(COMMAND, retry=policy))
    assert sum(each.command == COMMAND for each in uuapp.requests) == 1


def test_it_opens_no_breaker(uuapp: Sandbox, config: Dict[str, Any]) -> None:
    client = UuAppClient(config, breaker_failures=1)
    interrupted(uuapp, COMMAND, Interrupted, lambda: client.get(COMMAND))
    assert client.get(COMMAND)[1] is None


def test_it_comes_out_of_the_renewal_of_a_refused_token(
    uuapp: Sandbox, client: UuAppClient
) -> None:
    client.refresh_token()
    uuapp.revoke_tokens()
    interrupted(uuapp, GRANT, Interrupted, lambda: client.post(COMMAND))
    assert client.post(COMMAND)[1] is None


#: interrupts calls at random moments, most of which ask for a token too; after each hundred
#: there is one call that is left alone, and must find nothing locked
AT_RANDOM = """
import json, logging, os, random, signal, sys, time
from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient

class Interrupted(Exception):
    pass

def handler(number, frame):
    if armed:
        raise Interrupted

armed, interrupted, random = False, 0, random.Random(int(sys.argv[2]))
logging.disable(logging.CRITICAL)
signal.signal(signal.SIGALRM, handler)
with Sandbox(directory=sys.argv[3]) as uuapp:
    os.environ["REQUESTS_CA_BUNDLE"] = uuapp.ca_file
    config = uuapp.configuration(token_path=os.path.join(sys.argv[3], "token"))
    client = UuAppClient(config, deadline=20)
    for number in range(1, int(sys.argv[1]) + 1):
        if random.random() < 0.5:
            uuapp.revoke_tokens()
        if random.random() < 0.1:
            client.close()
        call = random.choice([client.get, client.post, client.multipart])
        try:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.012))
                call("weather/add", {})
            finally:
                armed = False  # it may come here, too
        except Exception as exc:
            # libraries below may raise an error of their own while they clean up after it
            while exc is not None and not isinstance(exc, Interrupted):
                exc = exc.__context__
            if exc is None:
                raise
            interrupted += 1
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if number % 100 == 0:
            client.reset_breaker()
            start = time.monotonic()
            _, exc = client.get("weather/add", {})
            print(json.dumps([time.monotonic() - start, None if exc is None else str(exc)]))
    print("interrupted:", interrupted)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rounds", [400, pytest.param(8000, marks=pytest.mark.long)])
def test_whenever_it_comes_nothing_stays_locked(tmp_path: Path, rounds: int, seed: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with Child.python(AT_RANDOM, str(rounds), str(seed), str(tmp_path), env=env) as child:
        assert child.wait(60 + rounds / 10) == 0, child.errors[-20:]
        *left_alone, last = child.lines
    assert len(left_alone) == rounds // 100
    for line in left_alone:
        seconds, error = json.loads(line)
        assert error is None and seconds < 5
    assert int(last.split()[1]) > rounds // 10


def test_starting_a_thread_hides_no_exception_of_a_signal_handler() -> None:
    """`Thread.start` does, where the handler raises when the thread has just begun."""

    class Begun(threading.Thread):
        def start(self) -> None:
            try:
                raise Interrupted("from the handler")
            except Interrupted:
                raise KeyError(self)  # noqa: B904  # as the standard library has it

    with pytest.raises(Interrupted, match="^from the handler$"):
        start(Begun())

    class Refused(threading.Thread):
        def start(self) -> None:
            raise KeyError("from the handler")

    with pytest.raises(KeyError, match="from the handler"):
        start(Refused())
