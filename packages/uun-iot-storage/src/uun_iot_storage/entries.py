"""The entries in memory: a plain list, and beside it which entry is which.

Values alone do not tell entries apart: the number 5 that was dropped and the 5 that was
appended later are one object. So each place of the list has a slot beside it, made when
the entry came in; a batch consists of slots, and acknowledging removes slots.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any, Deque, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from .encoding import dump_one, size_of, stamp_of
from .unsaved import Unsaved

__all__ = ["Batch", "Entries", "Slot"]


class Slot:
    """One stored entry, told apart from every equal one.

    Args:
        entry: the entry.
        since: when it came in, in the clock's monotonic seconds.
        stamp: of its JSON text, see `encoding.stamp_of`; None while that is not known.
    """

    __slots__ = ("attempts", "entry", "since", "stamp")

    def __init__(self, entry: Any, since: float, stamp: Optional[int] = None) -> None:
        self.entry = entry
        self.since = since
        self.stamp = stamp
        #: how often the server has refused it
        self.attempts = 0

    def measure(self) -> int:
        """Return the stamp of the entry as it is now."""
        return stamp_of(dump_one(self.entry)[0])


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

    @property
    def slots(self) -> Tuple[Slot, ...]:
        """What the storage knows the entries by."""
        return self._slots

    def belongs_to(self, entries: Entries) -> bool:
        """Was it taken from these entries?"""
        return self._owner is entries

    def part(self, begin: int, end: int) -> Batch:
        """Return some of the entries as a batch of their own.

        Args:
            begin: position of the first.
            end: position behind the last.
        """
        return Batch(self._owner, self._slots[begin:end])

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
    except Exception:  # unhashable, too deep, or a user's own: compared one by one
        return 0


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # a user's own comparison (an array, say): then they are not equal
        return False


class Entries:
    """The live list and the slots beside it; knows neither locks nor disks."""

    def __init__(self) -> None:
        self.data: List[Any] = []
        self._seen = self.data  # the list that the slots stand for
        self._slots: List[Slot] = []
        self.unsaved = Unsaved()
        #: bytes of all entries as JSON text; None as long as nobody has asked
        self._size: Optional[int] = None

    # -- looking -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def oldest(self) -> Optional[Slot]:
        """The slot of the oldest entry, if there is one."""
        return self._slots[0] if self._slots else None

    @property
    def size(self) -> int:
        """Bytes of all entries as JSON text, with a comma and a space behind each.

        The first look at it takes long, later ones take no time.
        """
        if self._size is None:
            for slot in self._slots:
                if slot.stamp is None:
                    slot.stamp = slot.measure()
            self._size = _total(self._slots)
        return self._size

    def still_there(self, slots: Iterable[Slot]) -> List[Slot]:
        """Return those of the slots that have not left meanwhile."""
        present = set(self._slots)
        return [slot for slot in slots if slot in present]

    def surplus(self, max_size: int) -> int:
        """Return how many of the oldest entries are too many for a size in bytes."""
        over, count = self.size - max_size, 0
        while over > 0 and count < len(self._slots):
            over -= _total(self._slots[count : count + 1])
            count += 1
        return count

    # -- changing ----------------------------------------------------------------------

    def replace(self, entries: List[Any], since: float) -> None:
        """Hold these entries instead, all of them new to us; the disk has them."""
        self.data = self._seen = entries
        self._slots = [Slot(entry, since) for entry in entries]
        self._size = None
        self.unsaved.forget()

    def sync(self, since: float, thorough: int = 0) -> None:
        """Find out whether the list was changed by hand, and which entries are still there.

        Args:
            since: when entries that are new came in.
            thorough: look at so many of the oldest entries, not only at the list, its length
                and both ends.
        """
        data, slots = self.data, self._slots
        if data is self._seen and len(data) == len(slots):
            if not data:
                return
            if data[0] is slots[0].entry and data[-1] is slots[-1].entry:
                some = zip(islice(data, thorough), slots)
                if not thorough or all(entry is slot.entry for entry, slot in some):
                    return
        known: Dict[int, Deque[Slot]] = {}
        for slot in slots:
            known.setdefault(id(slot.entry), deque()).append(slot)
        self._seen = data
        self._slots = []
        for entry in data:
            same = known.get(id(entry))
            self._slots.append(same.popleft() if same else Slot(entry, since))
        self._size = None
        self.unsaved.whole = True

    def add(
        self,
        entries: Sequence[Any],
        since: float,
        stamps: Optional[Sequence[int]] = None,
        front: bool = False,
    ) -> None:
        """Add entries at the end, or before all others.

        Args:
            entries: what to add.
            since: when they came in.
            stamps: of each of them, where they are known.
            front: before all others.
        """
        if stamps is None:
            slots = [Slot(entry, since) for entry in entries]
        else:
            slots = [Slot(entry, since, one) for entry, one in zip(entries, stamps)]
        place = 0 if front else len(self.data)
        self.data[place:place] = entries
        self._slots[place:place] = slots
        self.unsaved.added(len(slots), front)
        if stamps is None:
            self._size = None
        elif self._size is not None:
            self._size += _total(slots)

    def drop_oldest(self, count: int) -> None:
        """Remove entries from the front."""
        self.unsaved.dropped(count, len(self._slots))
        if self._size is not None:
            self._size -= _total(self._slots[:count])
        del self.data[:count]
        del self._slots[:count]

    def clear(self) -> None:
        """Remove all entries.

        The list that was `data` keeps them: old code empties a storage and merges back
        what it failed to send, which may be that very list.
        """
        self.unsaved.dropped(len(self._slots), len(self._slots))
        self.data = self._seen = []
        self._slots = []
        self._size = 0

    def take(self, count: int) -> Batch:
        """Return the first ``count`` entries as a batch; they stay."""
        return Batch(self, self._slots[:count])

    def remove(self, slots: Set[Slot]) -> int:
        """Remove entries, as far as they are still there; return how many were."""
        places, missing = [], len(slots)
        for place, slot in enumerate(self._slots):
            if not missing:
                break  # they mostly are at the front, and there may be a million behind
            if slot in slots:
                places.append(place)
                missing -= 1
        if not places:
            return 0
        self.unsaved.removed(places, len(self._slots))
        if self._size is not None:
            self._size -= _total(self._slots[place] for place in places)
        begin, end = places[0], places[-1] + 1
        left = [slot for slot in self._slots[begin:end] if slot not in slots]
        self._slots[begin:end] = left
        # a new list: who iterates over the old one goes on undisturbed
        self.data = self._seen = self.data[:begin] + [slot.entry for slot in left] + self.data[end:]
        return len(places)

    def unknown(self, entries: List[Any]) -> List[Any]:
        """Return those entries that are not stored: a list or dict that is one of ours is."""
        known = {id(entry) for entry in self.data if isinstance(entry, (dict, list))}
        return [entry for entry in entries if id(entry) not in known]

    def changed(self, slots: Iterable[Slot]) -> None:
        """Note that entries were changed in place: the disk has them as they were."""
        for slot in slots:
            slot.stamp = slot.measure()
            self._size = None
            self.unsaved.whole = True


def _total(slots: Iterable[Slot]) -> int:
    return sum(size_of(slot.stamp) for slot in slots if slot.stamp is not None)
