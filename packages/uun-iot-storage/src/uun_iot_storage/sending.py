"""Sending what is stored by a function that says what it could not send."""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

from uun_iot_core.logs import get_logger

from .entries import Batch
from .storage import Storage

__all__ = ["send_stored"]

logger = get_logger(__name__)

#: calls that looking for refused entries may take in one go
_MOST_CALLS = 100


def send_stored(storage: Storage, usecase: Callable[[List[Any]], List[Any]], owner: str) -> None:
    """Offer the stored entries to a function, and remove what it has sent.

    Where the storage sets refused entries aside (``max_attempts``), it must be told apart
    whether the server refuses an entry or is not there. An entry counts as refused once the
    server has taken one behind it. Where the function fails with all entries at once, the
    oldest and the newest are offered alone; if one of them is taken, the server is there, and
    the others are offered in halves and halves of these, until those that it refuses are found.

    Args:
        storage: what to send from.
        usecase: called with a list of entries; returns the list of those not sent.
        owner: whose storage it is, for messages.

    Raises:
        TypeError: the function returned no list; nothing leaves the storage.
    """
    batch = storage.take()
    if not batch:
        return
    sending = _Sending(storage, usecase, owner)
    logger.info("module `%s` sends %d stored entries", owner, len(batch))
    sending.send(batch)
    if sending.left:
        logger.warning(
            "module `%s`: %d of %d stored entries were not sent and stay stored",
            owner,
            sending.left,
            len(batch),
        )


class _Sending:
    """One go of sending."""

    def __init__(
        self, storage: Storage, usecase: Callable[[List[Any]], List[Any]], owner: str
    ) -> None:
        self._storage = storage
        self._usecase = usecase
        self._owner = owner
        self._calls = 0
        # failed alone, and nothing behind was taken yet; with what the function returned
        self._doubtful: List[Tuple[Batch, List[Any]]] = []
        self._skipped: List[Batch] = []  # not looked at for want of calls
        #: how many entries failed
        self.left = 0

    def send(self, batch: Batch) -> None:
        """Offer a batch, and look for refused entries if that is wanted and of use."""
        failed = self._offer(batch)
        if len(failed) < len(batch) or not self._storage.max_attempts or len(batch) == 1:
            self._settle(batch, failed)
            return
        last = len(batch) - 1
        if self._is_taken(batch.part(0, 1)) or self._is_taken(batch.part(last, last + 1)):
            others = batch.part(1, last if self.left else last + 1)
            middle = max(0, len(others) - 1)
            self._search(others.part(0, middle))
            # whatever the search has cost: if the newest is taken, those before it were refused
            self._calls = 0
            self._search(others.part(middle, len(others)))
            for one, returned in [*self._doubtful, *((one, one.entries) for one in self._skipped)]:
                self._storage.acknowledge(one, returned)
        else:
            self.left = 0
            self._settle(batch, failed)

    def _offer(self, batch: Batch) -> List[Any]:
        self._calls += 1
        failed = self._usecase(batch.entries)
        if not isinstance(failed, list):
            raise TypeError(
                f"the usecase of module `{self._owner}` must return the list of the entries that "
                f"were not sent ([] for none), got {type(failed).__name__}; what it was given "
                "stays stored"
            )
        return failed

    def _settle(self, batch: Batch, failed: List[Any]) -> None:
        sent, _ = batch.split(failed)
        places = [place for place, slot in enumerate(batch.slots) if slot in sent]
        before = batch.slots[: places[-1]] if places else ()
        refused = [slot.entry for slot in before if slot not in sent]
        if sent:
            self._condemn()
        self.left += len(failed)
        self._storage.acknowledge(batch, failed, refused=refused)

    def _condemn(self) -> None:
        """The server has taken an entry: those that failed alone before were refused."""
        doubtful, self._doubtful = self._doubtful, []
        for one, failed in doubtful:
            self._storage.acknowledge(one, failed, refused=one.entries)

    def _is_taken(self, one: Batch) -> bool:
        """Offer one entry."""
        failed = self._offer(one)
        if failed:
            self.left += 1
            self._doubtful.append((one, failed))
            return False
        self._condemn()
        self._storage.acknowledge(one, [])
        return True

    def _search(self, batch: Batch) -> None:
        """Offer a batch of which something is refused, in halves."""
        if not batch:
            return
        if self._calls >= _MOST_CALLS:
            self.left += len(batch)  # the next time
            self._skipped.append(batch)
            return
        if len(batch) == 1:
            self._is_taken(batch)
            return
        failed = self._offer(batch)
        if len(failed) < len(batch):
            self._settle(batch, failed)
        else:
            middle = len(batch) // 2
            self._search(batch.part(0, middle))
            self._search(batch.part(middle, len(batch)))
