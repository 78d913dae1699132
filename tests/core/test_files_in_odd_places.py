"""Replacing files where the system offers less: mounts, no locks, interrupted closings."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

from uun_iot_core import atomic_write
from uun_iot_core import files as files_module


def test_content_is_synced_before_the_rename_and_the_directory_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that a power cut needs; the calls are made, and noted."""
    done: List[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(fd: int) -> None:
        real_sync(fd)
        done.append("sync directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync file")

    def replace(source: Any, target: Any) -> None:
        assert Path(source).read_text() == "new"
        real_replace(source, target)
        done.append("rename")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    atomic_write(tmp_path / "file", "new")
    assert done == ["sync file", "rename", "sync directory"]


def test_a_file_system_without_locks_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    atomic_write(tmp_path / "file", "one")
    atomic_write(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "two"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_of_the_lock_leaves_no_descriptor_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Input/output error"):
        atomic_write(tmp_path / "file", "one")
    assert os.listdir(tmp_path) == []
    assert len(set(os.listdir("/proc/self/fd"))) == len(before)
    assert len(files_module._staged) == 0  # no lock of it is kept


# Mounts a file (and in the second case makes the directory around it read-only), then writes it.
MOUNT = """
set -e
touch target; printf old > source
mount --bind source target
if [ "$1" = read-only ]; then mount --rbind . .; cd "$PWD"; mount -o remount,bind,ro .; fi
"$2" -c "import uun_iot_core; uun_iot_core.atomic_write('$PWD/target', 'new')"
cat target
"""


@pytest.mark.parametrize("directory", ["writable", "read-only"])
def test_where_a_file_is_a_mount_its_target_is_written(tmp_path: Path, directory: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], check=False).returncode != 0:
        pytest.skip("making a mount needs the rights of root and util-linux's unshare")
    (tmp_path / "inner").mkdir()
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", MOUNT, "sh", directory, sys.executable],
        cwd=tmp_path / "inner",
        capture_output=True,
        text=True,
        env={**os.environ, "PWD": str(tmp_path / "inner")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "new"
    assert (tmp_path / "inner" / "source").read_text() == "new"
