"""What is measured, each behind one small face: the raw file, our storage, the published one.

This runs in child processes, the published library and the peers in an environment of their
own: each imports what it measures when it is made, and the rest is the standard library.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, List, Optional

from .entry import Entry, write_list


class Store:
    """Something that stores entries in a directory.

    Args:
        directory: where its files are.
    """

    #: what the tables call it
    label = ""
    #: is an entry on the disk when `put` has returned?
    synced = True
    #: what to know about it, for below the tables
    note = ""
    #: what pip installs for it; None where it needs nothing
    requirement: Optional[str] = None
    #: the largest size whose filling takes seconds only
    largest = 10_000_000

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    #: a file that is replaced when the store is compacted
    watched: Optional[Path] = None

    def fill(self, count: int) -> None:
        """Write that many entries in the fastest way there is; the store is not open."""
        raise NotImplementedError

    def open(self) -> None:
        """Open what was filled."""
        raise NotImplementedError

    def prepare(self, entries: List[Entry]) -> Any:
        """Return what `put` takes; not measured."""
        return entries

    def put(self, prepared: Any) -> None:
        """Store one entry or several."""
        raise NotImplementedError

    def settle(self) -> None:
        """Sync what `put` did not, so that others do not pay for it; not measured."""

    def send_offline(self) -> None:
        """Try to send all that there is, fail, and keep it."""
        raise NotImplementedError

    def count(self) -> int:
        """Return how many entries there are."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it."""


class Raw(Store):
    """One write and one fsync to a file that grows: what a durable append costs at least."""

    label = "raw write + fsync"

    def fill(self, count: int) -> None:
        pass  # its cost does not depend on the size

    def open(self) -> None:
        self._puts = 0
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._fd = os.open(self.directory / "raw", flags, 0o600)

    def prepare(self, entries: List[Entry]) -> bytes:
        return "".join(json.dumps(entry) + "\n" for entry in entries).encode()

    def put(self, prepared: bytes) -> None:
        os.write(self._fd, prepared)
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class ListFile(Store):
    """A store whose file is a JSON list."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.path = directory / "backlog.json"

    def fill(self, count: int) -> None:
        write_list(self.path, count)


class Json(ListFile):
    """The standard library reading that file."""

    label = "json.load"

    def open(self) -> None:
        with self.path.open(encoding="utf-8") as file:
            self._data = json.load(file)

    def count(self) -> int:
        return len(self._data)


class Ours(ListFile):
    """The storage of this repository."""

    label = "uun-iot-storage"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        from uun_iot_storage import Storage

        self.watched = self.path
        self._make = Storage

    def open(self) -> None:
        self._storage = self._make("weather", str(self.path))

    def put(self, prepared: List[Entry]) -> None:
        if len(prepared) == 1:
            self._storage.append(prepared[0], backup=True)
        else:
            self._storage.merge(prepared)

    def send_offline(self) -> None:
        batch = self._storage.take()
        self._storage.acknowledge(batch, list(batch))

    def count(self) -> int:
        return len(self._storage)

    def close(self) -> None:
        self._storage.close()


class Published(ListFile):
    """The published library, which has the same import name: in an environment of its own."""

    label = "published uun-iot 0.12.14"
    synced = False
    note = "truncates the file and writes all of it, without a sync"
    requirement = "uun-iot==0.12.14"
    largest = 100_000  # an append takes time in proportion to the size

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        import uun_iot

        found = uun_iot.__version__
        assert found == "0.12.14", f"meant to measure the published library, found {found}"
        self._module: Any = uun_iot.Module

    def open(self) -> None:
        configuration = {"moduleBackupStorage": {"weather": str(self.path)}}
        self._sender = type("Weather", (self._module,), {"id": "weather"})(configuration)
        self._storage = self._sender._storage

    def put(self, prepared: List[Entry]) -> None:
        if len(prepared) == 1:
            self._storage.append(prepared[0], backup=True)
        else:
            self._storage.merge(prepared)

    def settle(self) -> None:
        sync(self.path)

    def send_offline(self) -> None:
        # there is no other way: it empties the storage and merges back what failed
        self._sender._send_storage(lambda entries: entries)

    def count(self) -> int:
        return len(self._storage)


def sync(path: Path) -> None:
    """Sync a file through a descriptor of its own."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
