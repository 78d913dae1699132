"""Text for terminals."""

from __future__ import annotations

import os
import sys
from typing import List, Sequence

__all__ = ["fitted", "give_up_output", "one_line", "say", "size", "table"]


#: characters: of a word and of a line that are still read
_WORD = 160
_LINE = 700
#: as many more are not cut off, so that what was cut already is not cut again
_SLACK = 100


def fitted(text: str, rest: str = "") -> str:
    """Return a text on one line that is not too long to be read.

    What is cut out of a word is its middle: the end of a path says more than its folders.

    Args:
        text: any.
        rest: stands where the end is cut off, behind an ellipsis.
    """
    words = [
        word if len(word) <= _WORD else f"{word[: _WORD // 2]}…{word[-(_WORD // 2 - 1) :]}"
        for word in one_line(text).split(" ")
    ]
    line = " ".join(words)
    return line if len(line) <= _LINE + _SLACK else f"{line[:_LINE]}…{rest}"


def one_line(text: str) -> str:
    """Return a text on one line, what cannot be shown escaped.

    Keys of a configuration may hold anything, also what would steer the terminal.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def say(text: str) -> None:
    """Print a text, whatever the encoding of the terminal is."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def give_up_output() -> None:
    """Write nothing more: Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> List[str]:
    """Return lines with the columns below each other.

    Args:
        rows: of equal length; the first may be the heading.
        right: numbers of the columns that end below each other.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
