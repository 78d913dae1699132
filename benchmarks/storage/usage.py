"""What a process uses: memory, bytes written, syncs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

_SELF = Path("/proc/self")


def memory() -> Optional[int]:
    """Return the bytes resident now; None where the system does not tell."""
    return _status("VmRSS")


def peak_memory() -> int:
    """Return the most bytes that were resident since the start or `forget_peak`."""
    found = _status("VmHWM")
    if found is not None:
        return found
    import resource  # not on Windows

    # unlike VmHWM it may be what the parent had before exec, and cannot be forgotten
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> bool:
    """Let `peak_memory` count from now on; return whether the system can do that."""
    try:
        (_SELF / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str) -> Optional[int]:
    return _field(_SELF / "status", name, 1024)


def written() -> Optional[int]:
    """Return the bytes that this process has given to write calls, C libraries included."""
    return _field(_SELF / "io", "wchar", 1)


def _field(path: Path, name: str, unit: int) -> Optional[int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * unit
    return None


class Calls:
    """Counts calls of functions of `os`, from before the library under test is imported.

    Not seen are those that C libraries make by themselves, as SQLite does.
    """

    def __init__(self) -> None:
        self.made: Dict[str, int] = {}
        for name in ("fsync", "fdatasync", "sync", "replace", "rename"):
            if hasattr(os, name):
                self.made[name] = 0
                setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.made[name] += 1
            return function(*args, **kwargs)

        return counted

    def syncs(self) -> int:
        """Return how many files and directories were synced."""
        return sum(count for name, count in self.made.items() if name.endswith("sync"))

    def renames(self) -> int:
        """Return how many files were renamed."""
        return self.made["replace"] + self.made["rename"]
