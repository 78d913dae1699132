"""How much is measured: the whole, and the quick form."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Tuple

from .contenders import Contenders


@dataclass(frozen=True)
class Plan:
    """Sizes in entries, times in seconds.

    Args:
        sizes: at which an append is measured.
        samples: appends of each store at each size.
        seconds: what one store may take for them; slow ones get fewer samples.
        merge_at: the size at which merges are measured.
        merges: how many entries are merged at once.
        load_at: the size for loading and for the memory of saving.
        loads: how often each is loaded.
        send_at: the size for sending in an outage.
        sends: how often each sends.
        stall_at: the size at which the long row of appends begins.
        stall_appends: how many these are.
        stall_seconds: when they end at the latest.
    """

    sizes: Tuple[int, ...] = (10, 1_000, 10_000, 100_000, 1_000_000)
    samples: int = 400
    seconds: float = 8.0
    merge_at: int = 10_000
    merges: Tuple[int, ...] = (10, 100)
    load_at: int = 100_000
    loads: int = 7
    send_at: int = 10_000
    sends: int = 20
    stall_at: int = 100_000
    stall_appends: int = 24_000
    stall_seconds: float = 75.0

    def smaller(self, factor: int) -> Plan:
        """Return it with all sizes and numbers divided, to try the benchmark itself."""

        def less(count: int) -> int:
            return max(2, count // factor)

        return replace(
            self,
            sizes=tuple(sorted({less(size) for size in self.sizes})),
            samples=less(self.samples),
            merge_at=less(self.merge_at),
            load_at=max(10, less(self.load_at)),
            loads=less(self.loads),
            send_at=less(self.send_at),
            sends=less(self.sends),
            stall_at=max(20, less(self.stall_at)),
            stall_appends=less(self.stall_appends),
        )


QUICK = Plan(
    sizes=(10, 1_000, 10_000),
    samples=60,
    seconds=1.0,
    merge_at=1_000,
    loads=2,
    sends=4,
    stall_appends=4_000,
    stall_seconds=8.0,
)


@dataclass
class Run:
    """One run of the benchmark.

    Args:
        plan: how much.
        contenders: of what.
        folder: where the files are.
    """

    plan: Plan
    contenders: Contenders
    folder: Path

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._folders = 0

    def fresh(self) -> Path:
        """Return a directory that is not there yet."""
        self._folders += 1
        return self.folder / str(self._folders)

    def tell(self, what: str) -> None:
        """Say how far it is, on standard error."""
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", file=sys.stderr, flush=True)
