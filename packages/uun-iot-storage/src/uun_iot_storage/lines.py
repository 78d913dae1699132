"""The text of a journal: a header, then a line for each backup, each with a checksum.

::

    9f3c02d1 {"journal": 1, "snapshot": "5d1c…", "digest": "8f40…", "length": 2}
    51ab73e0 [["a", [{"temperature": 21.5}]]]
    0c77fe12 [["d", 3], ["f", ["changed"]]]

The header says to which snapshot the changes belong. A line is one backup, kept or lost as a
whole: a list of changes, made one after the other.

- ``["d", n]``: the n oldest entries went;
- ``["r", [[start, count], …]]``: entries went, in runs; each start is counted from the end of
  the run before it;
- ``["f", entries]``: entries were put in front;
- ``["a", entries]``: entries were added at the end.

The checksum is the CRC-32 of the rest of the line, begun with the checksum of the line before:
a line that remained from another journal in the same place of a disk does not fit.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, List, NamedTuple, Optional, Tuple

from .encoding import load_json

__all__ = ["Header", "JournalText", "header_line", "line", "parse_journal", "replay", "salvage"]

_FORMAT = 1
_DIGITS = b"0123456789abcdef"

#: one change, as above
Change = List[Any]


class Header(NamedTuple):
    """To which snapshot a journal belongs.

    Args:
        snapshot: identity of the snapshot.
        digest: digest of its JSON text.
        length: number of its entries.
    """

    snapshot: str
    digest: str
    length: int


class JournalText(NamedTuple):
    """What a journal says.

    Args:
        header: None where it is damaged or unknown.
        changes: those of all whole lines before the first damage.
        crc: checksum of the last whole line.
        backups: number of whole lines, without the header.
        rest: what comes after, from the first damage on.
        torn: the rest is no more than a last write that was cut off.
    """

    header: Optional[Header]
    changes: List[Change]
    crc: int
    backups: int
    rest: bytes
    torn: bool


def line(text: str, crc: int) -> Tuple[bytes, int]:
    """Return a line with this JSON text, and its checksum.

    Args:
        text: what json.dumps gives.
        crc: checksum of the line before.
    """
    payload = text.encode("ascii")
    crc = zlib.crc32(payload, crc)
    return b"%08x %b\n" % (crc, payload), crc


def header_line(header: Header) -> Tuple[bytes, int]:
    """Return the first line of a journal, and its checksum."""
    return line(json.dumps({"journal": _FORMAT, **header._asdict()}), 0)


def _crc_in(raw: bytes) -> Optional[int]:
    """Return the checksum that a line bears; None if it is no line of ours."""
    digits = raw[:8]
    if len(digits) < 8 or raw[8:9] != b" " or digits.strip(_DIGITS):
        return None
    return int(digits, 16)


def _fits(raw: bytes, before: int) -> bool:
    return zlib.crc32(raw[9:], before) == _crc_in(raw)


def parse_journal(content: bytes) -> JournalText:
    """Read a journal up to the first damage; never fails."""
    lines = content.split(b"\n")
    last = lines.pop()  # what follows the last line break: nothing, or a write cut off
    crc, whole = 0, 0
    for raw in lines:
        if not _fits(raw, crc):
            break
        crc = int(raw[:8], 16)
        whole += 1
    header = _parse_header(lines[0][9:]) if whole else None
    changes: List[Change] = []
    if header is not None:
        backups = _parse_backups([raw[9:] for raw in lines[1:whole]])
        changes = [change for backup in backups for change in backup]
        if len(backups) < whole - 1:  # whole, and not to be read: no work of ours
            whole = 1 + len(backups)
            crc = int(lines[whole - 1][:8], 16)
    elif whole:
        whole = crc = 0  # a header that we do not know: nothing of it is ours to read
    rest = content[sum(len(raw) + 1 for raw in lines[:whole]) :]
    torn = not _is_damage(lines[whole:], last)
    return JournalText(header, changes, crc, max(0, whole - 1), rest, torn)


def _parse_backups(payloads: List[bytes]) -> List[List[Change]]:
    """Return the backups that these say, up to the first that cannot be read."""
    try:  # all at once, which is much faster than one by one
        backups: List[List[Change]] = load_json(f"[{b','.join(payloads).decode('ascii')}]")
        return backups
    except (ValueError, RecursionError):
        pass
    backups = []
    for payload in payloads:
        try:
            backups.append(load_json(payload.decode("ascii")))
        except (ValueError, RecursionError):
            break
    return backups


def _parse_header(payload: bytes) -> Optional[Header]:
    try:
        found = load_json(payload.decode("ascii"))
        if found["journal"] != _FORMAT:
            return None
        return Header(found["snapshot"], found["digest"], int(found["length"]))
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def _is_damage(lines: List[bytes], last: bytes) -> bool:
    """Is there more than one write that was cut off, or that the disk did not take in whole?

    A cut-off write has no line break at its end, or blocks of zeros in it, and no line after it.
    """
    if not lines:
        return False  # at most an end without a line break
    if any(_crc_in(raw) is not None and b"\0" not in raw for raw in lines[1:]):
        return True
    return not any(b"\0" in raw for raw in (*lines, last))


def replay(entries: List[Any], changes: List[Change]) -> List[Any]:
    """Make changes to a list, and return it.

    Args:
        entries: of the snapshot; used up.
        changes: of its journal.
    """
    begin = 0  # entries before it have gone: removing each from the front would take O(n)
    for kind, *arguments in changes:
        (argument,) = arguments
        if kind == "a":
            entries += argument
        elif kind == "d":
            begin = min(begin + argument, len(entries))
        elif kind == "f":
            entries[begin - len(argument) if begin >= len(argument) else 0 : begin] = argument
            begin = max(0, begin - len(argument))
        elif kind == "r":
            place = begin
            for start, count in argument:
                place += start
                del entries[place : place + count]
    del entries[:begin]
    return entries


class _Gone:
    """Stands for an entry of a snapshot that is not there any more."""


def salvage(journal: JournalText) -> List[Any]:
    """Return the entries that a journal added and that have not gone since.

    For a journal whose snapshot was replaced by another program: what is in the snapshot
    cannot be told any more.
    """
    if journal.header is None:
        return []
    gone = _Gone()
    entries = replay([gone] * journal.header.length, journal.changes)
    return [entry for entry in entries if entry is not gone]
