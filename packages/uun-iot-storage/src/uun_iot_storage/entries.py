"""The entries in memory: a plain list, and beside it which entry is which.

Values alone do not tell entries apart: the number 5 that was dropped and the 5 that was
appended later are one object. So each place of the list has a slot beside it, made when
the entry came in; a batch consists of slots, and acknowledging removes slots.
"""

from __future__ import annotations

from collections import deque
from operator import is_
from typing import Any, Deque, Dict, Iterator, List, Sequence, Set, Tuple

__all__ = ["Batch", "Entries", "Slot"]


class Slot:
    """One stored entry, told apart from every equal one."""

    __slots__ = ("entry",)

    def __init__(self, entry: Any) -> None:
        self.entry = entry


class Batch:
    """Entries taken for sending, still in their storage until they are acknowledged.

    Made by `Storage.take`; handed back to `Storage.acknowledge`. Has a length and can be
    iterated.
    """

    def __init__(self, owner: Entries, slots: Sequence[Slot]) -> None:
        self._owner = owner
        self._slots = tuple(slots)

    @property
    def entries(self) -> List[Any]:
        """The entries in a new list, oldest first; the entries themselves are no copies."""
        return [slot.entry for slot in self._slots]

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.entries)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} entries>"

    def belongs_to(self, entries: Entries) -> bool:
        """Was it taken from these entries?"""
        return self._owner is entries

    def split(self, failed: List[Any]) -> Tuple[Set[Slot], List[Any]]:
        """Tell the sent ones from those that failed.

        Args:
            failed: what was not sent; matched by identity, then by equality, left to
                right, each once.

        Returns:
            The slots of what was sent, and those of ``failed`` that match nothing.
        """
        by_identity: Dict[int, Deque[Slot]] = {}
        for slot in self._slots:
            by_identity.setdefault(id(slot.entry), deque()).append(slot)
        sent = set(self._slots)
        others = []
        for entry in failed:
            same = by_identity.get(id(entry))
            if same:
                sent.discard(same.popleft())
            else:
                others.append(entry)
        return sent, self._match_equal(others, sent) if others else []

    def _match_equal(self, others: List[Any], sent: Set[Slot]) -> List[Any]:
        # In buckets: comparing each with each would take minutes for a long backlog.
        buckets: Dict[int, List[Slot]] = {}
        for slot in self._slots:
            if slot in sent:
                buckets.setdefault(_fingerprint(slot.entry), []).append(slot)
        unmatched = []
        for entry in others:
            bucket = buckets.get(_fingerprint(entry), [])
            for slot in bucket:
                if _equal(slot.entry, entry):
                    bucket.remove(slot)
                    sent.discard(slot)
                    break
            else:
                unmatched.append(entry)
        return unmatched


def _fingerprint(entry: Any) -> int:
    """Return a number that is the same for equal entries (1, 1.0 and True are equal)."""
    try:
        if isinstance(entry, dict):
            return hash(frozenset((key, _fingerprint(value)) for key, value in entry.items()))
        if isinstance(entry, (list, tuple)):
            return hash((isinstance(entry, list), *map(_fingerprint, entry)))
        return hash(entry)
    except (TypeError, RecursionError):
        return 0  # unhashable, or too deep: compared one by one


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # a user's own comparison (an array, say): then they are not equal
        return False


class Entries:
    """The live list and the slots beside it; knows neither locks nor disks."""

    def __init__(self) -> None:
        self.data: List[Any] = []
        self._slots: List[Slot] = []

    def replace(self, entries: List[Any]) -> None:
        """Hold these entries instead, all of them new."""
        self.data = entries
        self._slots = [Slot(entry) for entry in entries]

    def sync(self, thorough: bool = False) -> None:
        """Find out whether the list was changed by hand, and which entries are still there.

        Args:
            thorough: look at every entry, not only at the length and both ends.
        """
        data, slots = self.data, self._slots
        if len(data) == len(slots):
            if not data:
                return
            if thorough:
                if all(map(is_, data, (slot.entry for slot in slots))):
                    return
            elif data[0] is slots[0].entry and data[-1] is slots[-1].entry:
                return
        known: Dict[int, Deque[Slot]] = {}
        for slot in slots:
            known.setdefault(id(slot.entry), deque()).append(slot)
        self._slots = []
        for entry in data:
            same = known.get(id(entry))
            self._slots.append(same.popleft() if same else Slot(entry))

    def append(self, entry: Any) -> None:
        """Add an entry at the end."""
        self.data.append(entry)
        self._slots.append(Slot(entry))

    def extend(self, entries: List[Any], front: bool = False) -> None:
        """Add entries at the end, or before all others."""
        place = 0 if front else len(self.data)
        self.data[place:place] = entries
        self._slots[place:place] = [Slot(entry) for entry in entries]

    def drop_oldest(self, count: int) -> None:
        """Remove entries from the front."""
        del self.data[:count]
        del self._slots[:count]

    def clear(self) -> None:
        """Remove all entries.

        The list that was `data` keeps them: old code empties a storage and merges back
        what it failed to send, which may be that very list.
        """
        self.replace([])

    def take(self, count: int) -> Batch:
        """Return the first ``count`` entries as a batch; they stay."""
        self.sync(thorough=True)
        return Batch(self, self._slots[:count])

    def acknowledge(self, sent: Set[Slot], unmatched: List[Any]) -> None:
        """Remove what was sent, as far as it is still there; put others in front."""
        self.sync(thorough=True)
        if sent:
            self._slots = [slot for slot in self._slots if slot not in sent]
            # a new list: who iterates over the old one goes on undisturbed
            self.data = [slot.entry for slot in self._slots]
        if unmatched:
            self.extend(unmatched, front=True)
