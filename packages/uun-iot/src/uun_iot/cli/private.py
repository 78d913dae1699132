"""Folders that hold keys."""

from __future__ import annotations

from pathlib import Path

__all__ = ["make_private"]


def make_private(directory: Path, mode: int = 0o777) -> None:
    """Make a folder of which git knows nothing.

    Args:
        directory: left as it is where something is in it: that may be a project.
        mode: of the folder.

    Raises:
        OSError: it cannot be made, or is none.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=mode)
    if next(directory.iterdir(), None) is None:
        (directory / ".gitignore").write_text("*\n", encoding="ascii")
