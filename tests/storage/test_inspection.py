"""Looking into backup files from outside, and putting dead letters back."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.processes import Child
from tests.support.rights import with_ordinary_rights
from uun_iot_storage import Storage, StorageError
from uun_iot_storage.deadletters import add_dead_letters
from uun_iot_storage.inspection import look_into, requeue

from .support import identity, on_disk

HOLDER = """
import sys, threading
from uun_iot_storage import Storage
with Storage("s", sys.argv[1]) as storage:
    storage.append({"n": 3}, backup=True)
    print("open", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


# -- looking ------------------------------------------------------------------------------------


def test_it_tells_what_is_stored_while_another_process_has_it_open(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.merge([{"n": 1}, {"n": 2}])
    with Child.python(HOLDER, str(path)) as child:
        child.wait_for_line("open")
        before = identity(path)
        found = look_into(str(path))
        assert found.entries == [{"n": 1}, {"n": 2}, {"n": 3}]
        assert identity(path) == before
        with pytest.raises(StorageError, match="another process"):
            Storage("s", str(path))  # its lock is still there
    assert (found.in_file, found.backups, found.damage, found.dead) == (2, 1, None, [])


def test_it_makes_no_file_and_says_that_there_is_none(path: Path) -> None:
    with pytest.raises(StorageError, match=f"{path}: does not exist"):
        look_into(str(path))
    with pytest.raises(StorageError, match="does not exist"):
        requeue(str(path))
    assert os.listdir(path.parent) == []


def test_it_tells_what_is_damaged_or_was_set_aside(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.append(1, backup=True)
    path.write_text("{no list")
    for name in ("s.json.bad", "s.json.bad.2", "s.json.journal.bad", "s.json.badly", "t.json.bad"):
        path.with_name(name).write_text("")
    path.with_name("s.json.dead").write_text('{"time": "t", "attempts": 2, "entry": 5}\n{"time": ')
    found = look_into(str(path))
    assert found.damage is not None and "no JSON" in found.damage
    assert [os.path.basename(one) for one in found.aside] == [
        "s.json.bad",
        "s.json.bad.2",
        "s.json.journal.bad",
    ]
    assert ([tuple(one) for one in found.dead], found.dead_damage) == ([("t", 2, 5)], 1)


def test_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a directory"):
        look_into(str(tmp_path))


@pytest.mark.parametrize("name", ["s.json", "s.json.journal", "s.json.dead"])
def test_a_pipe_or_a_device_is_an_error_and_not_read_for_ever(path: Path, name: str) -> None:
    path.write_text("[]")
    special = path.with_name(name)
    special.unlink(missing_ok=True)
    os.mkfifo(special)
    with pytest.raises(StorageError, match=f"{name}: it is a device, a pipe or a socket"):
        look_into(str(path))
    special.unlink()
    special.symlink_to("/dev/zero")
    with pytest.raises(StorageError, match=r": it is a device, a pipe or a socket; give"):
        look_into(str(path))


operation = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 9)),
    st.tuples(st.just("merge"), st.lists(st.integers(0, 9), max_size=4), st.booleans()),
    st.tuples(st.just("send"), st.integers(1, 5)),
    st.tuples(st.just("empty")),
)


@settings(deadline=None, max_examples=80)
@given(
    operations=st.lists(operation, max_size=12),
    closed=st.booleans(),
    harm=st.one_of(
        st.none(),
        st.tuples(st.sampled_from(["s.json", "s.json.journal"]), st.floats(0, 1), st.booleans()),
    ),
)
def test_it_finds_what_a_storage_would_load(operations: Any, closed: bool, harm: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        live, copy = Path(directory, "live"), Path(directory, "copy")
        storage = Storage("s", str(live / "s.json"))
        for name, *arguments in operations:
            if name == "append":
                storage.append(arguments[0], backup=True)
            elif name == "merge":
                storage.merge(*arguments)
            elif name == "send":
                storage.acknowledge(storage.take(arguments[0]), [])
            else:
                storage.empty()
        if closed:
            storage.close()
        shutil.copytree(live, copy)  # as a crash leaves it
        storage.close()
        if harm is not None and (copy / harm[0]).exists():
            content = bytearray((copy / harm[0]).read_bytes())
            place = int(harm[1] * len(content))
            if harm[2]:
                content = content[:place]
            elif place < len(content):
                content[place] ^= 1
            (copy / harm[0]).write_bytes(content)
        path = copy / "s.json"
        if not any(path.with_name(path.name + one).exists() for one in ("", ".journal")):
            return
        found = look_into(str(path)).entries
        with Storage("s", str(path)) as again:
            assert again.data == found


def test_what_is_replaced_while_it_is_read_is_read_at_one_moment(path: Path) -> None:
    storage = Storage("s", str(path))
    storage.merge(list(range(50)))
    stop = threading.Event()

    def churn() -> None:
        number = 50
        while not stop.is_set():
            storage.acknowledge(storage.take(1), [])
            storage.append(number, backup=True)
            number += 1
            if number % 7 == 0:  # a new backup file
                storage.data = list(storage.data)
                storage.append(number, backup=True)
                number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            try:
                found = look_into(str(path)).entries
            except StorageError as exc:
                assert "all the time" in str(exc)
                continue
            assert found == list(range(found[0], found[0] + len(found)))
    finally:
        stop.set()
        thread.join()
        storage.close()


# -- putting back -------------------------------------------------------------------------------


def letters(path: Path, *entries: Any) -> Path:
    dead = path.with_name(path.name + ".dead")
    add_dead_letters(str(dead), [(entry, 3) for entry in entries])
    return dead


def test_dead_letters_come_back_in_front_and_their_file_goes(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.merge(["c", "d"])
    dead = letters(path, "a", "b")
    assert requeue(str(path)) == 2
    assert on_disk(path) == ["a", "b", "c", "d"]
    assert not dead.exists()
    assert requeue(str(path)) == 0


def test_lines_that_cannot_be_read_stay(path: Path) -> None:
    dead = letters(path, "a")
    with dead.open("ab") as file:
        file.write(b'{"time": "t", "entr\n')
    letters(path, "b")
    mode = stat.S_IMODE(dead.stat().st_mode)
    assert requeue(str(path)) == 2
    assert on_disk(path) == ["a", "b"]
    assert dead.read_bytes() == b'{"time": "t", "entr\n'
    assert stat.S_IMODE(dead.stat().st_mode) == mode == 0o600
    assert look_into(str(path)).dead_damage == 1


def test_a_running_gateway_keeps_its_file_for_itself(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.merge([{"n": 1}])
    dead = letters(path, "a")
    with Child.python(HOLDER, str(path)) as child:
        child.wait_for_line("open")
        before = identity(path), dead.read_bytes()
        with pytest.raises(StorageError, match="another process has it open"):
            requeue(str(path))
        assert (identity(path), dead.read_bytes()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs rights of POSIX")
def test_where_nothing_can_be_written_the_letters_stay(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        storage.merge([1])
    dead = letters(path, "a")
    os.chmod(path.parent, 0o500)
    try:
        with pytest.raises(StorageError):
            with_ordinary_rights(lambda: requeue(str(path)))
    finally:
        os.chmod(path.parent, 0o700)
    assert dead.exists()


def test_an_entry_that_cannot_be_stored_keeps_all_of_them(path: Path) -> None:
    dead = letters(path, 1, float("nan"))
    with pytest.raises(ValueError, match="entry 1 of 2"):
        requeue(str(path))
    found: List[Any] = [json.loads(line)["entry"] for line in dead.read_text().splitlines()]
    assert len(found) == 2
