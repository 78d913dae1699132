"""Replacing files whole."""

from __future__ import annotations

import json
import os
import random
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.helpers import in_thread, joined
from tests.support.processes import Child
from uun_iot_core import atomic_write, file_save
from uun_iot_core.files import StagedFile

posix = pytest.mark.skipif(os.name != "posix", reason="modes and SIGKILL are those of POSIX")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- file_save -----------------------------------------------------------------------------------


def test_saving_returns_true_and_the_same_again_false(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    assert file_save(str(path), {"a": [1, 2]}) is True
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    before = path.stat()
    assert file_save(str(path), {"a": [1, 2]}) is False
    assert path.stat().st_ino == before.st_ino
    assert file_save(str(path), {"a": [2, 1]}) is True
    assert json.loads(path.read_text()) == {"a": [2, 1]}


@pytest.mark.parametrize("content", ['{"b":1,"a":[1,2]}', '{\n  "a": [1, 2],\n  "b": 1\n}\n'])
def test_spaces_and_the_order_of_keys_do_not_count(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(content)
    assert file_save(str(path), {"a": [1, 2], "b": 1}) is False
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (True, 1), (0, False), (1, 1.0), ("1", 1), (None, 0)]
)
def test_what_only_python_takes_for_equal_is_saved(tmp_path: Path, old: Any, new: Any) -> None:
    path = tmp_path / "data.json"
    file_save(str(path), [old])
    assert file_save(str(path), [new]) is True
    assert path.read_text() == json.dumps([new])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\0" * 100, b"[" * 200_000])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    assert file_save(str(path), []) is True
    assert path.read_text() == "[]"


@pytest.mark.parametrize("data", [{"a": {1, 2}}, [object()], [b"bytes"]])
def test_what_is_no_json_is_a_type_error_and_leaves_the_file(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "data.json"
    file_save(str(path), [1])
    with pytest.raises(TypeError):
        file_save(str(path), data)
    assert path.read_text() == "[1]"
    assert os.listdir(tmp_path) == ["data.json"]


def test_a_circle_is_a_value_error_and_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    file_save(str(path), [1])
    circle: List[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError):
        file_save(str(path), circle)
    assert path.read_text() == "[1]"


def test_keys_become_text_as_json_has_it(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    data: Any = {1: "a", None: "b"}
    assert file_save(str(path), data) is True
    assert json.loads(path.read_text()) == {"1": "a", "null": "b"}
    assert file_save(str(path), data) is False


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_save(str(tmp_path / "missing" / "data.json"), [])


def test_a_path_that_is_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        file_save(str(tmp_path), [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4) | st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_is_saved_once_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    path = tmp_path_factory.mktemp("json") / "data.json"
    assert file_save(str(path), data) is True
    assert json.dumps(json.loads(path.read_text())) == json.dumps(data)
    assert file_save(str(path), data) is False


# -- atomic_write --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "written"), [("č", b"\xc4\x8d"), (b"\xff\0", b"\xff\0"), ("", b"")]
)
def test_text_is_written_as_utf_8_and_bytes_as_they_are(
    tmp_path: Path, data: Any, written: bytes
) -> None:
    path = tmp_path / "file"
    atomic_write(path, data)
    assert path.read_bytes() == written
    atomic_write(str(path), "longer than before")
    atomic_write(path, data)
    assert path.read_bytes() == written
    assert os.listdir(tmp_path) == ["file"]


def test_a_relative_path_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    atomic_write("file", "x")
    assert (tmp_path / "file").read_text() == "x"


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_a_new_file_has_the_mode_that_is_asked_for_or_that_of_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "plain", "x")
        atomic_write(tmp_path / "secret", "x", 0o600)
        atomic_write(tmp_path / "open", "x", mode=0o664)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "plain") == 0o666 & ~umask
    assert mode_of(tmp_path / "secret") == 0o600
    assert mode_of(tmp_path / "open") == 0o664


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    atomic_write(path, "new", 0o640)
    assert path.read_text() == "new"
    assert mode_of(path) == mode


@posix
def test_a_link_stays_and_its_target_is_written_also_where_it_is_not_there_yet(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "target"
    link.symlink_to(target)
    for content in ("first", "second"):
        atomic_write(link, content)
        assert link.is_symlink()
        assert target.read_text() == content
    assert os.listdir(tmp_path / "there") == ["target"]


@posix
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path, tmp_path / "link"):
        with pytest.raises(OSError):
            atomic_write(path, "x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@posix
def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".file.tmp").symlink_to(victim)
    with pytest.raises(OSError):
        atomic_write(tmp_path / "file", "x")
    assert victim.read_text() == "precious"


def test_what_a_crash_left_behind_is_used_again(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_text("half of a longer conte")
    atomic_write(tmp_path / "file", "whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert os.listdir(tmp_path) == ["file"]


def test_the_umask_survives_many_threads_that_make_files(tmp_path: Path) -> None:
    before = os.umask(0o022)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def make(thread: int) -> None:
            for number in range(40):
                atomic_write(tmp_path / f"{thread}-{number}", "x")

        workers = [in_thread(lambda thread=thread: make(thread)) for thread in range(6)]  # type: ignore[misc]  # bound now
        for worker in workers:
            joined(worker)
    finally:
        sys.setswitchinterval(interval)
        after = os.umask(before)
    assert after == 0o022
    if os.name == "posix":
        assert {mode_of(path) for path in tmp_path.iterdir()} == {0o644}


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "file"
    faults: List[str] = []
    path.write_text("0" * 20_000)

    def write(letter: str) -> None:
        for _ in range(15):
            atomic_write(path, letter * 20_000)

    def read() -> None:
        while any(worker.is_alive() for worker in workers):
            text = path.read_text()
            if len(text) != 20_000 or len(set(text)) != 1:
                faults.append(text[:10])

    workers = [
        threading.Thread(target=write, args=(letter,), name="of a test") for letter in "abcd"
    ]
    for worker in workers:
        worker.start()
    reader = in_thread(read)
    for worker in [*workers, reader]:
        joined(worker)
    assert faults == []
    assert os.listdir(tmp_path) == ["file"]


def test_staged_content_changes_nothing_until_it_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with StagedFile(path, "new"):
        assert path.read_text() == "old"
    assert path.read_text() == "old"
    with StagedFile(path, "new") as staged:
        staged.commit()
        assert path.read_text() == "new"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_a_full_disk_is_an_error_that_leaves_the_old_content() -> None:
    script = """
import os, resource, sys, tempfile
from uun_iot_core import atomic_write, file_save
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "file")
    file_save(path, ["old"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    for write, data in ((atomic_write, "x" * 5000), (file_save, ["x" * 5000])):
        try:
            write(path, data)
        except OSError as exc:
            print(exc.strerror)
        assert open(path).read() == '["old"]'
        assert os.listdir(directory) == ["file"]
"""
    with Child.python(script) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == ["File too large"] * 2


@posix
def test_kill_9_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    script = """
import sys
from uun_iot_core import file_save
number = 0
while True:
    number += 1
    assert file_save(sys.argv[1], [number] * 20_000)
    if number == 3:
        print("writing", flush=True)
"""
    path = tmp_path / "data.json"
    for _ in range(10):
        with Child.python(script, str(path)) as child:
            child.wait_for_line("writing")
            time.sleep(random.uniform(0, 0.03))  # the moment is to be a random one
            child.kill()
            child.wait()
        numbers = json.loads(path.read_text())
        assert len(numbers) == 20_000
        assert len(set(numbers)) == 1
        assert numbers[0] >= 3
        assert set(os.listdir(tmp_path)) <= {"data.json", ".data.json.tmp"}
