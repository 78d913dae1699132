"""All that is measured, by name, and which of it is there."""

from __future__ import annotations

import sys
from typing import Dict, List, NamedTuple, Type

from benchmarks import peers

from . import queues, stores

STORES: Dict[str, Type[stores.Store]] = {
    each.__name__: each
    for each in (
        stores.Raw,
        stores.Json,
        stores.Ours,
        stores.Published,
        queues.SQLite,
        queues.LoadedSQLite,
        queues.PersistQueueSQLite,
        queues.DiskCacheFull,
        queues.PersistQueueFile,
        queues.DiskCache,
        queues.Queuelib,
    )
}


class Contenders(NamedTuple):
    """The stores to measure.

    Args:
        python: the interpreter that has what each needs, by class.
        missing: why some are not measured; "" where all are.
    """

    python: Dict[Type[stores.Store], str]
    missing: str

    def among(self, *wanted: Type[stores.Store]) -> List[Type[stores.Store]]:
        """Return those of the wanted that can be measured."""
        return [each for each in wanted if each in self.python]

    def putting(self) -> List[Type[stores.Store]]:
        """Return all that single entries can be put into, the raw file first."""
        readers = (stores.Json, queues.LoadedSQLite)
        return [each for each in self.python if each not in readers]


def find(with_peers: bool) -> Contenders:
    """Install the peers, where wanted and needed, and return what can be measured."""
    ours = {each: sys.executable for each in STORES.values() if each.requirement is None}
    if not with_peers:
        return Contenders(ours, "left out by --no-peers: the published library and the queues")
    requirements = {each.requirement for each in STORES.values() if each.requirement is not None}
    try:
        python = peers.install(sorted(requirements))
    except peers.NotInstalled as exc:
        return Contenders(ours, f"left out: the published library and the queues; {exc}")
    everything = {
        each: sys.executable if each.requirement is None else python for each in STORES.values()
    }
    return Contenders(everything, "")
