"""Tables of figures, for the terminal and for the docs."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import List, Sequence


@dataclass
class Table:
    """A table; the first column names the rows, the others hold figures.

    Args:
        title: what was measured, and in which unit.
        columns: their headings.
        rows: as many cells in each as there are columns.
        notes: sentences to stand below.
    """

    title: str
    columns: Sequence[str]
    rows: List[Sequence[str]] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    def text(self) -> str:
        """Return it for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        out = [self.title]
        for line in lines:
            name, *figures = (
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths))
            )
            out.append("   ".join([f"  {name}", *figures]).rstrip())
        for note in self.notes:
            out += textwrap.wrap(note, 96, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(out)

    def markdown(self) -> str:
        """Return it for the docs."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        out = [f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)]
        if self.notes:
            out += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(out)


def show(name: str, where: str, tables: Sequence[Table], markdown: bool) -> None:
    """Print the tables of a benchmark, and of what machine and run they are."""
    if markdown:
        print(f"Measured in one run: {where}.\n")
        print("\n\n".join(table.markdown() for table in tables))
    else:
        print(f"{name}: {where}\n")
        print("\n\n".join(table.text() for table in tables))


def number(count: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{count:,}".replace(",", " ")


def figure(value: float) -> str:
    """Return a figure with about three digits."""
    if value >= 100:
        return number(round(value))
    digits = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def ratio(value: float) -> str:
    """Return how many times something is something else."""
    return f"{figure(value) if value >= 10 else f'{value:.2f}'}×"
