"""`hatch run bench client`: all in one run, contenders by turns."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from benchmarks import machine, peers
from benchmarks.samples import quantile
from benchmarks.table import Table, figure, ratio, show

PUBLISHED = "uun-iot==0.12.14"
HERE = Path(__file__).resolve().parent
#: what is sent, with how many threads, and what is hoped for beside a bare session
CALLS: Tuple[Tuple[str, int, str], ...] = (
    ("get", 1, "1.1"),
    ("post", 1, "1.1"),
    ("session", 1, "1.1"),
    ("post", 8, "1.2"),
)
#: turns of each contender in a round: many short ones meet the same weather
SLICES = 8
IMPORTS = {
    "bare": "import requests, requests_toolbelt",
    "ours": "import uun_iot_client",
    "published": "import uun_iot",
}


class Bench:
    """The server and the contenders.

    Args:
        folder: for tokens and the certificate.
        published: the interpreter that has the published client; None to leave it out.
    """

    def __init__(self, folder: Path, published: Optional[str]) -> None:
        self.folder = folder
        self.interpreters = {"bare": sys.executable, "ours": sys.executable}
        if published is not None:
            self.interpreters["published"] = published
        ca_file = str(folder / "ca.pem")
        self.env = {
            **os.environ,
            "REQUESTS_CA_BUNDLE": ca_file,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            # some installers compile what they install, others do not, nor do all environments
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        }
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._server = _started([sys.executable, str(HERE / "server.py"), ca_file], self.env)
        self._port = _line(self._server)

    def close(self) -> None:
        _ended(self._server)

    def config(self, name: str) -> str:
        """Return the configuration of a contender, each with a token file of its own."""
        app = {"gateway": f"localhost:{self._port}", "uuAppName": "weather", "awid": "1"}
        token_path = str(self.folder / f"token-{name}")
        grant = {**app, "clientId": "1", "clientSecret": "2", "uuCmd": "oidc/grantToken"}
        config: Dict[str, Any] = {
            "uuApp": app,
            "uuThing": {"uuIdentity": "1-1", "accessCode1": "code1", "accessCode2": "code2"},
            "oidcGrantToken": {**grant, "tokenPath": token_path},
        }
        return json.dumps(config)

    def start(self, name: str) -> "subprocess.Popen[str]":
        command = [self.interpreters[name], str(HERE / "worker.py"), name, self.config(name)]
        return _started(command, self.env)


@contextlib.contextmanager
def running(bench: Bench) -> Iterator[Dict[str, "subprocess.Popen[str]"]]:
    workers = {name: bench.start(name) for name in bench.interpreters}
    try:
        yield workers
    finally:
        for worker in workers.values():
            _ended(worker)


def requests_table(bench: Bench, rounds: int, number: int) -> Table:
    """Measure requests; each round asks all contenders, so that all meet the same weather."""
    table = Table("milliseconds a request, and how many times a bare session's", [])
    table.columns = ["", "bare session", "ours", *_published_columns(bench, "published"), "aim"]
    with running(bench) as workers:
        for method, threads, aim in CALLS:
            samples: Dict[str, List[float]] = {name: [] for name in workers}
            for turn in range(rounds * SLICES + 1):
                for name, worker in _in_turn(workers, turn):
                    if name == "published" and turn % SLICES > 1:
                        continue  # without a pool it takes many times as long: fewer are enough
                    seconds = float(_asked(worker, f"{method} {threads} {number}"))
                    if turn:  # the first one warms up
                        samples[name].append(seconds)
            label = f"{method}, {threads} thread{'s' if threads > 1 else ''}"
            table.rows.append([label, *_cells(samples), aim])
    table.notes.append(
        f"Contenders take turns of {number} requests. A figure is what a quarter of its turns did"
        " not exceed: what else the machine does makes the others longer, never shorter."
    )
    return table


def _in_turn(workers: Dict[str, Any], turn: int) -> List[Tuple[str, Any]]:
    """Return the contenders, each time another one first."""
    found = list(workers.items())
    at = turn % len(found)
    return found[at:] + found[:at]


def first_table(bench: Bench, rounds: int) -> Table:
    """Measure from the start of a process with a token file to its first reply."""
    samples: Dict[str, List[float]] = {name: [] for name in bench.interpreters}
    for turn in range(rounds + 1):
        for name, _ in _in_turn(bench.interpreters, turn):
            start = time.perf_counter()
            worker = bench.start(name)
            _asked(worker, "first")
            seconds = time.perf_counter() - start
            _ended(worker)
            if turn:
                samples[name].append(seconds)
    table = Table("milliseconds from the start of Python to the first reply", [])
    table.columns = ["", "bare session", "ours", *_published_columns(bench, "published")]
    table.rows.append(["first request", *_cells(samples)])
    return table


def import_table(bench: Bench, rounds: int) -> Table:
    """Measure imports, each in a fresh process."""
    samples: Dict[str, List[float]] = {name: [] for name in bench.interpreters}
    for turn in range(rounds + 1):
        for name, python in _in_turn(bench.interpreters, turn):
            script = (
                f"import time; a = time.perf_counter(); {IMPORTS[name]}; "
                "print(time.perf_counter() - a)"
            )
            result = subprocess.run(
                [python, "-c", script], capture_output=True, text=True, check=True, env=bench.env
            )
            if turn:
                samples[name].append(float(result.stdout))
    table = Table("milliseconds of an import", [])
    table.columns = [
        "",
        "requests, requests_toolbelt",
        "uun_iot_client",
        *_published_columns(bench, "published uun_iot"),
    ]
    table.rows.append(["import", *_cells(samples)])
    return table


def _published_columns(bench: Bench, heading: str) -> List[str]:
    return [heading] if "published" in bench.interpreters else []


def _cells(samples: Dict[str, List[float]]) -> List[str]:
    cells = []
    best = {name: quantile(found, 0.25) for name, found in samples.items()}
    for name, seconds in best.items():
        cell = figure(seconds * 1000)
        if name != "bare":
            cell += f" ({ratio(seconds / best['bare'])})"
        cells.append(cell)
    return cells


def _started(command: List[str], env: Dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit(f"bench client: a process ended with status {process.wait()}")
    return line


def _asked(process: "subprocess.Popen[str]", line: str) -> str:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return _line(process)


def _ended(process: "subprocess.Popen[str]") -> None:
    process.communicate()


def main(arguments: List[str]) -> int:
    options = parser().parse_args(arguments)
    published: Optional[str] = None
    missing = "the published client was left out"
    if not options.no_peers:
        try:
            published = peers.install([PUBLISHED])
        except peers.NotInstalled as exc:
            missing = str(exc)
    with machine.scratch(None) as folder:
        where = machine.described(folder)
        bench = Bench(folder, published)
        try:
            rounds, number = options.rounds, options.number
            tables = [
                requests_table(bench, rounds, number),
                first_table(bench, rounds),
                import_table(bench, rounds),
            ]
        finally:
            bench.close()
    show("client", f"{where}, on loopback with TLS", tables, options.markdown)
    if published is None:
        print(f"\n{missing[0].upper()}{missing[1:]}.")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="hatch run bench client",
        description=f"Measure the client beside a bare pooled requests.Session and {PUBLISHED}, "
        "all against one TLS server on this machine, in one run.",
    )
    result.add_argument("--rounds", type=int, default=20, metavar="N", help="of each measurement")
    result.add_argument(
        "--number", type=int, default=40, metavar="N", help="requests of a contender in a turn"
    )
    result.add_argument("--markdown", action="store_true", help="print the tables for the docs")
    result.add_argument("--no-peers", action="store_true", help="leave the published client out")
    return result
