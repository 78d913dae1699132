"""The files of a device outlive the version: published releases read ours, and we read theirs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from uun_iot_core._version import __version__

from .published import Release, damage

RELEASES = (
    Release(
        "uun-iot", "0.12.14", "918f9dc2748c0d33293af8c6d3fb8c6aafff5b942948c70e7db68addd7b352fa"
    ),  # fmt: skip
    Release(
        "uun-iot", "0.10.1", "0c41b448f8a8607b42f68f513565b8ff7b55c303ff7bb6dfdcdf4148c830cd45"
    ),  # fmt: skip
)
TIMEOUT = 30.0

#: each prints one JSON line
TELL = """
import json, sys, uun_iot
def tell(result):
    print(json.dumps({"file": uun_iot.__file__, "version": uun_iot.__version__, "result": result}))
"""
#: argument: entries to append; prints those found before
THEIRS = """
from uun_iot.utils import Storage
path, entries = sys.argv[1], json.loads(sys.argv[2])
storage = Storage("weather", path)
tell(list(storage.data))
for entry in entries:
    storage.append(entry, backup=True)
"""
#: the same, and how many to send first; what is appended is saved by closing alone
OURS = """
from uun_iot.utils import Storage
path, entries, sent = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
with Storage("weather", path) as storage:
    tell(list(storage.data))
    if sent:
        storage.acknowledge(storage.take(sent), [])
    for entry in entries:
        storage.append(entry)
"""
#: a client that needs a token; prints the status of a command
CLIENT = """
from uun_iot import UuAppClient
response, exc = UuAppClient(json.loads(sys.argv[1])).get("weather/get")
tell(None if exc is not None else response.status_code)
"""

FIRST = [
    {"temperature": 21.5, "timestamp": "2024-02-29T12:00:00.000Z", "sensor": {"id": 7, "ok": True}},
    {"name": "žluťoučký 温度 \U0001f327", "note": 'quote " backslash \\ \n\t\x7f'},
    [1, -2.5e-07, None, False, [], {}, 2**63],
    "text",
    0,
    None,
]
SECOND: List[Any] = [{"added": "by the published one", "values": [0.1, 1e300]}, "ž"]
THIRD: List[Any] = [{"added": "by this one"}]


@pytest.fixture(params=RELEASES, ids=str)
def published(request: pytest.FixtureRequest, installed: Callable[[Release], Path]) -> Path:
    """The directory that a published release is installed in."""
    place = installed(request.param)
    assert damage(request.param, place) == []
    return place


def run(script: str, *arguments: Any, installed: Optional[Path] = None) -> Any:
    """Run a script with a published release, or with what is under test; return what it told."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    if installed is not None:
        path = [str(installed), os.environ.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    words = [word if isinstance(word, str) else json.dumps(word) for word in arguments]
    with Child([sys.executable, "-c", TELL + script, *words], env=env) as child:
        assert child.wait(TIMEOUT) == 0, child.errors
        (line,) = child.lines
    told: Dict[str, Any] = json.loads(line)
    # what it imported is what is meant
    if installed is None:
        assert told["version"] == __version__
    else:
        assert installed in Path(told["file"]).parents
        assert f"uun-iot-{told['version']}-" in installed.name
    return told["result"]


def test_a_published_release_reads_what_closing_saved_and_we_read_what_it_wrote(
    published: Path, tmp_path: Path
) -> None:
    path = tmp_path / "backup" / "weather.json"
    assert run(OURS, str(path), FIRST, 0) == []
    assert json.loads(path.read_text(encoding="utf-8")) == FIRST
    assert run(THEIRS, str(path), SECOND, installed=published) == FIRST
    assert run(OURS, str(path), THIRD, 2) == FIRST + SECOND
    assert run(THEIRS, str(path), [], installed=published) == FIRST[2:] + SECOND + THIRD
    # to and fro, nothing was set aside as damaged
    assert not list(path.parent.glob("*.bad*"))


def test_a_file_that_a_published_release_made_is_taken_over(
    published: Path, tmp_path: Path
) -> None:
    path = tmp_path / "backup" / "weather.json"
    assert run(THEIRS, str(path), FIRST, installed=published) == []
    assert run(OURS, str(path), SECOND, len(FIRST)) == FIRST
    assert run(THEIRS, str(path), [], installed=published) == SECOND
    assert run(OURS, str(path), [], len(SECOND)) == SECOND
    assert run(THEIRS, str(path), THIRD, installed=published) == []  # an empty list is a file too
    assert run(OURS, str(path), [], 0) == THIRD


@pytest.mark.parametrize("first", ["published", "ours"])
def test_one_token_serves_a_published_client_and_ours(
    published: Path, uuapp: Sandbox, tmp_path: Path, first: str
) -> None:
    token_path = tmp_path / "oidc-token"
    config = uuapp.configuration(token_path=str(token_path))
    order = [published, None] if first == "published" else [None, published]
    for installed in order:
        assert run(CLIENT, config, installed=installed) == 200
        assert uuapp.grants == 1
    token = json.loads(token_path.read_text(encoding="utf-8"))
    assert {"id_token", "expires_at", "expires_in"} <= set(token)
