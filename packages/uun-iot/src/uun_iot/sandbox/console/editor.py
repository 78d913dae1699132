"""Checking a configuration that is typed: each problem with its line and column."""

from __future__ import annotations

import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from uun_iot_core import problems

__all__ = ["Checked", "Problem", "check"]

_BLANK = " \t\n\r"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Problem(NamedTuple):
    """Something wrong in a text.

    Args:
        line: from 1.
        column: from 1.
        message: what, and what is expected.
        fatal: whether the text cannot be published at all.
    """

    line: int
    column: int
    message: str
    fatal: bool


class Checked(NamedTuple):
    """What a text is.

    Args:
        value: the object; None where it is none.
        problems: in the order of their places.
    """

    value: Optional[Dict[str, Any]]
    problems: List[Problem]


def check(text: str) -> Checked:
    """Read and check the ``gateway`` part of a configuration.

    Args:
        text: JSON.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as exc:
        return Checked(None, [Problem(exc.lineno, exc.colno, f"{exc.msg}.", True)])
    except (ValueError, RecursionError) as exc:
        message = str(exc) if isinstance(exc, ValueError) else "This is nested too deeply."
        return Checked(None, [Problem(1, 1, message, True)])
    if not isinstance(value, dict):
        return Checked(None, [Problem(1, 1, "Expected an object: { … }.", True)])
    try:
        places, twice = _Places(text).find()
        half = _SURROGATE.search(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return Checked(None, [Problem(1, 1, "This is nested too deeply.", True)])
    if half is not None:
        message = f"{half[0]!r} is half a character, which no file can hold."
        return Checked(None, [Problem(1, 1, message, True)])
    found = [
        Problem(*_line_and_column(text, at), f"The key {name!r} stands here again.", False)
        for at, name in twice
    ]
    for line in problems({"gateway": value}):
        path, _, message = line.partition(": ")
        at = _nearest(places, path)
        found.append(Problem(*_line_and_column(text, at), f"{path}: {message}", False))
    return Checked(value, sorted(found))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; use a number or null.")


def _line_and_column(text: str, at: int) -> Tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too big a number.")
    return value


def _nearest(places: Dict[str, int], path: str) -> int:
    """Return the place of the longest known part of a path."""
    while path and path not in places:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return places.get(path, 0)


class _Places:
    """Finds where each value of a text that is known to be JSON stands.

    Args:
        text: valid JSON.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: Dict[str, int] = {}
        self._twice: List[Tuple[int, str]] = []

    def find(self) -> Tuple[Dict[str, int], List[Tuple[int, str]]]:
        """Return places by path (as `problems` writes it), and keys that stand there twice."""
        self._value(self._skip(0), "gateway")
        return self._places, self._twice

    def _skip(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in _BLANK:
            at += 1
        return at

    def _value(self, at: int, path: str, shown: Optional[int] = None) -> int:
        """Note a value; return where it has ended."""
        self._places.setdefault(path, at if shown is None else shown)
        first = self._text[at]
        if first == "{":
            return self._object(at, path)
        if first == "[":
            return self._array(at, path)
        if first == '"':
            return int(scanstring(self._text, at + 1, True)[1])
        while at < len(self._text) and self._text[at] not in ",]}" + _BLANK:
            at += 1
        return at

    def _object(self, at: int, path: str) -> int:
        keys = set()
        at = self._skip(at + 1)
        while self._text[at] != "}":
            key_at = at
            key, at = scanstring(self._text, at + 1, True)
            if key in keys:
                self._twice.append((key_at, key))
            keys.add(key)
            at = self._skip(self._skip(at) + 1)  # over the colon
            at = self._skip(self._value(at, f"{path}.{key}", key_at))
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1

    def _array(self, at: int, path: str) -> int:
        number = 0
        at = self._skip(at + 1)
        while self._text[at] != "]":
            at = self._skip(self._value(at, f"{path}[{number}]"))
            number += 1
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1
