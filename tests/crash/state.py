"""What is on a disk at one moment: names and bytes."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Dict, Optional

__all__ = ["Content", "State", "read_directory"]


class Content:
    """The bytes of a file, and their hash."""

    __slots__ = ("data", "digest")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = blake2b(data, digest_size=16).digest()


class State:
    """What is on the disk after a crash: directories, and files by their paths.

    Args:
        files: path below the root -> content; directories have None.
    """

    def __init__(self, files: Dict[str, Optional[Content]]) -> None:
        self.files = files
        self.key = tuple(sorted((p, c.digest if c else b"") for p, c in files.items()))

    def materialise(self, root: Path) -> None:
        """Write it into an empty directory."""
        for path, content in sorted(self.files.items()):
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content.data)

    def describe(self) -> str:
        """Return names and contents, shortened, one a line."""
        lines = []
        for path, content in sorted(self.files.items()):
            if content is None:
                lines.append(f"{path}/")
            else:
                size, text = len(content.data), repr(content.data)
                short = text if len(text) <= 400 else f"{text[:200]} … {text[-160:]}"
                lines.append(f"{path} ({size} bytes): {short}")
        return "\n".join(lines)


def read_directory(root: Path) -> State:
    """Return what is in a real directory."""
    files: Dict[str, Optional[Content]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        files[name] = None if path.is_dir() else Content(path.read_bytes())
    return State(files)
