"""Scripts of outages: a timeline in a TOML file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Union

from uun_iot_core.values import shown

from .actions import AT_ONCE, Action, parse_action
from .durations import parse_duration, show_duration
from .extra import REMEDY

__all__ = ["Script", "ScriptError", "Step"]

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*step[ \t]*\]\]", re.MULTILINE)


class ScriptError(ValueError):
    """A script cannot be used; the message names file, line, step and remedy."""


class Step(NamedTuple):
    """Something that happens at a moment of a script.

    Args:
        at: seconds after the begin.
        until: seconds after the begin when it is undone; None where it stays.
        action: what happens.
    """

    at: float
    until: Optional[float]
    action: Action

    @property
    def text(self) -> str:
        """A sentence that says what happens, and for how long."""
        lasting = "" if self.until is None else f" for {show_duration(self.until - self.at)}"
        return f"{self.action.text}{lasting}"


class Script(NamedTuple):
    """What happens to a sandbox, and when; the same each time that it is played.

    >>> script = Script.parse('''
    ... [[step]]
    ... at = "30 s"
    ... status = 503
    ... for = "20 s"
    ... ''')
    >>> script.steps[0].text
    'status 503 for 20 s'

    Args:
        name: that errors and the console say.
        title: what it is about; may be empty.
        steps: in the order of their moments.
    """

    name: str
    title: str
    steps: List[Step]

    @property
    def seconds(self) -> float:
        """When the last step, or its end, is over: seconds after the begin."""
        moments = [step.at if step.until is None else step.until for step in self.steps]
        return max(moments, default=0.0)

    @classmethod
    def load(cls, path: Union[str, "os.PathLike[str]"]) -> Script:
        """Read a script from a file.

        Args:
            path: of the TOML file.

        Raises:
            ScriptError: it cannot be read, or is no script.
            ModuleNotFoundError: on Python before 3.11, tomli is not installed.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise ScriptError(f"{os.fspath(path)}: cannot be read: {reason}") from None
        return cls.parse(text, os.fspath(path))

    @classmethod
    def parse(cls, text: str, name: str = "script") -> Script:
        """Read a script from its text.

        Args:
            text: TOML: a ``title``, which may be left out, and ``[[step]]`` tables, each
                with ``at``, one of the keys in `ACTIONS`, and perhaps ``for``.
            name: that errors say.

        Raises:
            ScriptError: it is no script.
            ModuleNotFoundError: on Python before 3.11, tomli is not installed.
        """
        toml = _toml()
        try:
            data: Dict[str, Any] = toml.loads(text)
        except (ValueError, RecursionError) as exc:  # also of a number of too many digits
            raise ScriptError(f"{name}: this is not TOML: {exc}; correct it") from None
        unknown = [key for key in data if key not in ("title", "step")]
        if unknown:
            raise ScriptError(
                f"{name}: {unknown[0]}: there is no such key; there are title and [[step]]"
            )
        title = data.get("title", "")
        if not isinstance(title, str):
            raise ScriptError(f"{name}: title: expected a text, got {shown(title)}")
        tables = data.get("step", [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise ScriptError(f"{name}: step: expected tables; write [[step]] above each")
        if not tables:
            raise ScriptError(f"{name}: there is no [[step]]; add one")
        places = _places(name, text, len(tables))
        steps = [_step(place, table) for place, table in zip(places, tables)]
        _check_overlaps(places, steps)
        return cls(name, title, sorted(steps, key=lambda step: step.at))


def _places(name: str, text: str, count: int) -> List[str]:
    """Return how errors name each step; with its line where that can be told."""
    lines = [text.count("\n", 0, match.start()) + 1 for match in _HEADER.finditer(text)]
    if len(lines) != count:  # written in another of TOML's ways
        return [f"{name}: step {number}" for number in range(1, count + 1)]
    return [f"{name}:{line}: step {number}" for number, line in enumerate(lines, 1)]


def _step(place: str, table: Dict[str, Any]) -> Step:
    rest = {key: value for key, value in table.items() if key not in ("at", "for")}
    key = "at"
    try:
        if "at" not in table:
            raise ValueError('it is missing; write for example at = "30 s"')
        at = parse_duration(table["at"])
        key = "for"
        lasting = parse_duration(table["for"]) if "for" in table else None
        key = ""
        action = parse_action(rest)
    except ValueError as exc:
        raise ScriptError(f"{place}: {key + ': ' if key else ''}{exc}") from None
    if lasting is not None and not lasting > 0:
        raise ScriptError(f"{place}: for: expected more than 0 s; leave it out for no end")
    if lasting is not None and any(name in rest for name in AT_ONCE):
        raise ScriptError(f"{place}: for: what happens at once has no end; leave it out")
    return Step(at, None if lasting is None else at + lasting, action)


def _check_overlaps(places: List[str], steps: List[Step]) -> None:
    """Refuse two outages at the same time, say: the end of one would end the other."""
    lasting = [(step, place) for step, place in zip(steps, places) if step.until is not None]
    for step, place in lasting:
        for other, its_place in zip(steps, places):
            if other is step or not step.action.alone or other.action.alone != step.action.alone:
                continue
            if step.at <= other.at < (step.until or 0):
                raise ScriptError(
                    f"{its_place}: it begins while {place.rpartition(': ')[2]} lasts, "
                    "which would end it; let one end before the other begins"
                )


def _toml() -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"scripts need tomli; install it with: {REMEDY}") from None
    return tomllib
