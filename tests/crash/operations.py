"""What a log of the disk consists of: changes of files, of names, syncs, and marks."""

from __future__ import annotations

from typing import NamedTuple, Tuple, Union

__all__ = [
    "Create",
    "FailedSync",
    "MakeDirectory",
    "Mark",
    "NameChange",
    "Operation",
    "Rename",
    "Sync",
    "SyncDirectory",
    "Truncate",
    "Unlink",
    "Write",
    "summary",
]


class Write(NamedTuple):
    """Bytes were written to a file; files have numbers, since names change."""

    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file was cut, or made longer with zeros."""

    file: int
    size: int


class Sync(NamedTuple):
    """A file was synced, with or without its metadata."""

    file: int


class FailedSync(NamedTuple):
    """A sync of a file raised: the kernel may have dropped what it could not write."""

    file: int


class Create(NamedTuple):
    """A new, empty file got its name; directories are paths below the root, which is ""."""

    directory: str
    name: str
    file: int


class Rename(NamedTuple):
    """A name was replaced by another of the same directory."""

    directory: str
    source: str
    target: str


class Unlink(NamedTuple):
    """A name was removed."""

    directory: str
    name: str


class MakeDirectory(NamedTuple):
    """A directory was made."""

    directory: str
    name: str


class SyncDirectory(NamedTuple):
    """The names in a directory were synced."""

    directory: str


class Mark(NamedTuple):
    """From here on, ``returned`` operations of the workload are done, ``begun`` begun."""

    begun: int
    returned: int


NameChange = Union[Create, Rename, Unlink, MakeDirectory]
Operation = Union[
    Write, Truncate, Sync, FailedSync, Create, Rename, Unlink, MakeDirectory, SyncDirectory, Mark
]


def summary(operation: Operation) -> str:
    """Return an operation as one short line."""
    shown: Tuple[object, ...] = operation
    if isinstance(operation, Write):
        content = operation.data
        text = repr(content) if len(content) <= 60 else f"{content[:60]!r}... {len(content)} bytes"
        return f"Write(file {operation.file} at {operation.offset}: {text})"
    return f"{type(operation).__name__}{shown}"
