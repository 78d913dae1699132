"""Entries as JSON: what may be stored, and how entries are written and read."""

from __future__ import annotations

import gc
import json
import zlib
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional, Sequence, TypeVar

__all__ = [
    "check_entries",
    "collector_paused",
    "dump_one",
    "dump_parts",
    "load_json",
    "parse_entries",
    "size_of",
    "stamp_of",
]

A = TypeVar("A")
R = TypeVar("R")

#: entries to a part of a dump: a whole one beside a large list would take its memory again
_PART = 256

#: an entry may be nested so much less deeply than Python allows: in a journal, and where it is
#: read from there, some lists are around it
_MARGIN = 6

_STRICT = json.JSONEncoder(allow_nan=False)

_CANNOT = (TypeError, ValueError, RecursionError)


def stamp_of(text: str) -> int:
    """Return what an entry's JSON text is told apart by, its size and checksum, as one number."""
    return len(text) << 32 | zlib.crc32(text.encode("ascii"))


def size_of(entry_stamp: int) -> int:
    """Return the size of the JSON text that a stamp was made of, in bytes."""
    return entry_stamp >> 32


def check_entries(entries: Sequence[Any], allow_nan: bool = False) -> List[str]:
    """Refuse what a backup file cannot hold.

    Args:
        entries: what is about to be stored.
        allow_nan: let NaN and infinities pass, as they do when loaded.

    Returns:
        The JSON texts of the entries.

    Raises:
        TypeError: an entry is not JSON.
        ValueError: an entry holds NaN or an infinity, refers to itself, or is nested too
            deeply.
    """
    encode = json.dumps if allow_nan else _STRICT.encode
    texts = []
    for position, entry in enumerate(entries):
        place = f"entry {position} of {len(entries)}" if len(entries) > 1 else "the entry"
        try:
            texts.append(encode([[[[[[entry]]]]]])[_MARGIN:-_MARGIN])
        except TypeError as exc:
            raise TypeError(
                f"{place} cannot be stored with a backup file: {exc}; use what json.dumps takes"
            ) from None
        except RecursionError:
            raise ValueError(
                f"{place} cannot be stored with a backup file: it is nested too deeply"
            ) from None
        except ValueError:  # the text of the original may quote the value
            raise ValueError(
                f"{place} cannot be stored with a backup file: it holds a number that JSON "
                "does not have (NaN, infinite, too long), or itself; use null or a string"
            ) from None
    return texts


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from looking again and again at what is just loaded."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def dump_one(entry: Any) -> Optional[str]:
    """Return an entry as JSON text; None if it is no JSON (it was changed to that later)."""
    try:
        return _with_room(json.dumps, entry)
    except _CANNOT:
        return None


def dump_parts(entries: List[Any], refused: List[int]) -> Iterator[bytes]:
    """Yield entries as a JSON list, in parts.

    Args:
        entries: the list; it must not change meanwhile.
        refused: is given the positions of those that are no JSON. They are left out: a bad
            one must not keep the others off the disk.
    """
    opening = "["
    for begin in range(0, len(entries), _PART):
        part = entries[begin : begin + _PART]
        try:
            text = json.dumps(part)[1:-1]
        except _CANNOT:  # one by one then
            texts = [dump_one(entry) for entry in part]
            refused += [begin + i for i, one in enumerate(texts) if one is None]
            text = ", ".join(one for one in texts if one is not None)
        if text:
            yield (opening + text).encode("ascii")
            opening = ", "
    yield b"[]" if opening == "[" else b"]"


def parse_entries(text: str) -> List[Any]:
    """Return the entries of a backup file.

    Raises:
        ValueError: the text is no JSON list.
        RecursionError: it is nested too deeply.
    """
    loaded = load_json(text)
    if not isinstance(loaded, list):
        raise ValueError(f"it holds no JSON list but a {type(loaded).__name__}")
    return loaded


def _with_room(function: Callable[[A], R], argument: A) -> R:
    """Call ``function``; if the stack is too short, once more on one of its own.

    An entry nested so deeply that it just passed when it was added must also pass in a
    backup, and when it is loaded, from wherever these are called.
    """
    try:
        return function(argument)
    except RecursionError:
        from concurrent.futures import ThreadPoolExecutor  # rarely needed, slow to import

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(function, argument).result()


def load_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return _with_room(json.loads, text)
