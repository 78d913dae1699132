"""Loading a stored backlog: time and memory, beside `json.load` of the same file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from benchmarks.samples import median
from benchmarks.table import Table, figure, number, ratio

from .child import Child, Reply, fill
from .plan import Run
from .queues import LoadedSQLite
from .stores import Json, Ours, Published

MIB = 1024 * 1024


def loads(run: Run) -> Table:
    """Measure it, each time in a fresh child and on a fresh copy, in turn."""
    at = run.plan.load_at
    run.tell(f"loading {number(at)}")
    prepared: Dict[str, Tuple[type, Path]] = {}
    for store in run.contenders.among(Json, Ours, Published, LoadedSQLite):
        folder = run.fresh()
        fill(store, run.contenders.python[store], folder, at)
        prepared[store.label] = store, folder
        if store is Ours:
            prepared[f"{store.label}, after a kill"] = store, _killed(run, at)
    replies: Dict[str, List[Reply]] = {name: [] for name in prepared}
    for _ in range(run.plan.loads):
        for name, (store, folder) in prepared.items():
            copy = run.fresh()
            shutil.copytree(folder, copy)
            with Child(store, run.contenders.python[store], copy) as child:
                replies[name].append(child.ask("open", count=at))
                child.check()
                child.die()  # closing may write; that is measured elsewhere
            shutil.rmtree(copy)
    result = Table(
        f"Loading {number(at)} entries (× json.load of the same file)",
        ["", "ms", "peak memory, MiB", "memory kept, MiB", "samples"],
    )
    for name, row in replies.items():
        cells = [
            _cell(row, replies[Json.label], field, unit)
            for field, unit in (("seconds", 1 / 1000), ("peak", MIB), ("kept", MIB))
        ]
        result.rows.append([name, *cells, number(len(row))])
    result.notes.append(
        "Medians, each in a fresh child process; memory above that of the child which has only "
        "imported its library. After a kill: the last four tenths of the entries were merged "
        "in four steps after the file had been written, and nothing was closed."
    )
    for _, folder in prepared.values():
        shutil.rmtree(folder)
    return result


def _cell(row: List[Reply], base: List[Reply], field: str, unit: float) -> str:
    value = median([each[field] for each in row])
    relative: Optional[float] = median([each[field] for each in base])
    return f"{figure(value / unit)} ({ratio(value / relative)})" if relative else figure(value)


def _killed(run: Run, at: int) -> Path:
    folder = run.fresh()
    part = at // 10
    fill(Ours, run.contenders.python[Ours], folder, at - 4 * part)
    with Child(Ours, run.contenders.python[Ours], folder) as child:
        child.ask("open", count=at - 4 * part)
        for _ in range(4):
            child.ask("put", size=part, times=1, seconds=0)
        child.die()
    return folder
