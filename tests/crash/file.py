"""A file of the model of a disk: what may be left of it; the rules stand in `disk`."""

from __future__ import annotations

import random
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .state import Content

__all__ = ["BRIEF", "LONG", "SHORT", "Effort", "File"]


class Effort(NamedTuple):
    """How many variations to try.

    Args:
        cuts: places within one write, beyond its ends, its middle and its blocks.
        masks: random mixtures of blocks of one write.
        states: about how many states at one point of the log; beyond, they are sampled.
    """

    cuts: int
    masks: int
    states: int


BRIEF = Effort(cuts=0, masks=0, states=8)
SHORT = Effort(cuts=0, masks=1, states=16)
LONG = Effort(cuts=6, masks=6, states=400)


class _Change(NamedTuple):
    """A write, or a truncation (no data), of which it is not known whether it lasts."""

    offset: int
    data: Optional[bytes]
    certain: bool = False
    adrift: bool = False  # a sync failed: no later one makes it certain

    def apply(self, content: bytes) -> bytes:
        if self.data is None:
            return content[: self.offset].ljust(self.offset, b"\0")
        end = self.offset + len(self.data)
        return content[: self.offset].ljust(self.offset, b"\0") + self.data + content[end:]


def _apply(content: bytes, changes: Iterable[_Change]) -> bytes:
    for change in changes:
        content = change.apply(content)
    return content


class File:
    """A file: what is durable, and what happened since. Never changed, only replaced."""

    def __init__(self, durable: bytes = b"", changes: Tuple[_Change, ...] = ()) -> None:
        self.durable = durable
        self.changes = changes
        self.content = _apply(durable, changes)
        self._variants: Dict[Effort, List[Content]] = {}

    def changed(self, offset: int, data: Optional[bytes]) -> File:
        return File(self.durable, (*self.changes, _Change(offset, data)))

    def synced(self) -> File:
        changes = [c if c.adrift else c._replace(certain=True) for c in self.changes]
        durable = self.durable
        while changes and changes[0].certain:
            durable = changes.pop(0).apply(durable)
        return File(durable, tuple(changes))

    def sync_failed(self) -> File:
        return File(self.durable, tuple(c._replace(adrift=not c.certain) for c in self.changes))

    def variants(self, effort: Effort) -> List[Content]:
        """Return what may be left: first all, then (if that differs) nothing of what is new."""
        found = self._variants.get(effort)
        if found is None:
            unique = dict.fromkeys(self._contents(effort))
            found = self._variants[effort] = [Content(data) for data in unique]
        return found

    def _contents(self, effort: Effort) -> Iterator[bytes]:
        yield self.content
        for number in range(len(self.changes)):
            yield self._first(number)
        for number, change in enumerate(self.changes):
            if change.certain:
                continue
            yield _apply(self.durable, self.changes[:number] + self.changes[number + 1 :])
            if change.data is not None:
                before = _apply(self.durable, self.changes[:number])
                for parts, whole in _damages(change.offset, change.data, effort):
                    yield self._partly(before, change, parts, whole, number)

    def _first(self, number: int) -> bytes:
        """Return the content with the first changes, and of the later ones the certain."""
        certain = [change for change in self.changes[number:] if change.certain]
        return _apply(self.durable, (*self.changes[:number], *certain))

    def _partly(
        self, before: bytes, change: _Change, parts: Sequence[slice], whole: bool, number: int
    ) -> bytes:
        assert change.data is not None
        end = change.offset + (len(change.data) if whole else parts[-1].stop)
        content = bytearray(before.ljust(end, b"\0"))
        for part in parts:
            place = slice(change.offset + part.start, change.offset + part.stop)
            content[place] = change.data[part]
        later = [change for change in self.changes[number + 1 :] if change.certain]
        return _apply(bytes(content), later)


def _damages(offset: int, data: bytes, effort: Effort) -> Iterator[Tuple[List[slice], bool]]:
    """Yield which parts of a write are left, and whether the file has the size of all of it."""
    length = len(data)
    chance = random.Random(length)
    cuts = {1, length // 2, length - 1, *(chance.randrange(length) for _ in range(effort.cuts))}
    for size in (512, 4096):
        borders = range(size - offset % size, length, size)
        cuts.update(borders[:1], borders[-1:])
    for cut in sorted(cuts - {0, length}):
        yield [slice(0, cut)], False
        yield [slice(0, cut)], True
        yield [slice(cut, length)], True
    yield [], True
    for size in (512, 4096):
        edges = [0, *range(size - offset % size, length, size), length]
        blocks = [slice(*pair) for pair in zip(edges, edges[1:])]
        if len(blocks) > 2:
            yield blocks[::2], True
            yield blocks[1::2], True
            for _ in range(effort.masks):
                yield [block for block in blocks if chance.random() < 0.5], True
