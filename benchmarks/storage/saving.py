"""The memory that saving a loaded backlog takes."""

from __future__ import annotations

import shutil
from typing import Dict, List

from benchmarks.samples import median
from benchmarks.table import Table, figure, number, ratio

from .child import Child, Reply, fill
from .loading import MIB
from .plan import Run
from .stores import Ours, Published


def saves(run: Run) -> Table:
    """Measure it, each time in a fresh child."""
    at, times = run.plan.load_at, max(2, run.plan.loads // 2)
    run.tell(f"memory of saving {number(at)}")
    stores = run.contenders.among(Ours, Published)
    replies: Dict[str, List[Reply]] = {store.label: [] for store in stores}
    for _ in range(times):
        for store in stores:
            folder, python = run.fresh(), run.contenders.python[store]
            fill(store, python, folder, at)
            with Child(store, python, folder) as child:
                child.ask("open", count=at)
                replies[store.label].append(child.ask("save"))
            shutil.rmtree(folder)
    result = Table(
        f"Memory of saving {number(at)} loaded entries",
        ["", "loaded, MiB", "peak while saving, MiB (× loaded)", "samples"],
    )
    for name, row in replies.items():
        if any(None in each.values() for each in row):
            result.rows.append([name, "–", "–", "0"])
            continue
        loaded = median([each["loaded"] for each in row])
        peak = median([each["peak"] for each in row])
        result.rows.append(
            [
                name,
                figure(loaded / MIB),
                f"{figure(peak / MIB)} ({ratio(peak / loaded)})",
                number(len(row)),
            ]
        )
    result.notes.append(
        "Medians, the memory of the whole child process, interpreter included. Saving: an append "
        "with backup, a merge of 100, and close (which the published version does not have). "
        "–: this system does not tell."
    )
    return result
