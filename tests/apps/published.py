"""Installing a published application, unchanged, beside the packages under test."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

_TIMEOUT = 180.0


class Release(NamedTuple):
    """One wheel on the package index.

    Args:
        name: of the distribution.
        version: its version.
        sha256: of the wheel: what is installed is this file and no other.
    """

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def dist_info(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}.dist-info"


class NotInstalled(Exception):
    """A release could not be installed; the message says why."""


def install(release: Release, folder: Path) -> Path:
    """Return a directory that holds a release, without what it depends on.

    It is installed once and found again by later calls with the same folder, also by those
    of other Pythons (the wheel is of Python alone).

    Args:
        release: what to install.
        folder: where; made if it is missing.

    Raises:
        NotInstalled: neither pip nor uv could install it.
    """
    target = folder / f"{release.name}-{release.version}-{release.sha256[:12]}"
    if not damage(release, target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix="installing-"))
    try:
        _install_into(release, fresh)
        found = damage(release, fresh)
        if found:
            raise NotInstalled(f"{release} was installed, but: {'; '.join(found)}")
        if damage(release, target):  # another run may have installed it meanwhile
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def damage(release: Release, target: Path) -> List[str]:
    """Return which files of an installed release are missing or not as they were installed."""
    record = target / release.dist_info / "RECORD"
    if not record.is_file():
        return [f"{release.dist_info}/RECORD is missing"]
    found = []
    for name, digest in _recorded(record):
        try:
            content = (target / name).read_bytes()
        except OSError:
            found.append(f"{name} is missing")
            continue
        actual = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        if f"sha256={actual.decode('ascii')}" != digest:
            found.append(f"{name} has changed")
    return found


def _recorded(record: Path) -> Iterator[Tuple[str, str]]:
    with record.open(encoding="utf-8", newline="") as file:
        for name, digest, _ in csv.reader(file):
            if digest:
                # scripts are recorded relative to a layout that --target does not have
                yield (f"bin/{Path(name).name}" if name.startswith("..") else name), digest


def _install_into(release: Release, target: Path) -> None:
    requirements = target.with_name(f"{target.name}.txt")
    requirements.write_text(f"{release} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    reasons = []
    try:
        for command in _installers():
            reason = _attempt(
                [
                    *command,
                    *("install", "--quiet", "--no-deps", "--require-hashes"),
                    *("--only-binary", ":all:", "--target", str(target), "-r", str(requirements)),
                ]
            )
            if reason is None:
                return
            reasons.append(reason)
    finally:
        requirements.unlink()
    raise NotInstalled(
        f"{release} could not be installed from the package index, so it could not be tested "
        f"(is the index within reach?): {' | '.join(reasons) or 'there is neither pip nor uv'}"
    )


def _installers() -> Iterator[List[str]]:
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    uv = os.environ.get("HATCH_UV") or shutil.which("uv")
    if uv is not None:
        yield [uv, "pip"]


def _attempt(command: List[str]) -> Optional[str]:
    """Run an installer; return why it failed."""
    # what is on the path of this process must not end up in another one's target
    env: Dict[str, str] = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        result = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"{Path(command[0]).name}: no end after {_TIMEOUT:.0f} s"
    except OSError as exc:
        return f"{Path(command[0]).name}: {exc.strerror}"
    if result.returncode == 0:
        return None
    return f"{Path(command[0]).name}: {result.stdout.strip()[-500:]}"
