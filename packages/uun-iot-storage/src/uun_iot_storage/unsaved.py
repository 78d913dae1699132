"""What the disk lacks of the list in memory, as changes for the journal."""

from __future__ import annotations

import json
from typing import Any, List, Optional, Sequence

from .encoding import dump_one

__all__ = ["Unsaved"]

#: more removals than this are not worth remembering one by one
_MOST_REMOVALS = 64


class Unsaved:
    """The difference between the list in memory and the one on the disk.

    All that can happen to the list keeps it in three parts: new entries in front, those on
    the disk less some removed ones, new entries at the end. So the difference stays small
    however often the list changes while nothing is saved. What was done by hand is not
    known; then the list is saved as a whole.
    """

    __slots__ = ("end", "front", "removals", "whole")

    def __init__(self) -> None:
        #: the difference is not known: all must be saved
        self.whole = False
        #: how many entries at the front, and at the end, are not on the disk
        self.front = 0
        self.end = 0
        #: what has gone of the entries on the disk, as changes of the journal
        self.removals: List[List[Any]] = []

    def __bool__(self) -> bool:
        return bool(self.whole or self.front or self.end or self.removals)

    def needs_disk(self, length: int) -> bool:
        """Are some of the entries on the disk?

        Args:
            length: of the list.
        """
        return length > (0 if self.whole else self.front + self.end)

    def forget(self) -> None:
        """Begin anew: the disk has all."""
        self.__init__()  # type: ignore[misc]  # the same fields with the same values

    def added(self, count: int, front: bool) -> None:
        """Note new entries at one end of the list."""
        if front:
            self.front += count
        else:
            self.end += count

    def dropped(self, count: int, length: int) -> None:
        """Note that the oldest entries went.

        Args:
            count: how many.
            length: of the list before.
        """
        kept = length - self.front - self.end
        of_front = min(count, self.front)
        of_kept = min(count - of_front, kept)
        self.front -= of_front
        self.end -= count - of_front - of_kept
        if of_kept:
            self._dropped_of_disk(of_kept)

    def removed(self, places: Sequence[int], length: int) -> None:
        """Note that entries went.

        Args:
            places: their positions in the list, ascending.
            length: of the list before.
        """
        begin, end = self.front, length - self.end
        runs: List[List[int]] = []
        past = begin  # behind the last run
        for place in places:
            if place < begin:
                self.front -= 1
            elif place >= end:
                self.end -= 1
            elif runs and place == past:
                runs[-1][1] += 1
                past += 1
            else:
                runs.append([place - past, 1])
                past = place + 1
        if len(runs) == 1 and runs[0][0] == 0:
            self._dropped_of_disk(runs[0][1])  # as mostly happens
        elif runs:
            self._removed(["r", runs])

    def _dropped_of_disk(self, count: int) -> None:
        if self.removals and self.removals[-1][0] == "d":
            self.removals[-1][1] += count
        else:
            self._removed(["d", count])

    def _removed(self, change: List[Any]) -> None:
        if len(self.removals) < _MOST_REMOVALS:
            self.removals.append(change)
        else:
            self.whole = True

    def text(self, entries: List[Any], newest: Optional[Sequence[str]] = None) -> str:
        """Return the changes that make the list on the disk equal to the one in memory, as JSON.

        Args:
            entries: the list in memory.
            newest: JSON texts of the entries added last, at the end, where they are at hand.
        """
        changes = [json.dumps(change) for change in self.removals]
        if self.front:
            changes.append(f'["f", [{_joined(entries[: self.front])}]]')
        if self.end:
            if newest and self.end == len(newest):
                text = ", ".join(newest)
            else:
                text = _joined(entries[len(entries) - self.end :])
            changes.append(f'["a", [{text}]]')
        return f"[{', '.join(changes)}]"


def _joined(entries: List[Any]) -> str:
    return ", ".join(dump_one(entry)[0] for entry in entries)
