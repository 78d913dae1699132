"""A long row of appends to a large store: how long the longest take, compactions included."""

from __future__ import annotations

import os
import shutil
import time
from typing import List

from benchmarks.samples import median, quantile
from benchmarks.table import Table, figure, number, ratio

from .child import Child, fill
from .plan import Run
from .stores import Ours, Raw

BURST = 50


def stalls(run: Run) -> Table:
    """Measure it, in turn with as many raw writes.

    The file is written with a little more than half of the entries, the others are merged
    before the row begins: a journal that is compacted when it outgrows the file will be so
    within the row.
    """
    at, appends = run.plan.stall_at, run.plan.stall_appends
    run.tell(f"{number(appends)} appends from {number(at)} on")
    folder, python = run.fresh(), run.contenders.python[Ours]
    part = at * 45 // 1000
    fill(Ours, python, folder, at - 10 * part)
    spent: List[float] = []
    written: List[float] = []
    compactions = 0
    with Child(Ours, python, folder) as ours, Child(Raw, python, folder) as raw:
        ours.ask("open", count=at - 10 * part)
        for _ in range(10):
            ours.ask("put", size=part, times=1, seconds=0)
        raw.ask("open", count=0)
        if hasattr(os, "sync"):
            os.sync()
        stop = time.monotonic() + run.plan.stall_seconds
        while len(spent) < appends and time.monotonic() < stop:
            times = min(BURST, appends - len(spent))
            reply = ours.ask("put", size=1, times=times, seconds=run.plan.stall_seconds / 20)
            spent += reply["seconds"]
            compactions += reply["compactions"]
            written += raw.ask("put", size=1, times=len(reply["seconds"]), seconds=60)["seconds"]
        ours.check()
        ours.ask("close")
    shutil.rmtree(folder)
    result = Table(
        f"The longest of {number(len(spent))} appends in a row from {number(at)} entries on, "
        "ms (× raw)",
        ["", "median", "99 %", "99.9 %", "longest", "compactions", "samples"],
    )
    for name, samples, count in (
        (Raw.label, written, "–"),
        (Ours.label, spent, number(compactions)),
    ):
        figures = []
        for share in 0.5, 0.99, 0.999, 1.0:
            value, base = _at(samples, share), _at(written, share)
            figures.append(f"{figure(1000 * value)} ({ratio(value / base)})")
        result.rows.append([name, *figures, count, number(len(samples))])
    result.notes.append(
        "Each relative to the same quantile of the raw writes, which the machine's other work "
        "stretches too. Compactions: appends after which the backup file was another."
    )
    if len(spent) < appends:
        result.notes.append(
            f"Ended after {figure(run.plan.stall_seconds)} s, before {number(appends)} appends."
        )
    return result


def _at(samples: List[float], share: float) -> float:
    return median(samples) if share == 0.5 else quantile(samples, share)
