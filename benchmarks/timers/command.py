"""`hatch run bench timers`: all tables in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple, Type

from benchmarks import machine, peers
from benchmarks.samples import median
from benchmarks.table import Table, figure, number, ratio, show

from . import process
from .contenders import (
    CONTENDERS,
    APScheduler,
    APScheduler100,
    Asyncio,
    Contender,
    HeapLoop,
    Ours,
    Published,
)

#: how much is measured
FULL: Dict[str, Any] = {
    "rounds": 3,
    "seconds": 2.0,
    "imports": 41,
    "numbers": [1, 10, 100, 1_000, 5_000, 10_000],
}
QUICK: Dict[str, Any] = {"rounds": 1, "seconds": 2.0, "imports": 7, "numbers": [1, 100, 1_000]}

Reply = Dict[str, Any]
Kind = Type[Contender]


class Run:
    """One run of the benchmark.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.began = time.monotonic()
        self.missing = ""
        self.python: Dict[Kind, str] = {
            one: sys.executable for one in CONTENDERS.values() if one.requirement is None
        }
        wanted = sorted({one.requirement for one in CONTENDERS.values() if one.requirement})
        if options.no_peers:
            self.missing = "Left out by --no-peers: the published library and APScheduler."
            return
        try:
            python = peers.install(wanted)
        except peers.NotInstalled as exc:
            self.missing = f"Left out: the published library and APScheduler; {exc}."
            return
        self.python = {
            one: sys.executable if one.requirement is None else python
            for one in CONTENDERS.values()
        }

    def tell(self, what: str) -> None:
        """Say how far it is, on standard error."""
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", file=sys.stderr, flush=True)

    def measure(self, kinds: Sequence[Kind], **what: Any) -> Dict[Kind, Reply]:
        """Measure each kind in turn, several rounds; return the medians."""
        kinds = [one for one in kinds if one in self.python]
        replies: Dict[Kind, List[Reply]] = {one: [] for one in kinds}
        for _ in range(self.options.rounds):
            for kind in kinds:
                replies[kind].append(self._once(kind, what))
        return {
            kind: {key: median([one[key] for one in found]) for key in found[0]}
            for kind, found in replies.items()
        }

    def _once(self, kind: Kind, what: Reply) -> Reply:
        # what the machine puts on Python's path must not stand in for the contender's library
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        out = subprocess.run(
            [
                self.python[kind],
                "-m",
                "benchmarks.timers.worker",
                kind.__name__,
                json.dumps(what),
            ],
            cwd=machine.ROOT,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
        )
        reply: Reply = json.loads(out.stdout)
        return reply


def many(run: Run) -> List[Table]:
    """Measure numbers of timers of 1 s, that tick together and spread."""
    tables = []
    for spread in (False, True):
        how = "spread over it" if spread else "aligned"
        table = Table(
            f"Timers of 1 s, {how}",
            [
                *("timers", "of", "threads", "MB", "CPU s in 10 s"),
                *("late ms: p50", "p99", "max", "p99 : heap loop", "start ms", "stop ms", "ticks"),
            ],
        )
        for count in run.options.numbers:
            run.tell(f"{count} timers, {how}")
            kinds = [
                one
                for one in (HeapLoop, Ours, Published, APScheduler, Asyncio)
                if one.most is None or count <= one.most
            ]
            found = run.measure(
                kinds, do="many", count=count, spread=spread, seconds=run.options.seconds
            )
            for kind, one in found.items():
                table.rows.append(
                    [
                        number(count),
                        kind.label,
                        figure(one["threads"]),
                        figure(max(0.0, one["memory"])),
                        figure(one["cpu"]),
                        figure(one["p50"]),
                        figure(one["p99"]),
                        figure(one["max"]),
                        ratio(one["p99"] / found[HeapLoop]["p99"]),
                        figure(one["start"]),
                        figure(one["stop"]),
                        f"{one['called']:.0%}",
                    ]
                )
        table.notes.append(
            "Lateness from the second tick on. Start is the sum of the calls that start the "
            "timers, stop ends when no handler runs. Ticks: those made of those due."
        )
        if not spread and Published in run.python:
            table.notes.append(
                f"{Published.label} is not measured above {number(Published.most or 0)}: 5 000 "
                "threads did not start together within two minutes."
            )
        tables.append(table)
    return tables


def blocked(run: Run) -> Table:
    """Measure fast timers beside slow handlers."""
    run.tell("fast timers beside slow handlers")
    seconds = run.options.seconds * 2
    table = Table(
        f"100 timers of 0.25 s beside 20 handlers that block for {seconds / 3:.3g} s of each "
        f"{seconds * 2 / 3:.3g} s",
        ["of", "threads", "late ms: p50", "p99", "max", "ticks"],
    )
    found = run.measure(
        [Ours, Published, APScheduler100, APScheduler],
        do="blocked",
        slow=20,
        fast=100,
        seconds=seconds,
    )
    for kind, one in found.items():
        late = [figure(one[key]) for key in ("p50", "p99", "max")]
        table.rows.append([kind.label, figure(one["threads"]), *late, f"{one['called']:.0%}"])
    table.notes.append(
        "All start together. Ticks: those made of those due; what comes more than a period late "
        "counts as missed. asyncio is left out: there a handler that blocks holds up all others."
    )
    return table


def small(run: Run) -> Table:
    """Measure what a process pays that does next to nothing."""
    run.tell("import, and an idle gateway")
    table = Table("A process that does next to nothing", ["what", "figure", "beside"])
    imports = process.imports(run.options.imports)
    table.rows.append(
        [
            "import uun_iot_core",
            f"{figure(imports['own'])} ms",
            f"{ratio(imports['own'] / imports['standard'])} the standard modules it imports",
        ]
    )
    for library, period in (("uun_iot_core", 1.0), ("uun_iot_core", 10.0), ("uun_iot", 1.0)):
        idle = process.idle(library, period, run.options.seconds * 2)
        table.rows.append(
            [
                f"idle {library}.Gateway, one timer of {period:g} s",
                f"{figure(idle['memory'])} MB",
                f"{idle['wakeups']:.2f} wake-ups/s at {idle['ticks']:.2f} ticks/s",
            ]
        )
    return table


def main(arguments: List[str]) -> int:
    options = parser().parse_args(arguments)
    defaults = QUICK if options.quick else FULL
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    run = Run(options)
    where = f"{machine.described(Path.cwd())}; medians of {options.rounds} rounds, interleaved"
    run.tell(where)
    tables: Tuple[Table, ...] = (*many(run), blocked(run), small(run))
    run.tell("done")
    show("timers", where, tables, options.markdown)
    if run.missing:
        print(f"\n{run.missing}")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="hatch run bench timers",
        description="Measure timers beside the published ones, APScheduler, asyncio, and the "
        "least that a loop over a heap can do. All in one run of some fifteen minutes, each in a "
        "process of its own and in turn, so that what else the machine does meets all alike.",
    )
    result.add_argument("--quick", action="store_true", help="less of all, in about two minutes")
    result.add_argument("--markdown", action="store_true", help="print the tables for the docs")
    result.add_argument("--no-peers", action="store_true", help="install and measure no peers")
    result.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    result.add_argument("--seconds", type=float, metavar="S", help="how long each is measured")
    result.add_argument("--imports", type=int, metavar="N", help="how often it is imported")
    result.add_argument("--numbers", type=int, nargs="+", metavar="N", help="how many timers")
    return result
