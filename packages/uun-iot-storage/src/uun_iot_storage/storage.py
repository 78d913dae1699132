"""Storage: a list that is bounded, shared by threads, and kept in a backup file."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Iterator, List, Optional, Sequence, Set, Type

from uun_iot_core.clock import SYSTEM_CLOCK, Clock
from uun_iot_core.logs import get_logger

from .bounds import Bounds
from .deadletters import DeadLetters
from .encoding import check_entries, collector_paused, stamp_of
from .entries import Batch, Entries, Slot
from .errors import StorageError
from .journal import Journal, UnreadEntries
from .stats import StorageStats
from .syncing import DelayedSync, check_interval

__all__ = ["Storage"]

logger = get_logger(__name__)

#: how often, and for how many seconds each, `empty` tries to take a lock that is held by none of
#: the storage's methods before it takes its caller for the holder
_LOOKS, _LOOK = 3, 0.02


class Storage:
    """A thread-safe list of entries, oldest first, with an optional backup file.

    - The list can be saved to a JSON file and is loaded from there.
    - Its length and its size can be limited; then the oldest entries go.
    - Entries can be taken for sending and acknowledged afterwards, see `take`.

    An entry is safe from crashes and power cuts once `append` with ``backup=True`` or
    `merge` has returned. Entries appended without are saved with the next backup, and at
    `close`. One process at a time writes a backup file; a forked child does not inherit it.

    While the storage is open, what is new stands in a journal beside the backup file,
    ``<path>.journal``; `close` brings the backup file up to date and removes the journal.
    Together they take up to about twice the bytes of the entries, three times for the
    moment in which the backup file is replaced, and 64 KiB.

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
        max_bytes: largest size of all entries as JSON text, in bytes; the oldest are
            dropped. 0 for no limit. With it, entries must be JSON also without a backup file.
        max_attempts: how often the server may refuse an entry, see `acknowledge`, before it
            is set aside in ``<path>.dead``; 0 for any number.
        sync_interval: seconds between two syncs of the journal; 0 syncs each backup. With
            more, the promise above is weaker: `kill -9` still loses nothing, but a power
            cut may lose the backups of the last so many seconds. It saves flash memory
            where entries come in faster than that.
        clock: spaces the warnings about dropped entries, and the syncs; for `stats`.

    Raises:
        StorageError: another process has the backup file open, or it is no regular file.
        TypeError, ValueError: an argument is of the wrong type, or negative; or
            ``max_attempts`` is given without a backup file.
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
        max_bytes: int = 0,
        max_attempts: int = 0,
        sync_interval: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        # two underscores: applications derive from it with attributes of their own
        self.__journal: Optional[Journal] = None
        self.__bounds = Bounds(storage_id, maxlen, max_bytes, clock)
        check_interval(storage_id, sync_interval)
        self.__dead_letters = DeadLetters(storage_id, max_attempts, backup_path is not None)
        self.storage_id = storage_id
        self.backup_path = backup_path
        self.write_lock = threading.Lock()
        self.__inside = False  # who holds it is a method of this class
        self.__reopens = False  # a backup after `close` opens the file once more, see `_rest`
        self.__pid = os.getpid()
        self.__clock = clock
        self.__entries = Entries()
        self.__appended = self.__sent = self.__failed = 0
        self.__backups_fail = False
        self.__delayed: Optional[DelayedSync] = None
        if backup_path is not None:
            journal = Journal(backup_path)
            with collector_paused():
                self.__entries.replace(journal.open(), clock.monotonic())
            self.__journal = journal
            self.__dead_letters.path = journal.path + ".dead"
            if sync_interval:
                self.__delayed = DelayedSync(sync_interval, self.__sync, storage_id, clock)
        self.__bounds.trim(self.__entries)

    # -- reading ---------------------------------------------------------------------

    @property
    def data(self) -> List[Any]:
        """The live list of entries, oldest first.

        It may be changed by hand under `write_lock`; the next backup notices when its length
        or an end has changed, and saves all. What else was replaced is noticed by `take`, by
        `acknowledge` and at `close`, and what was changed inside of an entry when sending it
        fails and at `close`. A list assigned to it is copied, and saved with the next backup
        in any case.
        """
        return self.__entries.data

    @data.setter
    def data(self, entries: List[Any]) -> None:
        _require_list(entries, "data")
        self.__entries.data = list(entries)

    @property
    def maxlen(self) -> int:
        """Largest number of entries; 0 for no limit."""
        return self.__bounds.maxlen

    @property
    def max_attempts(self) -> int:
        """How often the server may refuse an entry; 0 for any number."""
        return self.__dead_letters.max_attempts

    @property
    def dropped(self) -> int:
        """How many entries the limits have dropped since the storage was made."""
        return self.__bounds.dropped

    def is_empty(self) -> bool:
        """Is the storage an empty list?"""
        return not self.__entries.data

    def __len__(self) -> int:
        return len(self.__entries.data)

    def __repr__(self) -> str:
        return (
            f"<Storage {self.storage_id!r}: {len(self)} entries, backup file {self.backup_path!r}>"
        )

    def stats(self) -> StorageStats:
        """Return figures of the storage, see `StorageStats`.

        The first call looks at each entry, which takes some seconds for a million of them.
        """
        with self.__exclusive() as now:
            entries = self.__entries
            oldest = entries.oldest
            return StorageStats(
                entries=len(entries),
                bytes=entries.size,
                oldest_age=None if oldest is None else now - oldest.since,
                appended=self.__appended,
                sent=self.__sent,
                failed=self.__failed,
                dropped=self.__bounds.dropped,
                set_aside=self.__dead_letters.count,
                bytes_written=0 if self.__journal is None else self.__journal.written,
                autonomy_hours=self.__bounds.autonomy_hours(entries),
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
                itself, or it is larger than the storage may be; nothing changed.
            StorageError: the backup failed; the entry is in memory, for the next backup.
        """
        self.__add([data], new_data=True, backup=backup)

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
                itself, or is larger than the storage may be; nothing changed.
            StorageError: the backup failed; the entries are in memory, for the next backup.
        """
        _require_list(data, "data")
        self.__add(list(data), new_data, backup)

    def __add(self, entries: List[Any], new_data: bool, backup: bool) -> None:
        texts = self.__check(entries)
        stamps = None if texts is None else [stamp_of(text) for text in texts]
        bounds = self.__bounds
        if bounds.max_bytes and stamps is not None:
            bounds.refuse(stamps)
        self.__check_process()
        with self.write_lock:  # not _exclusive(), which takes a while: this is called most
            self.__inside = True
            try:
                now = self.__clock.monotonic()
                self.__entries.sync(now)
                self.__entries.add(entries, now, stamps, front=not new_data)
                self.__appended += len(entries)
                if bounds.are_set:
                    if new_data and entries:
                        bounds.came_in(stamps, len(entries))
                    bounds.trim(self.__entries)
                if backup:
                    self.__backup(texts if new_data else None)
            finally:
                self.__inside = False

    def __check(self, entries: List[Any], allow_nan: bool = False) -> Optional[List[str]]:
        """Refuse what cannot be stored; return the JSON texts, where there must be some."""
        if self.__journal is None and not self.__bounds.max_bytes:
            return None
        return check_entries(entries, allow_nan)

    def empty(self) -> None:
        """Remove all entries, also from the backup file. Thread-safe.

        It may be called under `write_lock`, too.

        Raises:
            StorageError: the file could not be written; in memory the entries are gone.
        """
        self.__check_process()
        is_ours = self.__acquire()
        try:
            self.__entries.sync(self.__clock.monotonic())
            self.__entries.clear()
            self.__backup()
        finally:
            if is_ours:
                self.__inside = False
                self.write_lock.release()

    def __acquire(self) -> bool:
        """Take the lock, unless it is held from outside: then, it seems, by the caller."""
        held_from_outside = 0
        while held_from_outside < _LOOKS:
            if self.write_lock.acquire(timeout=_LOOK):
                self.__inside = True
                return True
            held_from_outside = 0 if self.__inside else held_from_outside + 1
        return False

    def trim(self) -> None:
        """Keep the newest entries up to the limit and drop the others.

        Without a limit nothing happens. It may be called under `write_lock`, after changes
        by hand; all other methods trim by themselves. The file follows with the next backup.
        """
        if self.write_lock.acquire(blocking=False):
            try:
                self.__inside = True
                self.__entries.sync(self.__clock.monotonic())
                self.__bounds.trim(self.__entries)
            finally:
                self.__inside = False
                self.write_lock.release()
        else:
            # The caller holds the lock, or another thread does; one step serves both.
            self.__bounds.trim_by_hand(self.__entries.data)

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
        count = len(self) if limit is None else limit
        with self.__exclusive(thorough=count):
            batch = self.__entries.take(count)
        if self.__journal is not None:
            for slot in batch.slots:  # so that a change while they are sent is noticed
                if slot.stamp is None and isinstance(slot.entry, (dict, list)):
                    slot.stamp = slot.measure()
        return batch

    def acknowledge(
        self, batch: Batch, failed: List[Any], *, refused: Optional[List[Any]] = None
    ) -> None:
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
            refused: those of ``failed`` that the server was asked for and did not want. That
                counts against an entry; after ``max_attempts`` times it is set aside. What
                failed for want of a network does not belong here: an outage must not set
                anything aside.

        Raises:
            TypeError: ``failed`` or ``refused`` is no list, or ``failed`` holds a new entry
                that is not JSON while there is a backup file; nothing changed.
            ValueError: the batch is another storage's.
        """
        if not isinstance(batch, Batch):
            raise TypeError(f"batch must come from take(), got {type(batch).__name__}")
        if not batch.belongs_to(self.__entries):
            raise ValueError(f"the batch was not taken from storage `{self.storage_id}`")
        _require_list(failed, "failed")
        if refused is not None:
            _require_list(refused, "refused")
        sent, unmatched = batch.split(failed)
        left = [slot for slot in batch.slots if slot not in sent]
        # NaN may pass: it came from the file, or the original is in the storage already
        texts = self.__check(unmatched, allow_nan=True)
        stamps = None if texts is None else [stamp_of(text) for text in texts]
        changed = [slot for slot in left if slot.stamp and slot.measure() != slot.stamp]
        if not refused or not self.max_attempts:
            self.__settle(batch, sent, unmatched, stamps, changed, set())
        else:
            others, _ = batch.split(refused)
            with self.__dead_letters.mutex:  # else two threads might set aside the same entry
                aside = self.__put_aside([slot for slot in left if slot not in others])
                self.__settle(batch, sent, unmatched, stamps, changed, aside)
        self.__failed += len(failed)

    def __settle(
        self,
        batch: Batch,
        sent: Set[Slot],
        unmatched: List[Any],
        stamps: Optional[Sequence[int]],
        changed: List[Slot],
        aside: Set[Slot],
    ) -> None:
        with self.__exclusive(thorough=len(batch)) as now:
            entries = self.__entries
            entries.changed(changed)
            gone = entries.remove(sent | aside) - len(aside)
            if unmatched:
                new = entries.unknown(unmatched)  # not those that have come in meanwhile
                gone -= len(new)
                if len(new) < len(unmatched):
                    texts = self.__check(new, allow_nan=True)
                    stamps = None if texts is None else [stamp_of(text) for text in texts]
                entries.add(new, now, stamps, front=True)
            self.__sent += max(0, gone)
            self.__dead_letters.count += len(aside)
            self.__bounds.trim(entries)
            try:
                self.__backup()
                self.__backups_fail = False
            except StorageError as exc:
                logger.log(
                    logging.DEBUG if self.__backups_fail else logging.ERROR,
                    "storage `%s`: what was sent is not yet removed from the disk: %s",
                    self.storage_id,
                    exc,
                )
                self.__backups_fail = True  # said once, until one succeeds

    def __put_aside(self, refused: List[Slot]) -> Set[Slot]:
        """Count a refusal of each entry, and save those with too many as dead letters."""
        dead = self.__dead_letters.refused(refused)
        with self.__locked():
            dead = self.__entries.still_there(dead)
        return self.__dead_letters.put(dead)

    # -- opening and closing ---------------------------------------------------------

    def close(self) -> None:
        """Save what is not saved yet and let go of the backup file; twice is fine.

        Entries can still be read afterwards. Backups raise `StorageError` until `reopen`.

        Raises:
            StorageError: saving failed; the file is let go of, the entries are in memory.
        """
        journal = self.__journal
        if journal is None or not journal.is_open or journal.is_inherited:
            return
        with self.__locked():
            if journal.is_open:
                if self.__delayed is not None:
                    self.__delayed.cancel()
                self.__entries.sync(self.__clock.monotonic(), len(self))
                try:
                    self.__save(journal, closing=True)
                finally:
                    journal.close()

    def _rest(self) -> None:
        """As `close`, but a backup that comes later opens the file, saves, and lets go again.

        For what an application stores when its gateway has stopped already.

        Raises:
            StorageError: see `close`.
        """
        self.__reopens = True
        self.close()

    def reopen(self) -> None:
        """Open the backup file again after `close`; nothing happens if it is open.

        Entries that were added while it was closed are kept, and saved with the next
        backup. If the file was changed meanwhile, its entries come first; then some may be
        stored twice, but none is lost.

        Raises:
            StorageError: another process has the backup file open.
        """
        self.__reopens = False
        journal = self.__journal
        if journal is None or journal.is_open:
            return
        with self.__locked():
            if not journal.is_open:
                self.__open_again(journal)

    def __open_again(self, journal: Journal) -> None:
        known = journal.token
        loaded = journal.open()
        now = self.__clock.monotonic()
        self.__entries.sync(now, len(self))
        unsaved = self.__entries.unsaved
        if known is not None and journal.token == known:
            return  # as we left it
        if not journal.was_there or loaded == self.__entries.data:
            unsaved.whole = True
            return
        if unsaved or known is None:
            logger.warning(
                "storage `%s`: %s was changed while this storage was closed and had unsaved "
                "entries: both are kept, some entries may be twice",
                self.storage_id,
                journal.path,
            )
            self.__entries.add(loaded, now, front=True)
            unsaved.whole = True
        else:
            self.__entries.replace(loaded, now)
        self.__bounds.trim(self.__entries)

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
        journal = getattr(self, "_Storage__journal", None)  # absent if the constructor failed early
        if journal is not None:
            self.__entries.sync(0.0, len(self))
            journal.abandon(self.__entries.data, self.__entries.unsaved)

    # -- within the lock ---------------------------------------------------------------

    @contextmanager
    def __exclusive(self, thorough: int = 0) -> Iterator[float]:
        """Hold the lock; gives the time. Changes by hand are looked for, see `Entries.sync`."""
        self.__check_process()
        with self.__locked():
            now = self.__clock.monotonic()
            self.__entries.sync(now, thorough)
            yield now

    @contextmanager
    def __locked(self) -> Iterator[None]:
        with self.write_lock:
            self.__inside = True
            try:
                yield
            finally:
                self.__inside = False

    def __check_process(self) -> None:
        """Look for a fork, before taking the lock: a child may have inherited it locked."""
        if self.__journal is not None:
            self.__journal.check_process()
        elif self.__pid != os.getpid():
            self.__pid, self.write_lock = os.getpid(), threading.Lock()

    def __backup(self, newest: Optional[Sequence[str]] = None) -> None:
        """Save; ``newest`` are the JSON texts of the entries added last, if they are at hand."""
        journal = self.__journal
        if journal is None:
            return
        if journal.is_open or not self.__reopens:
            self.__save(journal, newest)
            return
        self.__open_again(journal)
        try:
            self.__save(journal, closing=True)
        finally:
            journal.close()

    def __save(
        self, journal: Journal, newest: Optional[Sequence[str]] = None, closing: bool = False
    ) -> None:
        delayed, entries = self.__delayed, self.__entries
        sync = delayed is None or delayed.is_due()
        try:
            journal.save(entries.data, entries.unsaved, newest, closing, sync)
        except UnreadEntries as unread:
            logger.warning(
                "storage `%s`: the backup file could not be read at first; its %d entries are put "
                "in front now",
                self.storage_id,
                len(unread.entries),
            )
            entries.add(unread.entries, self.__clock.monotonic(), front=True)
            entries.unsaved.whole = True
            self.__bounds.trim(entries)
            journal.save(entries.data, entries.unsaved, closing=closing, sync=sync)
        if delayed is not None:
            delayed.note(journal.is_unsynced)

    def __sync(self) -> None:
        """Make durable what was written without; called in a timer's thread."""
        journal = self.__journal
        assert journal is not None
        with self.__locked():
            if not journal.is_open:
                return
            try:
                journal.sync()
                if self.__delayed is not None:
                    self.__delayed.note(is_unsynced=False)
                return
            except OSError as exc:
                logger.error("storage `%s`: syncing failed: %s", self.storage_id, exc)
            self.__entries.unsaved.whole = True
            try:
                self.__save(journal)
            except StorageError as exc:
                logger.error("storage `%s`: %s", self.storage_id, exc)
                if self.__delayed is not None:
                    self.__delayed.note(is_unsynced=True)  # try again


def _require_list(value: Any, name: str) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list, got {type(value).__name__}")
