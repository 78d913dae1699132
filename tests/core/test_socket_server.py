"""The command socket: its file, and clients of every kind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.helpers import SOON, in_thread, joined, library_threads
from tests.support.commands import CommandClient, ask
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core import socket_server
from uun_iot_core.socket_server import MOST_BYTES, MOST_CLIENTS, SILENCE, SocketServer, path_problem


def echo(line: str) -> str:
    return f"0 {line}"


@contextlib.contextmanager
def serving(path: Path, respond: Callable[[str], str] = echo) -> Iterator[str]:
    server = SocketServer(str(path), respond)
    server.start()
    try:
        yield server.path
    finally:
        server.stop()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    """The path of a socket that echoes."""
    with serving(tmp_path / "s") as path:
        yield path


# -- the file --------------------------------------------------------------------------------------


def test_the_socket_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with serving(tmp_path / "s") as path:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert stat.S_ISSOCK(os.stat(path).st_mode)
    finally:
        os.umask(umask)


def test_it_is_ready_when_start_returns_and_gone_when_stop_does(tmp_path: Path) -> None:
    server = SocketServer(str(tmp_path / "s"), echo)
    for _ in range(20):
        server.start()
        assert ask(server.path, b"hello\n") == b"0 hello\n"
        server.stop()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(FileNotFoundError):
            ask(server.path, b"hello\n")
    server.stop()  # a second stop is none


def test_the_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    script = """
import sys, time
from uun_iot_core.socket_server import SocketServer
SocketServer(sys.argv[1], lambda line: "0").start()
print("ready")
time.sleep(60)
"""
    with Child.python(script, path) as child:
        child.wait_for_line("ready")
        assert ask(path, b"hello\n") == b"0\n"
        child.signal(signal.SIGKILL)
        child.wait()
    assert os.path.exists(path)
    with serving(Path(path)):
        assert ask(path, b"hello\n") == b"0 hello\n"
    assert not os.path.exists(path)


def test_the_socket_of_a_process_that_answers_is_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as path:
        other = SocketServer(path, lambda line: "0 other")
        with pytest.raises(FileExistsError, match="answers"):
            other.start()
        other.stop()
        assert ask(path, b"hello\n") == b"0 hello\n"


def test_a_socket_on_which_nobody_answers_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    # a forked child of a dead gateway holds it: it listens, and nobody accepts
    script = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen(5)
child = os.fork()
if child:
    print(child, flush=True)
    os._exit(0)
os.closerange(0, 3)
time.sleep(60)
"""
    with Child.python(script, path) as child:
        orphan = int(child.wait_for_line(r"^\d+$").group())
        try:
            child.wait()
            with serving(Path(path)):
                assert ask(path, b"hello\n") == b"0 hello\n"
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_of_two_that_start_at_once_on_a_stale_socket_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(50):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(str(path))
        begin = threading.Barrier(2)
        servers = [SocketServer(str(path), echo) for _ in range(2)]
        failed: List[OSError] = []

        def start(server: SocketServer, begin: threading.Barrier = begin) -> None:
            begin.wait(SOON)
            try:
                server.start()
            except OSError as exc:
                failed.append(exc)  # noqa: B023 - called within the loop

        for thread in [in_thread(lambda one=one: start(one)) for one in servers]:  # type: ignore[misc]  # bound now
            joined(thread)
        try:
            assert ["another process answers there"] == [exc.strerror for exc in failed]
            assert ask(str(path), b"hello\n") == b"0 hello\n"
        finally:
            for server in servers:
                server.stop()
        assert not path.exists()


def test_a_lock_of_somebody_else_on_the_directory_delays_a_start_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "_LONGEST_TURN", 0.1)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        began = time.monotonic()
        with serving(tmp_path / "s") as path:
            assert time.monotonic() - began >= 0.1
            assert ask(path, b"hello\n") == b"0 hello\n"
    finally:
        os.close(directory)


def test_the_socket_of_a_process_that_is_stopped_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    script = """
import sys, time
from uun_iot_core.socket_server import SocketServer
SocketServer(sys.argv[1], lambda line: "0 first").start()
print("ready", flush=True)
time.sleep(60)
"""
    with Child.python(script, path) as child:
        child.wait_for_line("ready")
        child.signal(signal.SIGSTOP)
        try:
            with pytest.raises(FileExistsError, match=f"process {child.process.pid} listens"):
                SocketServer(path, echo).start()
        finally:
            child.signal(signal.SIGCONT)
        assert ask(path, b"hello\n") == b"0 first\n"


