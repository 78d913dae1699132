"""No secret appears either where many threads or processes meet, or in what the script prints."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from tests.client.leaks import everything_logged, found_in, locals_of, texts_of
from tests.client.test_secrets import SITUATIONS
from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from uun_iot_client import UuAppClient, UuCmdSession
from uun_iot_core.clock import ManualClock

COMMAND = "weather/add"
GRANT = "oidc/grantToken"
LIFE = 1800
THREADS = 64
PROCESSES = 10


def texts_of_threads(client: UuAppClient) -> List[str]:
    """Call from many threads at once, and return every text of the results."""
    session = UuCmdSession(client, COMMAND)
    calls: List[Callable[[], Any]] = [
        lambda: client.get(COMMAND),
        lambda: session.post({}),
        lambda: client.multipart(COMMAND, {"a": "b"}),
        client.refresh_token,
    ]
    barrier = threading.Barrier(THREADS)

    def one(number: int) -> List[str]:
        barrier.wait(10)
        try:
            result = calls[number % len(calls)]()
        except Exception as raised:
            return texts_of(raised) + locals_of(raised)
        exc = result[1] if isinstance(result, tuple) else None
        return [repr(result)] + ([] if exc is None else texts_of(exc) + locals_of(exc))

    with ThreadPoolExecutor(THREADS) as pool:
        texts = [text for texts in pool.map(one, range(THREADS)) for text in texts]
    return [*texts, repr(client), repr(client._token), repr(client._token._held)]


#: what happens to the token service meanwhile, and how many grants there are then
GRANTS: Dict[Optional[str], int] = {None: 1, "drop": 0, "refuse_grant": 0}


@pytest.mark.parametrize("kind", GRANTS)
@pytest.mark.parametrize("what", ["expired", "revoked"])
@pytest.mark.parametrize("opaque", [False, True])
def test_of_threads_that_meet_at_a_token(
    uuapp: Sandbox, config: Dict[str, Any], what: str, kind: Optional[str], opaque: bool
) -> None:
    uuapp.tokens.opaque = opaque
    clock = ManualClock()
    client = UuAppClient(config, clock=clock)
    if what == "expired":
        clock.advance(LIFE + 1)
    else:
        uuapp.revoke_tokens()
    if kind is not None:
        uuapp.faults.add(kind, command=GRANT)
    with everything_logged() as log:
        texts = texts_of_threads(client)
    assert uuapp.grants == 1 + GRANTS[kind]
    assert len(log.lines) > THREADS // 2
    assert found_in(texts + log.lines, uuapp.secrets) == []


#: logs all that there is to log to standard error, and prints what came of a call
CALLER = """
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from uun_iot_client import UuAppClient
client = UuAppClient(json.loads(sys.argv[1]), refresh_token_on_init=False)
print("ready")
sys.stdin.readline()
response, exc = client.post("weather/add", {"n": 1})
print(f"came: {response!r} {exc!r} {client!r} {client._token._held!r}")
if exc is not None:
    sys.stderr.write("".join(traceback.format_exception(type(exc), exc, exc.__traceback__)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, grants", [("no token", 1), ("revoked", 2), ("refuse_grant", 0), ("drop", 0)]
)
def test_of_processes_that_share_a_token_file(
    uuapp: Sandbox, config: Dict[str, Any], what: str, grants: int
) -> None:
    if what == "revoked":
        UuAppClient(config)
        uuapp.revoke_tokens()
    elif what != "no token":
        uuapp.faults.add(what, command=GRANT)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(PROCESSES) as pool:
        outputs = list(pool.map(lambda process: process.communicate("\n", 60), processes))
    assert [process.returncode for process in processes] == [0] * PROCESSES
    assert uuapp.grants == grants
    for output, errors in outputs:
        assert output.startswith("came: ")
        assert "DEBUG:urllib3" in errors  # its lines are there, too
        assert found_in((output + errors).splitlines(), uuapp.secrets) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "situation",
    ["all is well", "outage", "revoked", "wrong certificate", "dropped", "status",
     "refused always", "grant refused", "page", "redirect", "another host", "bad tokens",
     "repeated with 400", "repeated by the command", "headers that cannot be parsed", "busy"],
)  # fmt: skip
def test_of_what_the_script_prints(
    uuapp: Sandbox, config: Dict[str, Any], tmp_path: Path, situation: str
) -> None:
    uuapp.tokens.opaque = True
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    UuAppClient(config)  # leaves a token in the file
    SITUATIONS[situation](uuapp)
    for arguments in (
        ["call", COMMAND, "--data", '{"a": 1}', "--attempts", "2"],
        ["call", COMMAND, "--get", "--all"],
        ["token"],
    ):
        module = [sys.executable, "-m", "uun_iot_client", *arguments, "-vv", "-c", str(path)]
        with Child(module) as child:
            child.wait(60)
            lines, errors = child.lines, child.errors
        assert errors != []
        # the token is what was asked for, and goes to standard output alone
        printed = errors if arguments == ["token"] else lines + errors
        assert found_in(printed, uuapp.secrets) == []
