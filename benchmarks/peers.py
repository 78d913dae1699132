"""What to compare with, in an environment of its own: the published `uun-iot` has our name."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Sequence


class NotInstalled(Exception):
    """The peers could not be installed; the message says why."""


def install(requirements: Sequence[str]) -> str:
    """Return the interpreter of an environment that holds the peers, made at the first call.

    It stands inside the environment that runs this, and goes away with it (`hatch env remove
    default`); other requirements get another one.

    Raises:
        NotInstalled: pip could not install them.
    """
    digest = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:12]
    own = sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK)
    folder = Path(sys.prefix if own else tempfile.gettempdir()) / f"benchmark-peers-{digest}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if complete.exists():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    result = subprocess.run(
        [*command, "--disable-pip-version-check", *requirements], capture_output=True, text=True
    )
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["no word about it"]
        raise NotInstalled(f"pip could not install {', '.join(requirements)}: {said[-1]}")
    complete.touch()
    return str(python)