def test_a_socket_with_a_full_queue_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        full.bind(path)
        full.listen(0)
        with contextlib.suppress(BlockingIOError):  # it is full
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                client.setblocking(False)
                client.connect(path)
        with pytest.raises(FileExistsError, match="answers nobody"):
            SocketServer(path, echo).start()
        assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_text("precious")
    with pytest.raises(FileExistsError, match="something else"):
        SocketServer(str(file), echo).start()
    assert file.read_text() == "precious"
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(FileExistsError):
        SocketServer(str(link), echo).start()
    assert link.is_symlink()


def test_a_directory_that_is_not_there_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    server = SocketServer(str(tmp_path / "none" / "s"), echo)
    with pytest.raises(FileNotFoundError):
        server.start()
    server.stop()
    assert [one for one in library_threads() if "socket" in one.name] == []


def test_a_stop_leaves_what_another_process_has_put_there(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as path:
        os.unlink(path)
        Path(path).write_text("of another")
    assert Path(path).read_text() == "of another"


def test_a_forked_child_that_stops_it_harms_nobody(tmp_path: Path) -> None:
    script = """
import os, sys
from tests.support.commands import CommandClient, ask
from uun_iot_core.socket_server import SocketServer
server = SocketServer(sys.argv[1], lambda line: "0 " + line)
server.start()
with CommandClient(server.path) as client:
    client.send(b"half")
    pid = os.fork()
    if pid == 0:
        server.stop()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    client.send(b" and half\\n")
    print(client.answer().decode(), end="")
print(ask(server.path, b"again\\n").decode(), end="")
server.stop()
print(os.path.exists(server.path))
"""
    with Child.python(script, str(tmp_path / "s")) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == ["0 half and half", "0 again", "False"]


def test_a_process_that_never_stops_it_can_end(tmp_path: Path) -> None:
    script = """
import sys
from uun_iot_core.socket_server import SocketServer
SocketServer(sys.argv[1], lambda line: "0").start()
"""
    with Child.python(script, str(tmp_path / "s")) as child:
        assert child.wait() == 0


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/run/weather.sock", None),
        ("weather.sock", None),
        ("", "expected the path of a socket, got an empty string"),
        (5, "got a number"),
        (None, "got null"),
        ("a\0b", "NUL"),
        ("/run/" + "x" * 98, None),
        ("/run/" + "x" * 99, "at most 103 bytes, this one has 104"),
        ("/run/" + "é" * 50, "this one has 105"),
    ],
)
def test_what_a_path_may_be(path: Any, problem: Any) -> None:
    found = path_problem(path)
    assert found is None if problem is None else problem in str(found)


def test_the_longest_path_that_is_allowed_works(tmp_path: Path) -> None:
    directory = Path("/tmp")
    path = directory / ("u" * (103 - len(str(directory)) - 1 - 8) + f"{os.getpid():08}")
    assert path_problem(str(path)) is None
    with serving(path) as bound:
        assert ask(bound, b"hello\n") == b"0 hello\n"


# -- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"\n", b"0 \n"),
        (b"a b  c \n", b"0 a b  c \n"),
        (b"one\ntwo\n", b"0 one\n"),
        ("čeština\n".encode(), "0 čeština\n".encode()),
        (b"with\r\n", b"0 with\n"),
        (b"\0\n", b"0 \0\n"),
        (b"\xff\xfe\n", b"1 the command is not UTF-8 text\n"),
        (b"\xed\xa0\x80\n", b"1 the command is not UTF-8 text\n"),  # a lone surrogate
        (b"x" * MOST_BYTES + b"\n", b"0 " + b"x" * MOST_BYTES + b"\n"),
        (b"x" * (MOST_BYTES + 1) + b"\n", b"1 the command is longer than 65536 bytes\n"),
        (b"x" * 10_000_000 + b"\n", b"1 the command is longer than 65536 bytes\n"),
        (b"x" * 10_000_000, b"1 the command is longer than 65536 bytes\n"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_one_line_is_answered(path: str, sent: bytes, answered: bytes) -> None:
    assert ask(path, sent) == answered
    assert ask(path, b"next\n") == b"0 next\n"


def test_a_line_may_come_in_pieces(path: str) -> None:
    with CommandClient(path) as client:
        for byte in "pět\n".encode():
            client.send(bytes([byte]))
        assert client.answer() == "0 pět\n".encode()


def test_a_line_without_an_end_is_answered_when_the_client_has_no_more(path: str) -> None:
    for sent in (b"", b"status"):
        with CommandClient(path) as client:
            client.send(sent)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.answer() == b"1 the command does not end with a newline\n"


def test_an_answer_that_is_no_text_is_sent_all_the_same(tmp_path: Path) -> None:
    with serving(tmp_path / "s", lambda line: "0 \ud800 lone") as path:
        assert ask(path, b"x\n") == b"0 \\ud800 lone\n"


def test_a_long_answer_arrives_whole(tmp_path: Path) -> None:
    with serving(tmp_path / "s", lambda line: "0 " + "y" * 5_000_000) as path:
        assert ask(path, b"x\n") == b"0 " + b"y" * 5_000_000 + b"\n"


# -- clients that are slow, silent, broken ---------------------------------------------------------


def test_a_silent_client_is_dropped_after_a_second_and_stops_nobody(path: str) -> None:
    def answered_meanwhile() -> bool:
        with CommandClient(path) as silent:
            began = time.monotonic()
            assert ask(path, b"next\n") == b"0 next\n"
            meanwhile = not select.select([silent.socket], [], [], 0)[0]
            assert silent.answer() == b""
            assert SILENCE * 0.8 < time.monotonic() - began < SILENCE * 10
        return meanwhile

    # again where the machine does something else for a second
    assert any(answered_meanwhile() for _ in range(5))


def test_a_client_that_says_a_byte_now_and_then_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "_LONGEST_LINE", 1.0)
    dropped = threading.Event()
    with serving(tmp_path / "s") as path, CommandClient(path) as slow:

        def drip() -> None:
            while not dropped.wait(0.05):
                slow.send(b"x")

        dripping = in_thread(drip)
        began = time.monotonic()
        assert slow.answer() == b""
        assert time.monotonic() - began < SOON
        dropped.set()
        joined(dripping)


