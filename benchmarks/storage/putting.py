"""The cost of storing one entry, or some at once, beside the raw write of the same bytes."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import Dict, List, Sequence, Tuple, Type

from benchmarks.samples import median
from benchmarks.table import Table, figure, number, ratio

from .child import Child
from .plan import Run
from .stores import Raw, Store

#: puts in a row before the next store has its turn
BURST = 10
#: also of one that takes longer than its time
FEWEST = 3
#: how many entries a store may grow by, or by half if that is more, until it is filled anew
GROWTH = 50

Cell = Tuple[str, int]


def measure(run: Run, at: int, size: int) -> Dict[Type[Store], Cell]:
    """Return what it costs to put so many entries at once into stores that hold so many.

    All stores stand open in a child each and have their turns one after the other, and before
    each turn the raw file has one: what one takes is set in relation to the raw writes just
    before, so that what else the machine does meets both.
    """
    folder = run.fresh()
    stores = [each for each in run.contenders.putting() if at <= each.largest]
    rounds = max(1, run.plan.samples // BURST)
    times: Dict[Type[Store], List[float]] = {each: [] for each in stores}
    beside: Dict[Type[Store], List[float]] = {each: [] for each in stores}
    grown = dict.fromkeys(stores, 0)
    with ExitStack() as stack:
        raw, *children = [
            stack.enter_context(Child(each, run.contenders.python[each], folder / each.__name__))
            for each in stores
        ]
        for do in "fill", "open":  # all at once: this is not measured
            for child in (raw, *children):
                child.begin(do, count=at)
            for child in (raw, *children):
                child.end()
        _settle()
        limit = max(0.05, run.plan.seconds / rounds)
        for turn in range(rounds):
            first = turn % len(children)
            for child in children[first:] + children[:first]:
                spent = times[child.store]
                if len(spent) < FEWEST or sum(spent) < run.plan.seconds:
                    written = raw.ask("put", size=size, times=BURST, seconds=limit)["seconds"]
                    put = child.ask("put", size=size, times=BURST, seconds=limit)["seconds"]
                    spent += put
                    beside[child.store] += written
                    times[Raw] += written
                    grown[child.store] += size * len(put)
                    if grown[child.store] >= max(at // 2, GROWTH):
                        _renew(child, at)
                        grown[child.store] = 0
        for child in children:
            child.check()
            child.ask("close")
    beside[Raw] = times[Raw]
    shutil.rmtree(folder)
    cells: Dict[Type[Store], Cell] = {}
    for store, spent in times.items():
        share = median(spent) / median(beside[store])
        cells[store] = f"{figure(1000 * median(spent))} ({ratio(share)})", len(spent)
    return cells


def _renew(child: Child, at: int) -> None:
    child.check()
    child.ask("renew", count=at)
    _settle()


def _settle() -> None:
    if hasattr(os, "sync"):
        os.sync()  # what filling left to write would be written in somebody's turn


def appends(run: Run) -> Table:
    """Measure one durable append, at each size."""
    result = table(
        run,
        "One append with backup, ms (× raw), by the number of stored entries",
        [(number(size), size, 1) for size in run.plan.sizes],
    )
    measured = (store for store in run.contenders.putting() if store.note)
    result.notes += [f"{store.label}: {store.note}." for store in measured]
    return result


def merges(run: Run) -> Table:
    """Measure some entries at once."""
    at = run.plan.merge_at
    return table(
        run,
        f"One durable merge at {number(at)} stored entries, ms (× raw), by the number merged",
        [(number(size), at, size) for size in run.plan.merges],
    )


def table(run: Run, title: str, columns: Sequence[Tuple[str, int, int]]) -> Table:
    cells = []
    for heading, at, size in columns:
        run.tell(f"putting {size} at {number(at)}")
        cells.append((heading, measure(run, at, size)))
    result = Table(title, ["", *(heading for heading, _ in cells), "samples"])
    for store in run.contenders.putting():
        row = [column.get(store, ("–", 0)) for _, column in cells]
        counts = [count for _, count in row if count]
        if not counts:
            continue
        few, many = min(counts), max(counts)
        samples = number(many) if few == many else f"{number(few)} to {number(many)}"
        label = store.label if store.synced else f"{store.label} (not synced)"
        result.rows.append([label, *(text for text, _ in row), samples])
    result.notes.append(
        "Medians; in brackets, relative to the median of one write and one fsync of the same "
        f"bytes ({BURST} of them before each {BURST} of a store). A store that has grown by half, "
        f"and by {GROWTH} entries, is filled anew. –: left out, as it would take minutes."
    )
    return result
