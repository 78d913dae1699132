"""`hatch run bench storage`: all tables in one run."""

from __future__ import annotations

import argparse
import sqlite3
from dataclasses import replace
from typing import Callable, List, Tuple

from benchmarks import machine
from benchmarks.table import Table, show

from . import contenders, loading, putting, saving, sending, stall
from .entry import SIZE
from .plan import QUICK, Plan, Run

#: in this order; each returns its table
MEASUREMENTS: Tuple[Callable[[Run], Table], ...] = (
    putting.appends,
    putting.merges,
    loading.loads,
    saving.saves,
    sending.sends,
    stall.stalls,
)


def main(arguments: List[str]) -> int:
    options = parser().parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    if options.sizes:
        plan = replace(plan, sizes=tuple(options.sizes))
    if options.smaller > 1:
        plan = plan.smaller(options.smaller)
    found = contenders.find(with_peers=not options.no_peers)
    with machine.scratch(options.directory) as folder:
        where = (
            f"{machine.described(folder)}; SQLite {sqlite3.sqlite_version}; entries of "
            f"{SIZE} bytes of JSON"
        )
        run = Run(plan, found, folder)
        run.tell(where)
        tables = [measurement(run) for measurement in MEASUREMENTS]
        run.tell("done")
    show("storage", where, tables, options.markdown)
    if found.missing:
        print(f"\n{found.missing[0].upper()}{found.missing[1:]}.")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="hatch run bench storage",
        description="Measure the backed-up storage beside the published one, SQLite, and queues "
        "on disk. All in one run of some minutes, as medians and in relation to a raw write and "
        "fsync of the same bytes: what else the machine does changes the times, hardly the ratios.",
    )
    result.add_argument("--quick", action="store_true", help="less of all, in under a minute")
    result.add_argument("--markdown", action="store_true", help="print the tables for the docs")
    result.add_argument("--no-peers", action="store_true", help="install and measure no peers")
    result.add_argument(
        "--directory", help="where to put the files; by default, a folder for temporary files"
    )
    result.add_argument(
        "--sizes", type=int, nargs="+", metavar="N", help="stored entries at which to append"
    )
    result.add_argument(
        "--smaller",
        type=int,
        default=1,
        metavar="N",
        help="divide all sizes and numbers by N, to try the benchmark itself",
    )
    return result