def test_a_client_that_takes_no_answer_stops_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "s", lambda line: "0 " + "y" * 5_000_000) as path:
        with CommandClient(path) as deaf:
            deaf.send(b"x\n")
            assert len(ask(path, b"x\n")) == 5_000_003
            # it is dropped: what is left of the answer ends soon
            time.sleep(SILENCE * 1.5)  # a client that does nothing has nothing to wait for
            assert len(deaf.answer()) < 5_000_003


def test_clients_that_vanish_stop_nobody(path: str) -> None:
    for sent in (b"", b"half", b"whole\n", b"\xff" * 100_000):
        for _ in range(20):
            with CommandClient(path) as client:
                client.send(sent)
    assert ask(path, b"next\n") == b"0 next\n"


def test_many_silent_clients_make_room_for_one_that_speaks(path: str) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(CommandClient(path)) for _ in range(MOST_CLIENTS * 2)]
        assert ask(path, b"next\n") == b"0 next\n"
        # the one that was dropped may still be about to end
        assert eventually(lambda: threads_of_commands() <= MOST_CLIENTS)
        assert silent[0].answer() == b""


def threads_of_commands() -> int:
    return len([one for one in library_threads() if one.name == "uun_iot command"])


@pytest.mark.parametrize("what", ["whole", "silent", "half", "binary", "mixed"])
def test_500_connections_at_once(path: str, what: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert limit == resource.RLIM_INFINITY or limit > 1200, "the test itself needs 1000 files"
    said = {"whole": b"hello\n", "silent": b"", "half": b"hel", "binary": b"\xff\0\n"}
    answers: List[bytes] = [b""] * 500
    ready = threading.Barrier(501)

    def client(number: int) -> None:
        kind = list(said)[number % 4] if what == "mixed" else what
        ready.wait(SOON)
        with CommandClient(path, timeout=30) as one:
            one.send(said[kind])
            answers[number] = one.answer()

    threads = [in_thread(lambda number=number: client(number)) for number in range(500)]  # type: ignore[misc]  # bound now
    most = 0
    ready.wait(SOON)
    while any(thread.is_alive() for thread in threads):
        most = max(most, threads_of_commands())
        threads[0].join(0.001)
        threads = [thread for thread in threads if thread.is_alive()]
    assert most <= 2 * MOST_CLIENTS  # of these some have closed and are about to end
    known = {b"", b"0 hello\n", b"1 the command is not UTF-8 text\n"}
    known.add(b"1 too many clients, try again\n")
    assert set(answers) <= known
    if what == "whole":
        # all but who was kept from speaking for long, by what else the machine does
        assert answers.count(b"0 hello\n") >= 495
    assert ask(path, b"next\n") == b"0 next\n"
    assert eventually(lambda: threads_of_commands() == 0, timeout=5)


def test_where_all_have_work_under_way_others_are_told_to_come_again(tmp_path: Path) -> None:
    let_go = threading.Event()

    def respond(line: str) -> str:
        assert let_go.wait(SOON)
        return echo(line)

    with serving(tmp_path / "s", respond) as path, contextlib.ExitStack() as stack:
        busy = [stack.enter_context(CommandClient(path)) for _ in range(MOST_CLIENTS)]
        for client in busy:
            client.send(b"wait\n")
        assert eventually(lambda: threads_of_commands() == MOST_CLIENTS)
        for sent in (b"next\n", b"x" * MOST_BYTES + b"\n", b""):
            with CommandClient(path) as refused:
                refused.send(sent)
                # a reset connection would raise here
                received = b"".join(iter(lambda one=refused: one.socket.recv(100), b""))  # type: ignore[misc]  # bound now
                assert received == b"1 too many clients, try again\n"
        let_go.set()
        assert {client.answer() for client in busy} == {b"0 wait\n"}
        assert ask(path, b"next\n") == b"0 next\n"


def test_a_want_of_descriptors_passes(path: str, caplog: pytest.LogCaptureFixture) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        early = [
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(5)
        ]
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        with contextlib.ExitStack() as fillers:
            for _ in range(highest + 8):  # so that there is no gap below the limit
                fillers.enter_context(open(os.devnull, "rb"))
            fullest = max(int(name) for name in os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (fullest, limits[1]))
            try:
                for one in early:
                    one.connect(path)
                    one.sendall(b"wait\n")
                assert eventually(lambda: "a client cannot be served" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in early:
            one.settimeout(SOON)
            assert one.recv(100) == b"0 wait\n"
    assert ask(path, b"next\n") == b"0 next\n"
    assert caplog.text.count("a client cannot be served") == 1


# -- stopping --------------------------------------------------------------------------------------


def test_a_stop_waits_for_answers_and_drops_those_who_have_said_nothing(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def respond(line: str) -> str:
        begun.set()
        assert let_go.wait(SOON)
        return echo(line)

    server = SocketServer(str(tmp_path / "s"), respond)
    server.start()
    with CommandClient(server.path) as busy, CommandClient(server.path) as silent:
        busy.send(b"work\n")
        assert begun.wait(SOON)
        assert eventually(lambda: threads_of_commands() == 2)
        stopping = in_thread(server.stop)
        assert silent.answer() == b""
        assert not os.path.exists(server.path)
        assert stopping.is_alive()
        let_go.set()
        assert busy.answer() == b"0 work\n"
        joined(stopping)
    assert [one for one in library_threads() if one.name.startswith("uun_iot s")] == []


def test_a_client_that_takes_its_answer_slowly_does_not_keep_a_stop_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "_LONGEST_LINE", 0.3)
    server = SocketServer(str(tmp_path / "s"), lambda line: "0 " + "y" * 50_000_000)
    server.start()
    with CommandClient(server.path) as slow:
        slow.send(b"x\n")
        assert slow.socket.recv(1000)
        stopped = threading.Event()

        def take() -> None:
            while not stopped.wait(0.05):
                slow.socket.recv(10_000)

        taking = in_thread(take)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        stopped.set()
        joined(taking)


def test_who_stops_it_while_it_answers_does_not_wait_for_itself(tmp_path: Path) -> None:
    def respond(line: str) -> str:
        server.stop()
        return "0 stopped"

    server = SocketServer(str(tmp_path / "s"), respond)
    server.start()
    assert ask(server.path, b"stop\n") == b"0 stopped\n"


def test_no_descriptor_and_no_thread_is_left(tmp_path: Path) -> None:
    def cycle() -> None:
        with serving(tmp_path / "s") as path:
            for sent in (b"a\n", b"\xff\n", b"half"):
                with CommandClient(path) as client:
                    client.send(sent)

    cycle()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        cycle()
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


# -- fuzz ------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"\n", b"status", b" ", b"\0", b"\xff", b"x" * 70_000, b"\r\n"]),
    ),
    max_size=8,
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pieces=PIECES, hangs_up=st.booleans(), reads=st.booleans())
def test_whatever_a_client_sends_the_next_one_is_answered(
    path: str, pieces: List[bytes], hangs_up: bool, reads: bool
) -> None:
    with CommandClient(path) as client:
        for piece in pieces:
            client.send(piece)
        line, newline, _ = b"".join(pieces).partition(b"\n")
        if hangs_up:
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
        if reads and (newline or hangs_up):
            answer = client.answer()
            if not newline or len(line) > MOST_BYTES:
                assert answer.startswith(b"1 the command ")
            else:
                try:
                    line.decode()
                except UnicodeDecodeError:
                    assert answer == b"1 the command is not UTF-8 text\n"
                else:
                    assert answer == b"0 " + line.rstrip(b"\r") + b"\n"
    assert ask(path, b"next\n") == b"0 next\n"
