"""Full and read-only file systems, wrong clocks, and another process that wants the file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List

import pytest

from uun_iot_storage import Storage, StorageError

from ..storage.support import run_python, start_python
from .checker import Checker
from .disk import BRIEF, State
from .twin import FILE, opened
from .workloads import WORKLOADS, Workload

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits and locks")


@contextmanager
def mounted(directory: Path, size: str) -> Iterator[Path]:
    """Mount a small file system; skip the test where that is not allowed."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root and the command `mount`")
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {result.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)  # files may be open


def remount(directory: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


# -- full ----------------------------------------------------------------------------------


def test_a_full_file_system_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "256k") as directory:
        filler = directory / "filler"
        filler.write_bytes(bytes(32_000))
        storage, acknowledged = Storage("s", str(directory / FILE)), 0
        with pytest.raises(StorageError, match="free some space"):
            for number in range(100):
                storage.append([number, "x" * 5_000], backup=True)
                acknowledged = number + 1
        assert acknowledged > 10
        copy = shutil.copytree(directory, tmp_path / "copy")
        with opened(copy) as loaded:  # as after a kill
            assert [number for number, _ in loaded.data] == list(range(acknowledged))
        batch = storage.take(acknowledged)
        storage.acknowledge(batch, [])  # sending goes on, though the disk cannot be told
        assert [number for number, _ in storage.data] == [acknowledged]
        filler.unlink()
        storage.append([-1, "after"], backup=True)
        copy = shutil.copytree(directory, tmp_path / "second copy")
        with opened(copy) as loaded:
            assert [number for number, _ in loaded.data] == [acknowledged, -1]
        storage.close()
        assert sum(path.stat().st_size for path in directory.iterdir()) < 20_000


def test_a_file_system_that_the_journal_has_filled_recovers_once_all_is_sent(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "small", "256k") as directory:
        storage, number = Storage("s", str(directory / FILE)), 0
        for size in (5_000, 500, 50, 1):
            with pytest.raises(StorageError, match="free some space"):
                while True:
                    number += 1
                    storage.append([number, "x" * size], backup=True)
        while os.statvfs(directory).f_bfree:  # to the last block, whoever has it
            with open(directory / "others", "ab") as others:
                others.write(bytes(4096))
        batch = storage.take()
        storage.acknowledge(batch, [])
        storage.append("after", backup=True)
        copy = shutil.copytree(directory, tmp_path / "copy")
        with opened(copy) as loaded:
            assert loaded.data == ["after"]


def test_a_file_system_without_any_room_still_starts_a_gateway(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "64k") as directory:
        filler = directory / "filler"
        with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        storage = Storage("s", str(directory / FILE))
        with pytest.raises(StorageError, match="free some space"):
            storage.append(1, backup=True)
        assert storage.data == [1]
        filler.unlink()
        storage.append(2, backup=True)
        copy = shutil.copytree(directory, tmp_path / "copy")
        with opened(copy) as loaded:
            assert loaded.data == [1, 2]
        storage.close()


@posix
def test_a_limit_that_falls_anywhere_in_a_line_loses_nothing(tmp_path: Path) -> None:
    """The system writes the part of the line that fits, and refuses the rest."""
    lines = run_python(
        """
        import logging, os, resource, shutil, sys
        from uun_iot_storage import Storage, StorageError
        logging.disable(logging.CRITICAL)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        path = sys.argv[1]
        storage = Storage("s", os.path.join(path, "s.json"))
        storage.append("x" * 2000, backup=True)
        files = [os.path.join(path, name) for name in os.listdir(path)]
        size = max(map(os.path.getsize, files))
        for room in range(1, 80, 3):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
            before = list(storage.data)
            try:
                storage.append([room, "y" * 30], backup=True)
                acknowledged = storage.data
            except StorageError:
                acknowledged = before
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            copy = shutil.copytree(path, path + str(room))
            with Storage("copy", os.path.join(copy, "s.json")) as loaded:
                assert loaded.data in (acknowledged, storage.data), (room, loaded.data)
            storage.append(room, backup=True)
            copy = shutil.copytree(path, path + str(room) + "after")
            with Storage("copy", os.path.join(copy, "s.json")) as loaded:
                assert loaded.data == storage.data, room
            size = max(map(os.path.getsize, files))
        print("went through", len(storage))
        """,
        str(tmp_path),
    )
    assert lines == ["went through 55"]


