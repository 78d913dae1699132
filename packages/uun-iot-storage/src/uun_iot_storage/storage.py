"""Storage: a list that is bounded, shared by threads, and kept in a backup file."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Iterator, List, Optional, Type

from uun_iot_core.clock import SYSTEM_CLOCK, Clock
from uun_iot_core.logs import get_logger

from .encoding import check_entries
from .entries import Batch, Entries
from .errors import StorageError
from .journal import Journal, UnreadEntries

__all__ = ["Storage"]

logger = get_logger(__name__)

#: seconds between two warnings about dropped entries
_DROP_WARNING_INTERVAL = 60.0


class Storage:
    """A thread-safe list of entries, oldest first, with an optional backup file.

    - The list can be saved to a JSON file and is loaded from there.
    - Its length can be limited; then the oldest entries go.
    - Entries can be taken for sending and acknowledged afterwards, see `take`.

    An entry is safe from crashes and power cuts once `append` with ``backup=True`` or
    `merge` has returned. Entries appended without are saved with the next backup, and at
    `close`. One process at a time writes a backup file; a forked child does not inherit it.

    A context manager: leaving the block closes it.

    >>> storage = Storage("weather", None, maxlen=2)
    >>> storage.merge([1, 2, 3])
    >>> storage.data
    [2, 3]

    Args:
        storage_id: name of the storage in log messages.
        backup_path: the backup file; None for none. Directories and file are created. What
            is there is loaded; if it is no JSON list, it is set aside as ``<path>.bad``.
        maxlen: largest number of entries, the oldest are dropped; 0 for no limit.
        clock: spaces the warnings about dropped entries.

    Raises:
        StorageError: another process has the backup file open, or it is no regular file.
        TypeError, ValueError: an argument is of the wrong type, or ``maxlen`` is negative.
    """

    #: for changes of `data` that take more than one call; not reentrant: the methods of the
    #: storage take it themselves
    write_lock: threading.Lock

    def __init__(
        self,
        storage_id: str,
        backup_path: Optional[str],
        maxlen: int = 0,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._journal: Optional[Journal] = None
        if isinstance(maxlen, bool) or not isinstance(maxlen, int):
            raise TypeError(
                f"maxlen of storage `{storage_id}` must be an integer, got {type(maxlen).__name__}"
            )
        if maxlen < 0:
            raise ValueError(
                f"maxlen of storage `{storage_id}` must be 0 (no limit) or more, got {maxlen}"
            )
        self.storage_id = storage_id
        self.backup_path = backup_path
        self.maxlen = maxlen
        #: how many entries the limit has dropped since the storage was made
        self.dropped = 0
        self.write_lock = threading.Lock()
        self._clock = clock
        self._entries = Entries()
        self._unreported_drops = 0
        self._drops_reported_at: Optional[float] = None
        if backup_path is not None:
            journal = Journal(backup_path)
            self._entries.replace(journal.open())
            self._journal = journal
        self._trim()

    # -- reading ---------------------------------------------------------------------

    @property
    def data(self) -> List[Any]:
        """The live list of entries, oldest first.

        It may be changed by hand under `write_lock`; the next backup saves it as it is
        then. A list assigned to it is copied.
        """
        return self._entries.data

    @data.setter
    def data(self, entries: List[Any]) -> None:
        _require_list(entries, "data")
        self._entries.data = list(entries)

    def is_empty(self) -> bool:
        """Is the storage an empty list?"""
        return not self._entries.data

    def __len__(self) -> int:
        return len(self._entries.data)

    def __repr__(self) -> str:
        return (
            f"<Storage {self.storage_id!r}: {len(self)} entries, backup file {self.backup_path!r}>"
        )

    # -- changing --------------------------------------------------------------------

    def append(self, data: Any, backup: bool = False) -> None:
        """Add an entry at the end. Thread-safe.

        Args:
            data: the entry; with a backup file, anything that `json.dumps` takes.
            backup: save the storage to the backup file before returning. Off by default,
                which spares the disk: the entry is saved with the next backup.

        Raises:
            TypeError: there is a backup file and the entry is not JSON; nothing changed.
            ValueError: there is a backup file and the entry holds NaN, an infinity or
                itself; nothing changed.
            StorageError: the backup failed; the entry is in memory, for the next backup.
        """
        if self._journal is not None:
            check_entries([data])
        with self._exclusive():
            self._entries.append(data)
            self._trim()
            if backup:
                self._backup()

    def merge(self, data: List[Any], new_data: bool = True, backup: bool = True) -> None:
        """Add the entries of another list. Thread-safe.

        Args:
            data: the other list; it is copied.
            new_data: True puts the entries at the end, as newer than all that is stored;
                False in front, as older. That decides what a limit drops.
            backup: save the storage to the backup file before returning.

        Raises:
            TypeError: no list, or there is a backup file and an entry is not JSON; nothing
                changed.
            ValueError: there is a backup file and an entry holds NaN, an infinity or
                itself; nothing changed.
            StorageError: the backup failed; the entries are in memory, for the next backup.
        """
        _require_list(data, "data")
        entries = list(data)
        if self._journal is not None:
            check_entries(entries)
        with self._exclusive():
            self._entries.extend(entries, front=not new_data)
            self._trim()
            if backup:
                self._backup()

    def empty(self) -> None:
        """Remove all entries, also from the backup file. Thread-safe.

        Raises:
            StorageError: the file could not be written; in memory the entries are gone.
        """
        with self._exclusive():
            self._entries.clear()
            self._backup()

    def trim(self) -> None:
        """Keep the newest entries up to the limit and drop the others.

        Without a limit nothing happens. It may be called under `write_lock`, after changes
        by hand; all other methods trim by themselves. The file follows with the next backup.
        """
        if self.write_lock.acquire(blocking=False):
            try:
                self._entries.sync()
                self._trim()
            finally:
                self.write_lock.release()
        elif self.maxlen:
            # The caller holds the lock, or another thread does; one step serves both.
            before = len(self)
            del self._entries.data[: -self.maxlen]
            self._count_dropped(max(0, before - self.maxlen))

    # -- sending ---------------------------------------------------------------------

    def take(self, limit: Optional[int] = None) -> Batch:
        """Return the oldest entries for sending; they stay stored. Thread-safe.

        No lock is held between this and `acknowledge`: others may add entries meanwhile.
        Take turns if several threads send, else they send the same entries.

        >>> storage = Storage("weather", None)
        >>> storage.merge(["sent", "failed"])
        >>> batch = storage.take()
        >>> failed = [entry for entry in batch if entry == "failed"]
        >>> storage.acknowledge(batch, failed)
        >>> storage.data
        ['failed']

        Args:
            limit: how many entries at most; None for all.

        Raises:
            TypeError, ValueError: ``limit`` is not an integer of 1 or more.
            StorageError: in a forked child.
        """
        if limit is not None:
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise TypeError(f"limit must be an integer or None, got {type(limit).__name__}")
            if limit < 1:
                raise ValueError(f"limit must be 1 or more, or None for all, got {limit}")
        with self._exclusive():
            return self._entries.take(len(self) if limit is None else limit)

    def acknowledge(self, batch: Batch, failed: List[Any]) -> None:
        """Remove the entries of a batch that were sent, exactly those. Thread-safe.

        What failed stays at its place. What has left the storage meanwhile (the limit
        dropped it, `empty` was called) does not come back. The backup file is brought up to
        date; where that fails, it is logged and done with the next backup: entries may then
        be sent twice after a crash, none is lost.

        Args:
            batch: from `take` of this storage.
            failed: the entries that were not sent: those of the batch, or equal ones, in
                any order. Each stands for one entry. What matches none (because it was
                changed, say) goes in front of all entries.

        Raises:
            TypeError: ``failed`` is no list, or holds a new entry that is not JSON while
                there is a backup file; nothing changed.
            ValueError: the batch is another storage's.
        """
        if not isinstance(batch, Batch):
            raise TypeError(f"batch must come from take(), got {type(batch).__name__}")
        if not batch.belongs_to(self._entries):
            raise ValueError(f"the batch was not taken from storage `{self.storage_id}`")
        _require_list(failed, "failed")
        sent, unmatched = batch.split(failed)
        if self._journal is not None:
            # NaN may pass: it came from the file, or the original is in the storage already
            check_entries(unmatched, allow_nan=True)
        with self._exclusive():
            self._entries.acknowledge(sent, unmatched)
            self._trim()
            try:
                self._backup()
            except StorageError as exc:
                logger.error(
                    "storage `%s`: what was sent is not yet removed from the disk: %s",
                    self.storage_id,
                    exc,
                )

    # -- opening and closing ---------------------------------------------------------

    def close(self) -> None:
        """Save what is not saved yet and let go of the backup file; twice is fine.

        Entries can still be read afterwards. Backups raise `StorageError` until `reopen`.

        Raises:
            StorageError: saving failed; the file is let go of, the entries are in memory.
        """
        journal = self._journal
        if journal is None or not journal.is_open or journal.is_inherited:
            return
        with self.write_lock:
            if journal.is_open:
                try:
                    self._save(journal, closing=True)
                finally:
                    journal.close()

    def reopen(self) -> None:
        """Open the backup file again after `close`; nothing happens if it is open.

        Entries that were added while it was closed are kept, and saved with the next
        backup. If the file was changed meanwhile, its entries come first; then some may be
        stored twice, but none is lost.

        Raises:
            StorageError: another process has the backup file open.
        """
        journal = self._journal
        if journal is None or journal.is_open:
            return
        with self.write_lock:
            if journal.is_open:
                return
            known = journal.digest
            loaded = journal.open()
            if journal.digest == known or not journal.was_there:
                return
            stored = self._entries.data
            if journal.holds(stored):
                return
            if journal.digest_of(stored) != known:
                logger.warning(
                    "storage `%s`: %s was changed while this storage was closed and had unsaved "
                    "entries: both are kept, some entries may be twice",
                    self.storage_id,
                    journal.path,
                )
                loaded = loaded + stored
            self._entries.replace(loaded)
            self._trim()

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        journal = getattr(self, "_journal", None)  # absent if the constructor failed early
        if journal is not None:
            journal.abandon(self._entries.data)

    # -- within the lock ---------------------------------------------------------------

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._journal is not None:
            # before the lock, which a forked child may have inherited locked
            self._journal.check_process()
        with self.write_lock:
            self._entries.sync()
            yield

    def _backup(self) -> None:
        if self._journal is not None:
            self._save(self._journal)

    def _save(self, journal: Journal, closing: bool = False) -> None:
        try:
            journal.save(self._entries.data, closing)
        except UnreadEntries as unread:
            logger.warning(
                "storage `%s`: the backup file could not be read at first; its %d entries are put "
                "in front now",
                self.storage_id,
                len(unread.entries),
            )
            self._entries.extend(unread.entries, front=True)
            self._trim()
            journal.save(self._entries.data, closing)

    def _trim(self) -> None:
        surplus = len(self) - self.maxlen
        if self.maxlen and surplus > 0:
            self._entries.drop_oldest(surplus)
            self._count_dropped(surplus)

    def _count_dropped(self, count: int) -> None:
        if not count:
            return
        self.dropped += count
        self._unreported_drops += count
        now = self._clock.monotonic()
        last = self._drops_reported_at
        if last is not None and now - last < _DROP_WARNING_INTERVAL:
            return
        logger.warning(
            "storage `%s` is full (limit %d): dropped %d of the oldest entries, %d in all",
            self.storage_id,
            self.maxlen,
            self._unreported_drops,
            self.dropped,
        )
        self._unreported_drops, self._drops_reported_at = 0, now


def _require_list(value: Any, name: str) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list, got {type(value).__name__}")
