"""The text of a backup file: a JSON list, and behind it, as white space, which one it is.

A journal holds what happened since one certain snapshot. Its header names that snapshot by
a random identity, which stands behind the JSON list: a line of 64 blanks, a space for 0 and
a tab for 1, where any reader of JSON takes no notice of it. A second such line names the
snapshot that this one has replaced. So the rename that puts a snapshot in place also retires
the journal that is there, and nothing else need be written: a journal of the snapshot before
is known to be contained in this one. A checksum would not do for an identity: the empty list
comes back each time a storage is drained. It is used as well, to notice when someone has edited
the list and left the blanks.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional

from .encoding import dump_parts, parse_entries

__all__ = ["Snapshot", "SnapshotText", "digest_of", "new_identity", "parse_snapshot"]

_TAIL = re.compile(rb"\n([ \t]{64})\n([ \t]{64})\n\Z")
_TAIL_SIZE = 131
_NONE = "0" * 16


def new_identity() -> str:
    """Return an identity that no other snapshot has."""
    return os.urandom(8).hex()


def _blanks(identity: str) -> bytes:
    return format(int(identity, 16), "064b").replace("0", " ").replace("1", "\t").encode("ascii")


def _identity(blanks: bytes) -> Optional[str]:
    bits = blanks.decode("ascii").replace(" ", "0").replace("\t", "1")
    identity = format(int(bits, 2), "016x")
    return None if identity == _NONE else identity


class Snapshot(NamedTuple):
    """What a backup file says.

    Args:
        entries: the list.
        identity: which snapshot it is; None where another program wrote it.
        previous: the identity of the one that it replaced, if that had one.
        digest: of the JSON text: its size and CRC-32.
    """

    entries: List[Any]
    identity: Optional[str]
    previous: Optional[str]
    digest: str


def parse_snapshot(content: bytes) -> Snapshot:
    """Read a backup file, ours or any other with a JSON list in it.

    Raises:
        ValueError: the content is no JSON list in UTF-8.
        RecursionError: it is nested too deeply.
    """
    size = len(content)
    tail = _TAIL.search(content, max(0, size - _TAIL_SIZE))
    identity = previous = None
    if tail is not None:
        identity, previous = _identity(tail.group(1)), _identity(tail.group(2))
        size = tail.start()
    elif _is_damaged_tail(content[-_TAIL_SIZE:]):
        content = content[:-_TAIL_SIZE]  # the list before it need not suffer
        size = len(content)
    digest = _digest(size, zlib.crc32(memoryview(content)[:size]))
    text = content.decode("utf-8").lstrip("\ufeff")
    del content, tail  # as large as the text, which is all that is needed
    return Snapshot(parse_entries(text), identity, previous, digest)


def _is_damaged_tail(tail: bytes) -> bool:
    """Are these the two lines of blanks, with something else in a few places?"""
    other = [byte for byte in tail if byte not in b" \t\n"]
    return len(tail) == _TAIL_SIZE and len(other) < 4 and not set(other) & set(b'[]{}"')


def _digest(size: int, crc: int) -> str:
    return f"{size}:{crc:08x}"


class SnapshotText:
    """The content of a new backup file, made part by part.

    Iterate once over it; then `digest` and `size` are known.

    Args:
        parts: the JSON list.
        identity: of this snapshot.
        previous: of the one that it replaces, if that has one.
    """

    def __init__(self, parts: Iterable[bytes], identity: str, previous: Optional[str]) -> None:
        self._parts = parts
        self.identity = identity
        self._previous = previous
        self._crc = 0
        self._list_size = 0
        #: bytes
        self.size = 0

    @property
    def digest(self) -> str:
        """Digest of the JSON text, as in `Snapshot`."""
        return _digest(self._list_size, self._crc)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._crc = zlib.crc32(part, self._crc)
            self._list_size += len(part)
            yield part
        tail = b"\n%b\n%b\n" % (_blanks(self.identity), _blanks(self._previous or _NONE))
        self.size = self._list_size + len(tail)
        yield tail


def digest_of(entries: List[Any]) -> str:
    """Return the digest that a snapshot of these entries has."""
    text = SnapshotText(dump_parts(entries, []), _NONE, None)
    for _ in text:
        pass
    return text.digest
