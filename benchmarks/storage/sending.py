"""A cycle of sending in an outage: nothing could be sent, all of it stays."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import Dict, List, Type

from benchmarks.samples import median
from benchmarks.table import Table, figure, number, ratio

from .child import Child, Reply
from .entry import SIZE
from .plan import Run
from .queues import SQLite
from .stores import Ours, Published, Raw, Store


def sends(run: Run) -> Table:
    """Measure it, the stores in turn, with raw writes of one entry between."""
    at = run.plan.send_at
    run.tell(f"sending {number(at)} in an outage")
    folder = run.fresh()
    stores = run.contenders.among(Ours, Published, SQLite)
    replies: Dict[Type[Store], List[Reply]] = {store: [] for store in stores}
    written: List[float] = []
    with ExitStack() as stack:
        raw, *children = [
            stack.enter_context(Child(each, run.contenders.python[each], folder / each.__name__))
            for each in run.contenders.among(Raw, *stores)
        ]
        for child in (raw, *children):
            child.ask("fill", count=at)
            child.ask("open", count=at)
        for _ in range(run.plan.sends):
            for child in children:
                written += raw.ask("put", size=1, times=5, seconds=1)["seconds"]
                replies[child.store].append(child.ask("send"))
        for child in children:
            child.check()
    shutil.rmtree(folder)
    unit = median(written)
    result = Table(
        f"Sending {number(at)} entries in an outage",
        ["", "ms (× raw)", "bytes written", "syncs", "renames", "samples"],
    )
    size = str(SIZE + 1)  # and the end of the line
    row = [Raw.label, f"{figure(1000 * unit)} (1.00×)", size, "1", "0", number(len(written))]
    result.rows.append(row)
    for store, cycles in replies.items():
        seconds = median([each["seconds"] for each in cycles])
        size, syncs, renames = (_count(cycles, field) for field in ("bytes", "syncs", "renames"))
        if store is SQLite:  # its calls are made in C, where they are not counted
            syncs = renames = "0" if size == "0" else "–"
        result.rows.append(
            [
                store.label,
                f"{figure(1000 * seconds)} ({ratio(seconds / unit)})",
                size,
                syncs,
                renames,
                number(len(cycles)),
            ]
        )
    result.notes.append(
        "Medians of one cycle: take all, everything failed, keep it. Raw: one write and fsync of "
        "one entry, in turn with the cycles. Bytes: all that the process gave to write calls."
    )
    if Published in stores:
        result.notes.append(
            f"{Published.label}: its _send_storage empties the file and merges back what failed; "
            "a crash between the two loses all."
        )
    return result


def _count(cycles: List[Reply], field: str) -> str:
    known = [each[field] for each in cycles if each[field] is not None]
    return number(round(median(known))) if known else "–"
