"""The child process that holds one store and does with it what it is told.

`python -m benchmarks.storage.worker STORE DIRECTORY`: a line of JSON in, a line of JSON out.
It runs where the store's library is, which need not be where ours is.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .entry import entries
from .usage import Calls, forget_peak, memory, peak_memory, written

Reply = Dict[str, Any]


class Worker:
    """Does with a store what the commands say; each public method is one."""

    def __init__(self, name: str, directory: Path) -> None:
        from .contenders import STORES

        self._calls = Calls()
        self._store = STORES[name](directory)
        self._next = 0

    def fill(self, count: int) -> Reply:
        self._store.fill(count)
        return {}

    def open(self, count: int) -> Reply:
        """Open what holds that many entries; say how long it took and what memory it took."""
        gc.collect()
        forget_peak()
        before = memory() or peak_memory()
        began = time.perf_counter()
        self._store.open()
        seconds = time.perf_counter() - began
        self._next = count
        return {
            "seconds": seconds,
            "peak": peak_memory() - before,
            "kept": (memory() or peak_memory()) - before,
        }

    def renew(self, count: int) -> Reply:
        """Begin again with so many entries."""
        self._store.close()
        for path in self._store.directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.fill(count)
        return self.open(count)

    def put(self, size: int, times: int, seconds: float) -> Reply:
        """Put so many entries so many times, or until that time is over."""
        spent: List[float] = []
        compactions = 0
        stop = time.perf_counter() + seconds
        snapshot = self._snapshot()
        while len(spent) < times and (not spent or time.perf_counter() < stop):
            prepared = self._store.prepare(entries(self._next, size))
            began = time.perf_counter()
            self._store.put(prepared)
            spent.append(time.perf_counter() - began)
            self._next += size
            previous, snapshot = snapshot, self._snapshot()
            compactions += snapshot != previous
        self._store.settle()
        return {"seconds": spent, "compactions": compactions}

    def _snapshot(self) -> Optional[Tuple[int, int]]:
        if self._store.watched is None:
            return None
        status = os.stat(self._store.watched)
        return status.st_ino, status.st_mtime_ns

    def send(self) -> Reply:
        """Try to send in an outage; say what that wrote."""
        bytes_before, syncs, renames = written(), self._calls.syncs(), self._calls.renames()
        began = time.perf_counter()
        self._store.send_offline()
        seconds = time.perf_counter() - began
        bytes_after = written()
        reply = {
            "seconds": seconds,
            "bytes": None
            if bytes_before is None or bytes_after is None
            else bytes_after - bytes_before,
            "syncs": self._calls.syncs() - syncs,
            "renames": self._calls.renames() - renames,
        }
        self._store.settle()
        return reply

    def save(self) -> Reply:
        """Save: one entry, a hundred, and at close; say what memory that took at most."""
        gc.collect()
        loaded = memory()
        known = forget_peak()
        self.put(1, 1, 0)
        self.put(100, 1, 0)
        self._store.close()
        return {"loaded": loaded, "peak": peak_memory() if known else None}

    def count(self) -> Reply:
        return {"stored": self._store.count(), "put": self._next}

    def close(self) -> Reply:
        self._store.close()
        return {}

    def die(self) -> Reply:
        """End at once, as after kill -9: nothing is closed, nothing saved."""
        os._exit(0)


def commands() -> Iterator[Dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    logging.getLogger().addHandler(logging.NullHandler())  # what fails here is meant to
    worker = Worker(sys.argv[1], Path(sys.argv[2]))
    for command in commands():
        method: Callable[..., Reply] = getattr(worker, command.pop("do"))
        print(json.dumps(method(**command)), flush=True)


if __name__ == "__main__":
    main()
