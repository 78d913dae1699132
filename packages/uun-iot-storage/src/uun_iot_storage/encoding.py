"""Entries as JSON: what may be stored, and how entries are written and read."""

from __future__ import annotations

import gc
import json
import re
import zlib
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Sequence, Tuple, TypeVar

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

#: levels of an entry: what one version of Python writes, all of them can read
_DEEPEST = 800

#: bytes between two entries of a list
_SEPARATOR = 2

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')

_STRICT = json.JSONEncoder(allow_nan=False)


def stamp_of(text: str) -> int:
    """Return what an entry's JSON text is told apart by, its size and checksum, as one number."""
    return len(text) + _SEPARATOR << 32 | zlib.crc32(text.encode("ascii"))


def size_of(entry_stamp: int) -> int:
    """Return how many bytes the entry takes in a JSON list, with the comma behind it."""
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
    texts: List[str] = []
    try:
        for entry in entries:
            text = encode(entry)
            # a short one has no room for so many levels
            if len(text) > 2 * _DEEPEST and _is_too_deep(text):
                raise RecursionError
            texts.append(text)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _refusal(exc, len(texts), len(entries)) from None
    return texts


def _refusal(exc: Exception, position: int, count: int) -> Exception:
    """Return what is wrong with an entry, in words that quote nothing of it."""
    place = f"entry {position} of {count}" if count > 1 else "the entry"
    if isinstance(exc, TypeError):
        return TypeError(
            f"{place} cannot be stored with a backup file: {exc}; use what json.dumps takes"
        )
    if isinstance(exc, RecursionError):
        return ValueError(f"{place} cannot be stored with a backup file: it is nested too deeply")
    return ValueError(
        f"{place} cannot be stored with a backup file: it holds a number that JSON does not have "
        "(NaN, infinite, too long), or itself; use null or a string"
    )


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _DEEPEST:
        return False
    depth = 0
    for token in _TOKENS.findall(text):
        if token in "[{":
            depth += 1
            if depth > _DEEPEST:
                return True
        elif token in "]}":
            depth -= 1
    return False


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


def dump_one(entry: Any) -> Tuple[str, bool]:
    """Return a stored entry as JSON text, and whether it is JSON.

    It was when it came in; where it was changed since to what JSON has not, dates or sets
    for instance, that is written as text: less than was meant, but nothing is lost.
    """
    try:
        return _with_room(json.dumps, entry), True
    except Exception:  # also what a method of the user's own raises
        pass
    try:
        return _with_room(_dump_anything, entry), False
    except Exception:
        return json.dumps(f"<{type(entry).__name__} that is no JSON>"), False


def _dump_anything(entry: Any) -> str:
    return json.dumps(entry, default=str, skipkeys=True)


def dump_parts(entries: List[Any], no_json: List[int]) -> Iterator[bytes]:
    """Yield entries as a JSON list, in parts.

    Args:
        entries: the list; it must not change meanwhile.
        no_json: is given the positions of those that are no JSON any more, see `dump_one`.
    """
    opening = "["
    for begin in range(0, len(entries), _PART):
        part = entries[begin : begin + _PART]
        try:
            text = json.dumps(part)[1:-1]
        except Exception:  # one by one then
            dumped = [dump_one(entry) for entry in part]
            no_json += [begin + i for i, (_, is_json) in enumerate(dumped) if not is_json]
            text = ", ".join(one for one, _ in dumped)
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
