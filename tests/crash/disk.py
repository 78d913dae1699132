"""A model of a file system: every state that a kill or a power cut may leave.

The rules that it assumes, which are those of POSIX and of no particular file system:

- A kill loses nothing: what the kernel took is there. Amid a write, a part of it is there
  (a prefix).
- A power cut keeps what was synced. Of what was written to a file since its last sync, any
  of these is left: nothing; all; the first writes; the last without an earlier one; a
  prefix of a write; the whole size with zeros (or what was there before) in place of the
  end, of the beginning, or of some of the blocks of 512 or 4096 bytes. Cutting a file short
  is a change like a write, and may be lost while a later write is kept.
- Names of a directory change in order: since its last sync, the first 0, 1, 2, … changes
  are left. Each change is atomic, also a replacing rename.
- A sync of a file makes its content and size durable, never its name; a sync of a directory
  makes its names durable, never the content of its files; directories do not wait for one
  another, nor files for directories.
- After a failed sync nobody knows: what was written before may be lost for good, though
  later syncs of the file succeed. (A failed sync of a directory leaves its changes pending.)
- Nothing damages what was synced, and zeros stand where content was lost, never the old
  content of others.

Combinations of several files and directories are complete while there are few; else each
deviation occurs alone, with all else kept and with all else lost, and a sample of the rest
is drawn with a fixed seed.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from .file import BRIEF, LONG, SHORT, Effort, File
from .operations import (
    Create,
    FailedSync,
    MakeDirectory,
    Mark,
    NameChange,
    Operation,
    Rename,
    Sync,
    SyncDirectory,
    Truncate,
    Unlink,
    Write,
)
from .state import Content, State, read_directory

__all__ = ["BRIEF", "LONG", "SHORT", "Content", "Disk", "Effort", "State"]

#: what a name stands for that is a directory
_DIRECTORY = -1


class Disk:
    """The files and names of a directory, fed with the operations of a log.

    Args:
        state: what is there, durably, at first.
    """

    def __init__(self, state: Optional[State] = None) -> None:
        self._files: Dict[int, File] = {}
        self._durable: Dict[str, Dict[str, int]] = {"": {}}
        self._changes: Dict[str, Tuple[NameChange, ...]] = {}
        for path, content in sorted((state or State({})).files.items()):
            directory, _, name = path.rpartition("/")
            if content is None:
                self._durable[directory][name] = _DIRECTORY
                self._durable[path] = {}
            else:
                number = self._durable[directory][name] = self.next_number()
                self._files[number] = File(content.data)

    @classmethod
    def of_directory(cls, root: Path) -> Disk:
        """Return one that holds, durably, what is in a real directory."""
        return cls(read_directory(root))

    def copy(self) -> Disk:
        """Return another one with the same past."""
        other = Disk()
        other._files = dict(self._files)
        other._durable = {directory: dict(names) for directory, names in self._durable.items()}
        other._changes = dict(self._changes)
        return other

    def next_number(self) -> int:
        """Return a number that no file has."""
        return max(self._files, default=0) + 1

    def numbers(self) -> Dict[str, int]:
        """Return path -> number of the files that are there now; directories have -1."""
        numbers = {}
        for directory, names in self._names({}).items():
            for name, number in names.items():
                numbers[f"{directory}/{name}" if directory else name] = number
        return numbers

    def apply(self, operation: Operation, syncs: bool = True, directory_syncs: bool = True) -> None:
        """Do what an operation did.

        Args:
            operation: from the log.
            syncs: False has files never synced, as if the program did not.
            directory_syncs: the same for directories.
        """
        files = self._files
        if isinstance(operation, Write):
            file = files[operation.file]
            files[operation.file] = file.changed(operation.offset, operation.data)
        elif isinstance(operation, Truncate):
            files[operation.file] = files[operation.file].changed(operation.size, None)
        elif isinstance(operation, Sync):
            if syncs:
                files[operation.file] = files[operation.file].synced()
        elif isinstance(operation, FailedSync):
            files[operation.file] = files[operation.file].sync_failed()
        elif isinstance(operation, SyncDirectory):
            if directory_syncs:
                names = self._names({})[operation.directory]
                self._durable[operation.directory] = names
                self._changes.pop(operation.directory, None)
        elif not isinstance(operation, Mark):
            if isinstance(operation, Create):
                files[operation.file] = File()
            elif isinstance(operation, MakeDirectory):
                path = f"{operation.directory}/{operation.name}".lstrip("/")
                self._durable[path] = {}
            before = self._changes.get(operation.directory, ())
            self._changes[operation.directory] = (*before, operation)

    def _names(self, left: Dict[str, int]) -> Dict[str, Dict[str, int]]:
        """Return the names by directory, with the first changes of each that ``left`` says."""
        found = {}
        for directory, durable in self._durable.items():
            changes = self._changes.get(directory, ())
            names = dict(durable)
            for change in changes[: left.get(directory, len(changes))]:
                if isinstance(change, Create):
                    names[change.name] = change.file
                elif isinstance(change, MakeDirectory):
                    names[change.name] = _DIRECTORY
                elif isinstance(change, Unlink):
                    del names[change.name]
                elif isinstance(change, Rename):
                    names[change.target] = names.pop(change.source)
            found[directory] = names
        return found

    def kept(self) -> State:
        """Return what is there when nothing is lost: what a kill leaves."""
        numbers = self.numbers()
        return State(
            {p: Content(self._files[n].content) if n >= 0 else None for p, n in numbers.items()}
        )

    def states(self, effort: Effort, seed: int = 0) -> Iterator[State]:
        """Yield what a kill or a power cut at this point may leave, each once."""
        seen: Set[Tuple[Tuple[str, bytes], ...]] = set()
        pending = list(self._changes.items())
        lefts = list(itertools.product(*(range(len(each), -1, -1) for _, each in pending)))
        if len(lefts) > effort.states:  # with both ends
            lefts = [*lefts[:: len(lefts) // effort.states], lefts[-1]]
        share = max(8, effort.states // len(lefts))
        for left in lefts:
            names = self._names({d: n for (d, _), n in zip(pending, left)})
            for state in self._contents(names, effort, share, seed):
                if state.key not in seen:
                    seen.add(state.key)
                    yield state

    def _contents(
        self, names: Dict[str, Dict[str, int]], effort: Effort, share: int, seed: int
    ) -> Iterator[State]:
        there: Dict[str, Optional[Content]] = {}
        uncertain: List[Tuple[str, List[Content]]] = []
        directories = [""]
        while directories:
            directory = directories.pop()
            for name, number in sorted(names[directory].items()):
                path = f"{directory}/{name}" if directory else name
                if number == _DIRECTORY:
                    there[path] = None
                    directories.append(path)
                    continue
                variants = self._files[number].variants(effort)
                there[path] = variants[0]
                if len(variants) > 1:
                    uncertain.append((path, variants))
        paths = [path for path, _ in uncertain]
        for combination in _combinations([each for _, each in uncertain], share, seed):
            yield State({**there, **dict(zip(paths, combination))})


def _combinations(
    choices: List[List[Content]], share: int, seed: int
) -> Iterator[Sequence[Content]]:
    """Yield one of each: all combinations while they are few, else the telling ones."""
    total = 1
    for choice in choices:
        total *= len(choice)
    if total <= share:
        yield from itertools.product(*choices)
        return
    for others in (0, 1):  # all else kept, all else lost
        for number, choice in enumerate(choices):
            rest = [each[others] for each in choices]
            for content in choice:
                yield [*rest[:number], content, *rest[number + 1 :]]
    chance = random.Random(seed)
    for _ in range(share):
        yield [chance.choice(choice) for choice in choices]
