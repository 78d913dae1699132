"""What else one could store entries in: SQLite, and queues on disk from the package index."""

from __future__ import annotations

import json
import pickle
import sqlite3
import time
from pathlib import Path
from typing import Any, List

from .entry import Entry, entry
from .stores import Store, sync


class SQLite(Store):
    """A table of JSON texts, as one would write it by hand."""

    label = "SQLite, WAL, FULL"
    note = "synchronous=FULL: a commit is synced"

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.directory / "backlog.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS backlog (id INTEGER PRIMARY KEY, entry)")
        return connection

    def fill(self, count: int) -> None:
        connection = self._connect()
        connection.execute("BEGIN")
        rows = ((json.dumps(entry(index)),) for index in range(count))
        connection.executemany("INSERT INTO backlog (entry) VALUES (?)", rows)
        connection.execute("COMMIT")
        connection.close()

    def open(self) -> None:
        self._connection = self._connect()

    def read(self) -> List[Any]:
        """Return all entries."""
        rows = self._connection.execute("SELECT entry FROM backlog ORDER BY id")
        return [json.loads(text) for (text,) in rows]

    def put(self, prepared: List[Entry]) -> None:
        if len(prepared) == 1:
            text = json.dumps(prepared[0])
            self._connection.execute("INSERT INTO backlog (entry) VALUES (?)", (text,))
            return
        self._connection.execute("BEGIN")
        rows = [(json.dumps(each),) for each in prepared]
        self._connection.executemany("INSERT INTO backlog (entry) VALUES (?)", rows)
        self._connection.execute("COMMIT")

    def send_offline(self) -> None:
        self.read()  # nothing was sent, so nothing is deleted

    def count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM backlog").fetchone()[0])

    def close(self) -> None:
        self._connection.close()


class LoadedSQLite(SQLite):
    """The same, read into a list when it is opened."""

    label = "SQLite, SELECT + json.loads"

    def open(self) -> None:
        super().open()
        self._data = self.read()


class PersistQueueSQLite(Store):
    """persist-queue's SQLiteQueue; there is no way to put several in one commit."""

    label = "persist-queue, SQLite"
    note = "WAL with SQLite's default synchronous=FULL: a commit is synced; one for each entry"
    requirement = "persist-queue==1.1.0"

    def _make(self) -> Any:
        from persistqueue import SQLiteQueue

        return SQLiteQueue(str(self.directory), auto_commit=True)

    def fill(self, count: int) -> None:
        self._make().close()  # it makes the table; then written as it writes, in one commit
        connection = sqlite3.connect(self.directory / "data.db")
        rows = ((pickle.dumps(entry(index)), time.time()) for index in range(count))
        connection.executemany("INSERT INTO queue_default (data, timestamp) VALUES (?, ?)", rows)
        connection.commit()
        connection.close()

    def open(self) -> None:
        self._queue = self._make()
        synchronous = self._queue._conn.execute("PRAGMA synchronous").fetchone()[0]
        assert synchronous == 2, f"meant to measure synchronous=FULL (2), found {synchronous}"

    def put(self, prepared: List[Entry]) -> None:
        for each in prepared:
            self._queue.put(each)

    def count(self) -> int:
        return int(self._queue.qsize())

    def close(self) -> None:
        self._queue.close()


class PersistQueueFile(Store):
    """persist-queue's Queue of files."""

    label = "persist-queue, files"
    synced = False
    note = "syncs once in 100 entries, and renames its index without a sync"
    requirement = "persist-queue==1.1.0"

    def _make(self) -> Any:
        from persistqueue import Queue

        return Queue(str(self.directory), tempdir=str(self.directory))

    def fill(self, count: int) -> None:
        queue = self._make()
        save, queue._saveinfo = queue._saveinfo, lambda: None  # once, not with each entry
        for index in range(count):
            queue.put(entry(index))
        save()

    def open(self) -> None:
        self._queue = self._make()

    def put(self, prepared: List[Entry]) -> None:
        for each in prepared:
            self._queue.put(each)

    def settle(self) -> None:
        sync(Path(self._queue.headf.name))
        sync(self.directory / "info")

    def count(self) -> int:
        return int(self._queue.qsize())


class Queuelib(Store):
    """queuelib's FifoDiskQueue, of JSON texts."""

    label = "queuelib"
    synced = False
    note = "never syncs, and saves its index only at close"
    requirement = "queuelib==1.10.0"

    def open(self) -> None:
        from queuelib import FifoDiskQueue

        self._queue = FifoDiskQueue(str(self.directory / "queue"))

    def fill(self, count: int) -> None:
        self.open()
        for index in range(count):
            self._queue.push(json.dumps(entry(index)).encode())
        self._queue.close()

    def put(self, prepared: List[Entry]) -> None:
        for each in prepared:
            self._queue.push(json.dumps(each).encode())

    def settle(self) -> None:
        sync(Path(self._queue.headf.name))

    def count(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        self._queue.close()


class DiskCache(Store):
    """diskcache's Deque as it comes."""

    label = "diskcache"
    synced = False
    note = "synchronous=NORMAL, its default: a commit is not synced"
    requirement = "diskcache==5.6.3"
    largest = 100_000  # its triggers make filling slow
    #: SQLite's name of the level: NORMAL
    synchronous = 1

    def open(self) -> None:
        from diskcache import Cache, Deque

        self._cache: Any = Cache(
            str(self.directory), eviction_policy="none", sqlite_synchronous=self.synchronous
        )
        self._deque: Any = Deque.fromcache(self._cache)
        found = self._cache._sql("PRAGMA synchronous").fetchone()[0]
        assert found == self.synchronous, f"synchronous={found}, meant {self.synchronous}"

    def fill(self, count: int) -> None:
        self.open()
        with self._cache.transact():
            for index in range(count):
                self._deque.append(entry(index))
        self.close()

    def put(self, prepared: List[Entry]) -> None:
        if len(prepared) == 1:
            self._deque.append(prepared[0])
            return
        with self._cache.transact():
            self._deque.extend(prepared)

    def settle(self) -> None:
        sync(self.directory / "cache.db-wal")

    def count(self) -> int:
        return len(self._deque)

    def close(self) -> None:
        self._cache.close()


class DiskCacheFull(DiskCache):
    """The same, made durable."""

    label = "diskcache, FULL"
    synced = True
    note = "Cache(sqlite_synchronous=2): a commit is synced"
    synchronous = 2
