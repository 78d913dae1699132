"""What the figures were measured on, said so that it names no machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

ROOT = Path(__file__).resolve().parent.parent
#: these keep files in memory, where a sync costs nothing
MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, "unknown" where nobody tells."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    found, kind = "", "unknown"
    place = str(path.resolve())
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        escaped = fields.split()[4]
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), escaped)
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(found):  # of two on one place, the later one is seen
            found, kind = mount, rest.split()[0]
    return kind


@contextmanager
def scratch(directory: Optional[str]) -> Iterator[Path]:
    """Give a fresh folder for the files, removed afterwards.

    Args:
        directory: where; None for the first place that is no file system in memory: that of
            temporary files, else this repository's.
    """
    if directory is None:
        candidates = (Path(tempfile.gettempdir()), Path("/var/tmp"))
        on_disk = (each for each in candidates if each.is_dir() and file_system(each) not in MEMORY)
        directory = str(next(on_disk, ROOT))
    folder = Path(tempfile.mkdtemp(dir=directory, prefix=".benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def described(folder: Path) -> str:
    """Return CPUs, Python and file system in one line."""
    kind = file_system(folder)
    if kind in MEMORY:
        kind += " (files in memory: a sync costs nothing here, so the ratios say nothing)"
    return (
        f"{os.cpu_count()} CPUs, {platform.system()}, {platform.python_implementation()} "
        f"{platform.python_version()}, file system {kind}"
    )
