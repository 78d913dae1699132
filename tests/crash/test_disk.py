"""The model of the disk and its recorder: the rules, one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Optional, Set

import pytest

from .disk import SHORT, Disk
from .operations import (
    Create,
    FailedSync,
    MakeDirectory,
    Operation,
    Rename,
    Sync,
    SyncDirectory,
    Truncate,
    Unlink,
    Write,
)
from .recorder import Recorder


def disk_after(*operations: Operation) -> Disk:
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    return disk


def left(*operations: Operation, path: str = "f") -> Set[Optional[bytes]]:
    """Return the contents that a file may have; None where it may be missing."""
    found: Set[Optional[bytes]] = set()
    for state in disk_after(*operations).states(SHORT):
        content = state.files.get(path)
        found.add(content.data if content else None)
    return found


MADE = (Create("", "f", 1), SyncDirectory(""))


def test_a_new_file_may_be_missing_until_its_directory_is_synced() -> None:
    assert left(Create("", "f", 1)) == {None, b""}
    assert left(Create("", "f", 1), Write(1, 0, b"a"), Sync(1)) == {None, b"a"}
    assert left(*MADE) == {b""}


def test_what_is_not_synced_may_be_lost_kept_torn_or_zero() -> None:
    assert left(*MADE, Write(1, 0, b"abc")) == {b"abc", b"", b"a", b"ab", b"a\0\0", b"ab\0",
                                                b"\0bc", b"\0\0c", b"\0\0\0"}  # fmt: skip
    assert left(*MADE, Write(1, 0, b"abc"), Sync(1)) == {b"abc"}


def test_what_was_there_stands_where_an_overwrite_is_lost() -> None:
    assert left(*MADE, Write(1, 0, b"abc"), Sync(1), Write(1, 1, b"x")) == {b"abc", b"axc"}


def test_the_blocks_of_a_long_write_may_be_lost_in_any_order() -> None:
    contents = left(*MADE, Write(1, 0, b"x" * 2048))
    assert b"x" * 512 + bytes(512) + b"x" * 512 + bytes(512) in contents
    assert bytes(512) + b"x" * 512 + bytes(512) + b"x" * 512 in contents
    assert bytes(2048) in contents


def test_a_later_write_may_last_without_an_earlier_one() -> None:
    contents = left(*MADE, Write(1, 0, b"a"), Write(1, 1, b"b"))
    assert contents >= {b"", b"a", b"ab", b"\0b"}


def test_a_truncation_may_be_lost_while_a_write_after_it_lasts() -> None:
    contents = left(*MADE, Write(1, 0, b"abcd"), Sync(1), Truncate(1, 1), Write(1, 1, b"x"))
    assert contents == {b"abcd", b"a", b"ax", b"axcd", b"a\0"}


def test_names_change_in_order() -> None:
    renamed = (*MADE, Write(1, 0, b"old"), Sync(1), Create("", "t", 2), Write(2, 0, b"new"),
               Sync(2), Rename("", "t", "f"), Unlink("", "f"))  # fmt: skip
    states: List[Dict[str, bytes]] = [
        {path: content.data for path, content in state.files.items() if content}
        for state in disk_after(*renamed).states(SHORT)
    ]
    assert states == [{}, {"f": b"new"}, {"f": b"old", "t": b"new"}, {"f": b"old"}]
    assert left(*renamed, SyncDirectory("")) == {None}


def test_a_directory_is_durable_in_the_one_above() -> None:
    made = (MakeDirectory("", "d"), Create("d", "f", 1), SyncDirectory("d"))
    assert left(*made, path="d/f") == {None, b""}
    assert left(*made, SyncDirectory(""), path="d/f") == {b""}


def test_after_a_failed_sync_no_later_one_helps() -> None:
    failed = (*MADE, Write(1, 0, b"a"), FailedSync(1))
    assert left(*failed, Sync(1)) == {b"a", b"", b"\0"}
    assert left(*failed, Write(1, 1, b"b"), Sync(1)) == {b"ab", b"\0b"}
    assert left(*failed, Truncate(1, 0), Sync(1), Write(1, 0, b"b"), Sync(1)) == {b"b"}


def test_a_kill_loses_nothing() -> None:
    state = disk_after(Create("", "f", 1), Write(1, 0, b"ab"), Rename("", "f", "g")).kept()
    assert [(path, content and content.data) for path, content in state.files.items()] == [
        ("g", b"ab")
    ]


# -- the recorder --------------------------------------------------------------------------


def test_the_recorder_notes_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with Recorder(tmp_path) as recorder:
        fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, b"abc")
        os.write(fd, memoryview(b"de"))
        os.fdatasync(fd)
        os.ftruncate(fd, 1)
        os.write(fd, b"f")
        os.pwrite(fd, b"g", 0)
        os.close(fd)
        os.replace(tmp_path / "f", tmp_path / "old")
        os.mkdir(tmp_path / "d")
        top = os.open(tmp_path, os.O_RDONLY)
        os.fsync(top)
        os.close(top)
        os.close(os.open(tmp_path / "d" / "f", os.O_WRONLY | os.O_CREAT))
        os.unlink(tmp_path / "d" / "f")
        os.close(os.open(tmp_path / "d" / "f", os.O_WRONLY | os.O_CREAT))  # the inode again
    written = [
        Create("", "f", 2),
        Write(2, 0, b"abc"),
        Write(2, 3, b"de"),
        Sync(2),
        Truncate(2, 1),
        Write(2, 1, b"f"),
    ]
    assert recorder.log[:6] == written
    assert recorder.log[7:] == [
        Rename("", "f", "old"),
        MakeDirectory("", "d"),
        SyncDirectory(""),
        Create("d", "f", 3),
        Unlink("d", "f"),
        Create("d", "f", 4),
    ]


def test_what_goes_past_the_recorder_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the log leads to"):
        with Recorder(tmp_path):
            (tmp_path / "f").write_bytes(b"unseen")


def test_files_elsewhere_are_none_of_its_business(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    with Recorder(tmp_path / "watched") as recorder:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"abc")
        os.fsync(fd)
        os.close(fd)
        os.rename(tmp_path / "f", tmp_path / "g")
    assert recorder.log == []
