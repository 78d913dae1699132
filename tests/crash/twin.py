"""A storage at work, and beside it a plain list that does the same."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

from uun_iot_storage import Storage, StorageError

from .recorder import Recorder

__all__ = ["FILE", "Twin", "opened"]

#: name of the backup file, below the root
FILE = "s.json"


def opened(root: Path, maxlen: int = 0, file: str = FILE, **options: Any) -> Storage:
    """Return the storage whose files are in a directory."""
    return Storage("s", str(root / file), maxlen, **options)


class Twin:
    """A storage and its model; each backup is an operation, noted in the recorder's log.

    What is added without a backup counts as part of the next backup's operation.

    Args:
        recorder: where to note what has begun and what has returned.
        states: the lists that the storage may load, the last one being what it should.
        maxlen: the storage's limit.
        file: the backup file, below the root.
        options: further ones of the storage.

    Attributes:
        states: the list after each operation; those that the log's marks count.
        list: what the storage must hold now.
    """

    def __init__(
        self,
        recorder: Recorder,
        states: Sequence[List[Any]] = ((),),  # type: ignore[assignment]  # read only
        maxlen: int = 0,
        file: str = FILE,
        **options: Any,
    ) -> None:
        self.states: List[List[Any]] = [list(each) for each in states]
        self.maxlen = maxlen
        self.file = file
        self._recorder = recorder
        self._returned = 0
        recorder.mark(len(self.states) - 1, 0)
        self.storage = opened(Path(recorder.root), maxlen, file, **options)
        loaded = self.storage.data
        assert loaded in self.states, f"loaded {loaded!r:.300}, none of {self.states!r:.300}"
        while self.states[-1] != loaded:  # what the crash has taken
            self.states.pop()
        self.list = copy.deepcopy(loaded)

    # -- operations -------------------------------------------------------------------------

    def append(self, entry: Any, backup: bool = True) -> None:
        self.list.append(copy.deepcopy(entry))
        self._do(lambda: self.storage.append(entry, backup), backup)

    def merge(self, entries: List[Any], new_data: bool = True, backup: bool = True) -> None:
        copies = copy.deepcopy(entries)
        self.list = self.list + copies if new_data else copies + self.list
        self._do(lambda: self.storage.merge(entries, new_data, backup), backup)

    def empty(self) -> None:
        self.list = []
        self._do(self.storage.empty)

    def by_hand(self, change: Callable[[List[Any]], object], assign: bool = False) -> None:
        """Change the live list under the lock, as old code does; no backup.

        Args:
            change: made to the list.
            assign: assign the list afterwards, so that changes inside of it are noticed.
        """
        change(self.list)
        with self.storage.write_lock:
            change(self.storage.data)
            if assign:
                self.storage.data = self.storage.data

    def send(
        self,
        failed: Sequence[int] = (),
        foreign: Sequence[Any] = (),
        limit: Optional[int] = None,
        meanwhile: Optional[Callable[[], None]] = None,
        copied: bool = False,
    ) -> None:
        """Take a batch and acknowledge it.

        Args:
            failed: positions in the batch of what was not sent; those beyond it count for none.
            foreign: further entries that the sender says it has not sent.
            limit: of the batch.
            meanwhile: what happens while the network works; it may add at the end.
            copied: the sender returns equal entries, not the same ones.
        """
        batch = self.storage.take(limit)
        count = len(batch)
        failed = [position for position in failed if position < count]
        assert batch.entries == self.list[:count]
        before = self._dropped
        if meanwhile is not None:
            meanwhile()
        dropped = self._dropped - before
        returned = [batch.entries[position] for position in failed]
        returned = (copy.deepcopy(returned) if copied else returned) + list(foreign)
        taken = [n for n in range(count) if n >= dropped]
        left = [self.list[n - dropped] for n in taken if n in failed]
        self.list = copy.deepcopy(list(foreign)) + left + self.list[len(taken) :]
        self._do(lambda: self.storage.acknowledge(batch, returned), tells_failures=False)

    def refuse(self, refused: Sequence[int]) -> None:
        """Take all; the server refuses some for good, see ``max_attempts=1``."""
        batch = self.storage.take()
        failed = [batch.entries[position] for position in refused]
        self.list = []
        self._do(
            lambda: self.storage.acknowledge(batch, failed, refused=failed), tells_failures=False
        )

    def close(self) -> None:
        self._do(self.storage.close)

    def reopen(self) -> None:
        self.storage.reopen()
        assert self.storage.data == self.list

    def second(self) -> None:
        """Go on with a second storage of this process on the same file."""
        first = self.storage
        self.storage = opened(Path(self._recorder.root), self.maxlen, self.file)
        assert self.storage.data == self.states[-1]
        first.close()
        self.list = copy.deepcopy(self.states[-1])

    # -- keeping books ----------------------------------------------------------------------

    _dropped = 0

    def _do(
        self, call: Callable[[], object], backup: bool = True, tells_failures: bool = True
    ) -> None:
        surplus = len(self.list) - self.maxlen
        if self.maxlen and surplus > 0:
            self._dropped += surplus
            del self.list[:surplus]
        if backup:
            self.states.append(copy.deepcopy(self.list))
            self._recorder.mark(len(self.states) - 1, self._returned)
        failures = self._failures()
        try:
            call()
        except StorageError:
            assert backup and self._failures() > failures, "a backup failed, and no call did"
        else:
            if backup and (tells_failures or self._failures() == failures):
                self._returned = len(self.states) - 1
                self._recorder.mark(self._returned, self._returned)
        assert self.storage.data == self.list

    def _failures(self) -> int:
        return self._recorder.failures