# -- read-only -----------------------------------------------------------------------------


def states_of(name: str, scratch: Path) -> List[State]:
    """Return states that kills leave: with and without journal, torn files beside."""
    record = WORKLOADS[name].record(scratch)
    return [moment.disk.kept() for moment in record.moments()][::4]


def test_a_read_only_file_system_loads_whatever_a_crash_has_left(
    tmp_path: Path, scratch: Path
) -> None:
    states, checker = states_of("send", scratch), Checker(scratch)
    with mounted(tmp_path / "small", "16m") as directory:
        for number, state in enumerate(states):
            (directory / str(number)).mkdir()
            state.materialise(directory / str(number))
        remount(directory, "ro")
        for number, state in enumerate(states):
            storage = opened(directory / str(number))
            assert storage.data == checker.loads(state)
            with pytest.raises(StorageError, match="mount the file system for writing"):
                storage.append("added", backup=True)
            assert storage.data[-1] == "added"


def test_what_came_while_it_was_read_only_is_saved_once_it_may_be(
    tmp_path: Path, scratch: Path
) -> None:
    states = states_of("send", scratch)
    with mounted(tmp_path / "small", "16m") as directory:
        for number, state in enumerate(states):
            (directory / str(number)).mkdir()
            state.materialise(directory / str(number))
        remount(directory, "ro")
        storages = [opened(directory / str(number)) for number in range(len(states))]
        for storage in storages:
            with pytest.raises(StorageError, match="mount the file system for writing"):
                storage.append("added", backup=True)
        remount(directory, "rw")
        for number, storage in enumerate(storages):
            storage.merge(["later"])
            assert storage.data[-2:] == ["added", "later"]
            copy = shutil.copytree(directory / str(number), tmp_path / f"copy {number}")
            with opened(copy) as loaded:
                assert loaded.data == storage.data
            storage.close()


# -- the wall clock ------------------------------------------------------------------------


def test_a_wall_clock_that_is_set_back_does_not_matter(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(-(10**9), 10**9))
    monkeypatch.setattr(time, "time_ns", lambda: chance.randrange(10**18))
    for name in ("send", "reopen"):
        workload: Workload = WORKLOADS[name]
        record = workload.record(scratch)
        (scratch / "work").rename(scratch / name)
        report = Checker(scratch).check(record, BRIEF)
        assert not report.violations, report.smallest()


@pytest.mark.parametrize("name", ["send", "drain", "reopen"])
def test_the_times_of_the_files_do_not_matter(name: str, scratch: Path) -> None:
    """A device without a clock of its own may write a journal years before its snapshot."""
    record, chance = WORKLOADS[name].record(scratch), random.Random(6)
    for moment in record.moments():
        directory = scratch / str(moment.position)
        directory.mkdir()
        moment.disk.kept().materialise(directory)
        for path in directory.iterdir():
            os.utime(path, (chance.randrange(2**31), chance.randrange(2**31)))
        with opened(directory) as storage:
            assert storage.data in moment.allowed


# -- another process -----------------------------------------------------------------------


@posix
def test_a_process_that_is_refused_disturbs_nothing(tmp_path: Path) -> None:
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        print("ready", flush=True)
        number = 0
        while True:
            storage.append([number, "x" * 500], backup=True)
            print(number, flush=True)
            number += 1
            if number % 50 == 0:
                storage.acknowledge(storage.take(), [storage.data[-1]])
    """
    path = tmp_path / "home" / FILE
    with start_python(script, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(200):
            with pytest.raises(StorageError, match="another process"):
                Storage("stranger", str(path))
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
        last = int(rest[-1]) if rest else last
    with Storage("s", str(path)) as storage:
        numbers = [number for number, _ in storage.data]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] in (last, last + 1)
    assert not list(path.parent.glob("*.bad*"))
