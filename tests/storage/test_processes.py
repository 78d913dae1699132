"""Kills, full disks, missing rights, two processes, forks: the file stays whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Iterator, Set

import pytest

from uun_iot_storage import Storage, StorageError

from .support import on_disk, run_python, start_python

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, limits and locks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.json"


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can reach (those of pytest are private)."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@posix
def test_every_acknowledged_entry_survives_kill_9(path: Path) -> None:
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        number = len(storage)
        print("ready", flush=True)
        while True:
            if number % 5:
                storage.append({"number": number, "filler": "x" * 50}, backup=True)
            else:
                storage.merge([{"number": number, "filler": ""}])
            print(number, flush=True)
            number += 1
    """
    rounds = random.Random(7)
    stored = 0
    for _ in range(8):
        with start_python(script, str(path)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(rounds.randrange(1, 40)):
                process.stdout.readline()
            time.sleep(rounds.random() * 0.005)  # no event: the kill comes at any instruction
            process.send_signal(signal.SIGKILL)
            printed = process.stdout.read().split("\n")[:-1]  # without a torn last line
        numbers = [entry["number"] for entry in on_disk(path)]
        assert numbers == list(range(len(numbers)))
        if printed:
            assert len(numbers) > int(printed[-1])
        assert len(numbers) > stored
        stored = len(numbers)
        assert not path.with_name("s.json.bad").exists()
    with Storage("s", str(path)) as storage:
        assert len(storage) == stored


@posix
def test_a_kill_while_sending_repeats_entries_and_loses_none(path: Path) -> None:
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        number = int(sys.argv[2])
        print("ready", flush=True)
        while True:
            storage.merge([number, number + 1, number + 2])
            print("stored", number, number + 1, number + 2, flush=True)
            number += 3
            batch = storage.take()
            failed = [n for n in batch if n % 3 == 0 and n % 9]
            print("sent", *[n for n in batch if n not in failed], flush=True)
            storage.acknowledge(batch, failed)
    """
    rounds = random.Random(11)
    produced: Set[int] = set()
    sent: Set[int] = set()
    following = 0
    for _ in range(6):
        with start_python(script, str(path), str(following)) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rounds.randrange(3, 60))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith("\n") and line.startswith(("stored", "sent")):
                kind, *numbers = line.split()
                (produced if kind == "stored" else sent).update(map(int, numbers))
        left = on_disk(path)
        assert left == sorted(left) and len(left) == len(set(left))
        assert produced <= sent | set(left)
        following = max(produced | set(left)) + 3
        following -= following % 3
    assert sent


@posix
def test_a_full_disk_keeps_the_old_file_and_the_entries(path: Path) -> None:
    lines = run_python(
        """
        import resource, sys
        from uun_iot_storage import Storage, StorageError
        storage = Storage("s", sys.argv[1])
        storage.append("small", backup=True)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            storage.append("x" * 2000, backup=True)
        except StorageError as exc:
            print(exc)
        print(len(storage), Storage("again", sys.argv[1]).data)
        storage.acknowledge(storage.take(1), [])
        print(len(storage))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        storage.close()
        print(len(open(sys.argv[1]).read().strip()))
        """,
        str(path),
    )
    assert str(path) in lines[0] and "raise the allowed size" in lines[0]
    assert lines[1:] == ["2 ['small']", "1", "2004"]
    assert sorted(os.listdir(path.parent)) == ["s.json", "s.json.lock"]


@posix
def test_a_directory_without_write_permission_still_loads(open_directory: Path) -> None:
    (open_directory / "s.json").write_text("[1, 2]")
    (open_directory / "s.json").chmod(0o644)
    open_directory.chmod(0o555)
    lines = run_python(
        """
        import os, sys
        from uun_iot_storage import Storage, StorageError
        if os.geteuid() == 0:  # root may write anywhere; be nobody
            os.setgid(65534), os.setuid(65534)
        for name in ("s.json", "missing.json", "missing/s.json"):
            storage = Storage("s", os.path.join(sys.argv[1], name))
            print(storage.data)
            storage.close()
            storage.reopen()
            storage.append(3)
            try:
                storage.append(4, backup=True)
            except StorageError as exc:
                print(exc)
            print(storage.data)
        """,
        str(open_directory),
    )
    assert lines[0::3] == ["[1, 2]", "[]", "[]"]
    assert all("right to write" in line for line in lines[1::3])
    assert lines[2::3] == ["[1, 2, 3, 4]", "[3, 4]", "[3, 4]"]


@posix
def test_a_damaged_file_that_cannot_be_set_aside_is_not_overwritten(open_directory: Path) -> None:
    file = open_directory / "s.json"
    file.write_text("damaged")
    open_directory.chmod(0o555)
    script = """
        import os, sys
        from uun_iot_storage import Storage, StorageError
        if os.geteuid() == 0:  # root may write anywhere; be nobody
            os.setgid(65534), os.setuid(65534)
        storage = Storage("s", sys.argv[1])
        try:
            storage.append(1, backup=True)
        except StorageError:
            print("refused", storage.data, flush=True)
        sys.stdin.readline()
        storage.append(2, backup=True)
        for name in ("", ".bad"):
            with open(sys.argv[1] + name) as file:
                print(file.read().strip())
    """
    with start_python(script, str(file)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "refused [1]\n", process.communicate()[1]
        assert file.read_text() == "damaged"
        open_directory.chmod(0o777)
        output, errors = process.communicate("\n", timeout=60)
    assert output == "[1, 2]\ndamaged\n", errors


@posix
def test_another_process_is_refused_until_the_first_lets_go(path: Path) -> None:
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        storage.append("theirs", backup=True)
        print("open", flush=True)
        sys.stdin.readline()
        storage.close()
        print("closed", flush=True)
        sys.stdin.readline()
    """
    with start_python(script, str(path)) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StorageError, match="another process") as caught:
            Storage("s", str(path))
        assert str(path) in str(caught.value) and "another path" in caught.value.remedy
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "closed\n"
        with Storage("s", str(path)) as storage:
            assert storage.data == ["theirs"]
        process.communicate("\n", timeout=60)


