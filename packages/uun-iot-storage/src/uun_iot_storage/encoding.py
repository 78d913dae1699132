"""Entries as JSON: what may be stored, and how a list of entries is written and read."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Callable, List, Tuple, TypeVar

__all__ = ["check_entries", "digest_of", "dump_entries", "parse_entries"]

A = TypeVar("A")
R = TypeVar("R")


def check_entries(entries: List[Any], allow_nan: bool = False) -> None:
    """Refuse what a backup file cannot hold.

    Args:
        entries: what is about to be stored.
        allow_nan: let NaN and infinities pass, as they do when loaded.

    Raises:
        TypeError: an entry is not JSON.
        ValueError: an entry holds NaN or an infinity, refers to itself, or is nested too
            deeply.
    """
    for position, entry in enumerate(entries):
        place = f"entry {position} of {len(entries)}" if len(entries) > 1 else "the entry"
        try:
            json.dumps(entry, allow_nan=allow_nan)
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


def dump_entries(entries: List[Any]) -> Tuple[bytes, List[int]]:
    """Return entries as a JSON list, and the positions of those that are no JSON.

    The latter are left out: a bad one must not keep the others off the disk.
    """
    try:
        return json.dumps(entries).encode("ascii"), []
    except (TypeError, ValueError, RecursionError):
        pass  # one by one then
    texts, refused = [], []
    for position, entry in enumerate(entries):
        try:
            texts.append(_with_room(json.dumps, entry))
        except (TypeError, ValueError, RecursionError):
            refused.append(position)
    return f"[{', '.join(texts)}]".encode("ascii"), refused


def parse_entries(content: bytes) -> List[Any]:
    """Return the entries of a backup file.

    Raises:
        ValueError: the content is no JSON list in UTF-8.
        RecursionError: it is nested too deeply.
    """
    loaded = _with_room(json.loads, content.decode("utf-8").lstrip("\ufeff"))
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


def digest_of(content: bytes) -> bytes:
    """Return what tells one content of a file from another."""
    return blake2b(content, digest_size=16).digest()
