"""What became of the entries that were stored: delivered, still there, or lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

from uun_iot_core.config import canonical
from uun_iot_storage import Storage

if TYPE_CHECKING:
    from uun_iot.sandbox import Sandbox

__all__ = ["Delivery", "Key", "Ledger"]

#: what an entry is recognised by at the uuApp
Key = Callable[[Any], Any]


@dataclass(frozen=True)
class Delivery:
    """How many entries became what.

    Args:
        stored: entries that storages took.
        delivered: of these, how many have arrived, each counted once.
        duplicated: arrivals of entries that had arrived before.
        waiting: of those that have not arrived, how many are in a storage still.
        lost: the others.
    """

    stored: int
    delivered: int
    duplicated: int
    waiting: int
    lost: int


class Ledger:
    """Notes which entries the storages of modules take."""

    def __init__(self) -> None:
        self._taken: List[Any] = []
        #: the storage in use, by module and backup file
        self._storages: Dict[Tuple[str, Optional[str]], Storage] = {}

    def watch(self, owner: str, storage: Storage) -> None:
        """Note what a storage holds and will take.

        Args:
            owner: the module or submodule whose it is.
            storage: of a gateway that is built and not started.
        """
        key = owner, storage.backup_path
        if storage.backup_path is None or key not in self._storages:
            self._taken += storage.data  # else it is what the one before has left
        self._storages[key] = storage
        # instance attributes: other storages of the process are not this test's
        append, merge = storage.append, storage.merge

        def noting_append(data: Any, backup: bool = False) -> None:
            append(data, backup)
            self._taken.append(data)

        def noting_merge(data: List[Any], new_data: bool = True, backup: bool = True) -> None:
            merge(data, new_data, backup)
            self._taken += data

        storage.append = noting_append  # type: ignore[method-assign]  # observed, and called
        storage.merge = noting_merge  # type: ignore[method-assign]  # observed, and called

    def delivery(self, uuapp: Sandbox, key: Optional[Key]) -> Tuple[Delivery, List[Any]]:
        """Return what became of the entries, and those that are lost.

        Args:
            uuapp: where they should have arrived.
            key: what an entry is recognised by, of an entry and of what has arrived.
        """
        # In this order, since gateways may be at work: what leaves a storage has arrived before.
        entries = list(self._taken)
        waiting: Counter[str] = Counter()
        for storage in list(self._storages.values()):
            waiting.update(_text(entry, key) for entry in list(storage.data))
        arrived: Counter[str] = Counter()
        for request in uuapp.requests:
            if request.processed and request.dto_in is not None:
                arrived.update(_text(one, key) for one in _objects(request.dto_in))
        texts = [_text(entry, key) for entry in entries]
        taken = Counter(texts)
        delivered = sum((taken & arrived).values())
        missing = taken - arrived
        lost = missing - waiting
        duplicated = sum(count for text, count in (arrived - taken).items() if text in taken)
        total = sum(missing.values())
        return (
            Delivery(
                stored=len(texts),
                delivered=delivered,
                duplicated=duplicated,
                waiting=total - sum(lost.values()),
                lost=sum(lost.values()),
            ),
            [entry for entry, text in zip(entries, texts) if text in lost],
        )


def _objects(dto_in: Dict[str, Any]) -> Iterator[Any]:
    """Yield an input object, and what is in the lists within it."""
    yield dto_in
    for value in dto_in.values():
        if isinstance(value, list):
            yield from value


def _text(entry: Any, key: Optional[Key]) -> str:
    """Return what an entry is compared by."""
    if key is not None:
        try:
            entry = key(entry)
        except (LookupError, TypeError, AttributeError):
            return "\0no key"  # another command's object
    elif isinstance(entry, dict) and "id" in entry:
        entry = {"id": entry["id"]}  # what was added on the way does not matter
    try:
        return canonical(entry)
    except (TypeError, ValueError):
        return repr(entry)
