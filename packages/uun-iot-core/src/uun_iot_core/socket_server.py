"""`SocketServer`: answers commands, one line each, on a UNIX socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import struct
import threading
import time
from typing import Callable, Iterator, List, Optional, Tuple

from .exceptions import json_type
from .logs import get_logger
from .process import is_there

__all__ = ["MOST_BYTES", "MOST_CLIENTS", "SILENCE", "SocketServer", "path_problem"]

logger = get_logger(__name__)

#: bytes of a line at most, without its end
MOST_BYTES = 64 * 1024
#: clients that are served side by side at most
MOST_CLIENTS = 64
#: seconds after which a client that says nothing, or takes nothing, is dropped
SILENCE = 1.0
#: seconds that a client may take for its line, and for taking the answer, at most
_LONGEST_LINE, _LONGEST_ANSWER = 5.0, 30.0
#: seconds that a client waits for its turn at most before it is told that there are too many
_ROOM = 0.25
#: connections that the system keeps until it is their turn; one client too many would be
#: turned away by it, or, without a time-out of its own, wait
_BACKLOG = 1024
#: seconds that a start waits at most for another's in the directory of the socket
_LONGEST_TURN = 4 * SILENCE
#: the process, its user and its group
_CREDENTIALS = struct.Struct("3i")
#: bytes of the path at most: see unix(7), and one less for macOS
_MOST_OF_PATH = 103


def path_problem(path: object) -> Optional[str]:
    """Return why a socket cannot have this path, or None if it can."""
    if not isinstance(path, str) or not path:
        return f"expected the path of a socket, got {json_type(path)}"
    if "\0" in path:
        return "expected the path of a socket, got a string with a NUL character"
    try:
        length = len(os.fsencode(os.path.abspath(path)))
    except UnicodeEncodeError:
        return "expected the path of a socket, got characters that file names cannot have here"
    if length > _MOST_OF_PATH:
        return f"expected a path of at most {_MOST_OF_PATH} bytes, this one has {length}"
    return None


def _peer(connected: socket.socket) -> Optional[int]:
    """Return which process began to listen on a socket, where the system tells: see unix(7)."""
    try:
        told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):  # another system, or it is not connected
        return None
    pid: int = _CREDENTIALS.unpack(told)[0]
    return pid or None  # 0 of a process in another container


@contextlib.contextmanager
def _turn(directory: str) -> Iterator[None]:
    """Let nobody else remove and make sockets in a directory meanwhile, where it can be locked."""
    import fcntl  # not on Windows

    try:
        fd = os.open(directory, os.O_RDONLY)
    except OSError:  # it may not be read, but written
        yield
        return
    try:
        end = time.monotonic() + _LONGEST_TURN
        while time.monotonic() < end:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # a file system without locks
                break
            else:
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child may have it open
        os.close(fd)


class _Client:
    """One connection and the thread that serves it.

    Args:
        connection: to it.
        room: held by who looks for a client to drop.
    """

    def __init__(self, connection: socket.socket, room: threading.Condition) -> None:
        self.connection = connection
        self._room = room
        self.expendable = True  # its line is not complete, or it has had its answer
        self.hurried = False  # somebody waits for its end
        self.thread: Optional[threading.Thread] = None

    def is_idle(self) -> bool:
        """Return whether it may be dropped: there is nothing to be had from it."""
        if not self.expendable:
            return False
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return not poll.poll(0)

    def line(self) -> bytes:
        """Read to the end of the line.

        Raises:
            ValueError: there is none, or the line is too long.
            OSError: the client says nothing, or is gone.
        """
        line, end = b"", time.monotonic() + _LONGEST_LINE
        while b"\n" not in line:
            if len(line) > MOST_BYTES:
                break
            self._wait_for_more(end)
            with self._room:  # what it has said is in the socket, or it is not expendable
                received = self.connection.recv(MOST_BYTES)
                line += received
                self.expendable = b"\n" not in received
            if not received:
                raise ValueError("the command does not end with a newline")
        line, newline, _ = line.partition(b"\n")
        if len(line) > MOST_BYTES or not newline:
            raise ValueError(f"the command is longer than {MOST_BYTES} bytes")
        return line.rstrip(b"\r")  # of clients that end lines as on a network

    def answer(self, text: str) -> None:
        """Send the answer, and let the client take it before the connection is closed.

        Raises:
            OSError: the client takes nothing, or is gone.
        """
        left = memoryview(f"{text}\n".encode("utf-8", "backslashreplace"))
        began = time.monotonic()
        while left:
            self._wait_until(began + (_LONGEST_LINE if self.hurried else _LONGEST_ANSWER))
            left = left[self.connection.send(left) :]
        self.connection.shutdown(socket.SHUT_WR)
        self.expendable = True
        # what is closed with something unread loses its answer: see ECONNRESET in unix(7)
        end = time.monotonic() + _LONGEST_LINE
        while self._receive(end):
            pass

    def _wait_for_more(self, end: float) -> None:
        self._wait_until(end)
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if not poll.poll(1000 * min(SILENCE, max(0.0, end - time.monotonic()))):
            raise TimeoutError("the client says nothing")

    def _receive(self, end: float) -> bytes:
        self._wait_until(end)
        return self.connection.recv(MOST_BYTES)

    def _wait_until(self, end: float) -> None:
        """Let the next call wait for the client, but not for longer than that moment."""
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client takes too long")
        self.connection.settimeout(min(SILENCE, left))

    def hang_up(self) -> None:
        """End the conversation; the thread that serves it notices, and closes it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Say that there is no room, without waiting for the client."""
        with contextlib.suppress(OSError), self.connection:
            self.connection.setblocking(False)
            self.connection.send(b"1 too many clients, try again\n")
            # nothing comes in any more, and nothing stays unread: see `answer`
            self.connection.shutdown(socket.SHUT_RDWR)
            while self.connection.recv(MOST_BYTES):
                pass


class SocketServer:
    """Listens on a UNIX socket; reads one line from each client, answers, closes.

    Clients are served side by side, each in a thread of its own. Where there are too many,
    those that say nothing make room for others.

    Args:
        path: of the socket.
        respond: returns the answer to a line; called side by side, and raises nothing.
    """

    def __init__(self, path: str, respond: Callable[[str], str]) -> None:
        self.path = os.path.abspath(path)
        self._respond = respond
        self._clients: List[_Client] = []  # the oldest first
        self._room = threading.Condition()
        self._cancelled = threading.Event()
        self._listener: Optional[socket.socket] = None
        self._wake: Tuple[socket.socket, ...] = ()
        self._thread: Optional[threading.Thread] = None
        self._process = 0
        self._file: Tuple[int, int] = (0, 0)

    def start(self) -> None:
        """Listen; clients may connect when this returns.

        Raises:
            OSError: the socket cannot be made, or another process answers on it.
            RuntimeError: there is no thread to be had.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("command sockets need POSIX")
        self._cancelled.clear()
        with _turn(os.path.dirname(self.path)):
            self._remove_stale()
            self._listen()

    def _listen(self) -> None:
        self._process, self._wake = os.getpid(), socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(self.path)
            self._file = self._identity()
            os.chmod(self.path, 0o600)  # before it listens nobody can connect
            self._listener.listen(_BACKLOG)
            self._listener.setblocking(False)
            self._thread = threading.Thread(target=self._accept, name="uun_iot socket", daemon=True)
            self._thread.start()
        except BaseException:
            self._thread = None
            self.stop()
            raise

    def _remove_stale(self) -> None:
        """Remove the socket of a process that is gone."""
        try:
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise FileExistsError(0, "there is something else than a socket")
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # A forked child of a dead gateway may still hold its socket, so what counts is an
            # answer; a gateway gives one to the empty command at once, unless it is stopped.
            probe.settimeout(2 * SILENCE)
            try:
                probe.connect(self.path)
                probe.sendall(b"\n")
                probe.recv(1)
            except BlockingIOError:  # so many wait for it already that no more may
                raise FileExistsError(
                    0, "a process listens there and answers nobody; end it first"
                ) from None
            except (ConnectionError, FileNotFoundError, TimeoutError, socket.timeout):
                listener = _peer(probe)
                if listener is not None and is_there(listener):
                    raise FileExistsError(
                        0, f"process {listener} listens there and does not answer; end it first"
                    ) from None
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
                return
        raise FileExistsError(0, "another process answers there")

    def _identity(self) -> Tuple[int, int]:
        found = os.lstat(self.path)
        return found.st_dev, found.st_ino

    def _accept(self) -> None:
        listener, wake = self._listener, self._wake[0]
        assert listener is not None
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(wake, select.POLLIN)
        said = False
        while not self._cancelled.is_set():
            poll.poll()
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as exc:  # too many open files, say
                if not said and not self._cancelled.is_set():
                    logger.warning("%s: a client cannot be served: %s", self.path, exc.strerror)
                    said = True
                self._cancelled.wait(SILENCE)
                continue
            said = False
            self._take(_Client(connection, self._room))

    def _take(self, client: _Client) -> None:
        with self._room:
            if len(self._clients) >= MOST_CLIENTS and not self._make_room():
                client.refuse()
                return
            client.thread = threading.Thread(
                target=self._serve, args=(client,), name="uun_iot command", daemon=False
            )
            try:
                client.thread.start()
            except RuntimeError:  # no thread to be had
                client.refuse()
            else:
                self._clients.append(client)

    def _make_room(self) -> bool:
        """Drop a client that has nothing to say, if there is one; wait until one has ended."""
        idle = next((one for one in self._clients if one.is_idle()), None)
        if idle is not None:
            idle.expendable = False
            idle.hang_up()
        return self._room.wait_for(lambda: len(self._clients) < MOST_CLIENTS, _ROOM)

    def _serve(self, client: _Client) -> None:
        try:
            try:
                line = client.line().decode("utf-8")
            except UnicodeDecodeError:
                answer = "1 the command is not UTF-8 text"
            except ValueError as exc:
                answer = f"1 {exc}"
            else:
                answer = self._respond(line)
            client.expendable = False
            client.answer(answer)
        except OSError as exc:
            logger.debug("%s: a client is dropped: %s", self.path, exc)
        finally:
            with self._room:
                self._clients.remove(client)
                self._room.notify()
            client.hang_up()  # a forked child may have a copy of it, which closing leaves open
            client.connection.close()

    def _in_fork(self) -> bool:
        """Return whether this is a forked child; locks and clients are its parent's."""
        return self._process != os.getpid()

    def cancel(self) -> None:
        """Take no more clients, and drop those whose line is not complete."""
        if self._in_fork():
            return
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._cancelled.set()
        self._wake[1].send(b"\0")
        with contextlib.suppress(OSError):
            if self._identity() == self._file:  # not what another process has put there
                os.unlink(self.path)
        if self._thread is not None:
            self._thread.join()
        for one in (listener, *self._wake):
            one.close()
        with self._room:
            for client in self._clients:
                client.hurried = True
                if client.expendable:
                    client.hang_up()

    def stop(self) -> None:
        """Return when all clients have their answers; one's own thread is not waited for."""
        self.cancel()
        if self._in_fork():
            return
        with self._room:
            threads = [client.thread for client in self._clients]
        for thread in threads:
            if thread is not None and thread is not threading.current_thread():
                thread.join()