@posix
def test_the_lock_dies_with_the_process(path: Path) -> None:
    script = """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        print("open", flush=True)
        sys.stdin.readline()
    """
    with start_python(script, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    Storage("s", str(path)).close()


@posix
def test_the_lock_dies_with_the_parent_though_a_forked_child_lives(path: Path) -> None:
    script = """
        import os, signal, sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        storage.append(1, backup=True)
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            signal.pause()
        sys.stdin.readline()
        os._exit(0)
    """
    with start_python(script, str(path)) as process:
        assert process.stdout is not None and process.stdin is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(StorageError, match="another process"):
                Storage("s", str(path))
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(timeout=60) == 0
            os.kill(child, 0)  # it lives
            with Storage("s", str(path)) as storage:
                assert storage.data == [1]
        finally:
            os.kill(child, signal.SIGKILL)


@posix
def test_a_forked_child_does_not_own_the_storage(path: Path) -> None:
    lines = run_python(
        """
        import os, sys
        from uun_iot_storage import Storage, StorageError
        storage = Storage("s", sys.argv[1])
        storage.append(1, backup=True)
        storage.append(2)
        storage.write_lock.acquire()  # as another thread may hold it while we fork
        child = os.fork()
        if child == 0:
            calls = [
                lambda: storage.append(3), lambda: storage.append(3, backup=True),
                lambda: storage.merge([3]), storage.empty, storage.take, storage.stats,
                lambda: Storage("s", sys.argv[1]),
            ]
            for call in calls:
                try:
                    call()
                    print("done")
                except StorageError as exc:
                    print(exc.problem)
            print(storage.data)
            storage.close()
            del storage
            with Storage("own", sys.argv[1] + ".child") as own:
                own.append("child", backup=True)
            sys.stdout.flush()
            os._exit(0)
        storage.write_lock.release()
        assert os.waitpid(child, 0)[1] == 0
        storage.append(4, backup=True)
        print(Storage("again", sys.argv[1]).data)
        """,
        str(path),
    )
    inherited = "it belongs to the process that this one was forked from"
    assert lines == [inherited] * 6 + ["another process has it open", "[1, 2]", "[1, 2, 4]"]
    assert on_disk(path.with_name("s.json.child")) == ["child"]
    assert on_disk(path) == [1, 2, 4]


@posix
def test_a_storage_without_a_file_works_in_a_forked_child() -> None:
    storage = Storage("s", None)
    storage.append(1)
    storage.write_lock.acquire()  # as another thread may hold it while we fork
    child = os.fork()
    if child == 0:
        storage.append(2)
        os._exit(len(storage))
    storage.write_lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    storage.append(3)
    assert storage.data == [1, 3]


@posix
def test_the_parent_keeps_its_lock_after_a_forked_child_ended(path: Path) -> None:
    with Storage("s", str(path)) as storage:
        child = os.fork()
        if child == 0:
            storage.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        lines = run_python(
            """
            import sys
            from uun_iot_storage import Storage, StorageError
            try:
                Storage("s", sys.argv[1])
            except StorageError as exc:
                print(exc.problem)
            """,
            str(path),
        )
        assert lines == ["another process has it open"]


def test_the_end_of_the_program_saves(path: Path) -> None:
    run_python(
        """
        import sys
        from uun_iot_storage import Storage
        storage = Storage("s", sys.argv[1])
        storage.append(1)
        """,
        str(path),
    )
    assert on_disk(path) == [1]


@posix
def test_an_exception_in_a_signal_handler_does_not_block_later_backups(path: Path) -> None:
    lines = run_python(
        """
        import signal, sys
        from uun_iot_storage import Storage, StorageError

        class Alarm(Exception):
            pass

        def ring(number, frame):
            if armed:
                raise Alarm

        armed = False
        signal.signal(signal.SIGALRM, ring)
        sys.unraisablehook = lambda unraisable: None  # it may also ring while garbage is let go
        storage = Storage("s", sys.argv[1], maxlen=50)
        rung = 0
        for number in range(1500):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + number % 7 * 0.0001)
                armed = True
                storage.data = list(storage.data)  # so that each backup replaces the file
                storage.append({"number": number}, backup=True)
                armed = False
            except (Alarm, StorageError):
                armed = False
                rung += 1
        storage.append("last", backup=True)
        assert rung > 100, rung
        print(storage.data[-1])
        """,
        str(path),
    )
    assert lines == ["last"]
    assert on_disk(path)[-1] == "last"
