"""A TLS server below HTTP, for what no uuApp would do: it does what a function says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Type

from tests.support.sandbox import Sandbox

#: what is done with a connection, after its TLS handshake, until the event is set
Script = Callable[[ssl.SSLSocket, threading.Event], object]


class WireServer:
    """Serves each connection with a function, in a thread of its own; a context manager.

    It shows the sandbox's certificate, so that who trusts the one trusts the other.

    Args:
        uuapp: the sandbox, which goes on granting tokens.
        script: see `Script`.
        tls: whether there is a handshake at all; without, the script gets the bare socket.
    """

    def __init__(self, uuapp: Sandbox, script: Script, *, tls: bool = True) -> None:
        self._uuapp = uuapp
        self._context = uuapp._certificates.context() if tls else None
        self._script = script
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._threads: List[threading.Thread] = []
        self.connections = 0
        self.gateway = f"localhost:{self._listening.getsockname()[1]}"
        uuapp.uuapp.gateways.add(self.gateway)

    def configuration(self, token_path: str) -> Dict[str, Any]:
        """Return a configuration whose uuApp is this server, and whose tokens are the sandbox's."""
        config = self._uuapp.configuration(token_path=token_path)
        config["uuApp"]["gateway"] = self.gateway
        return config

    def __enter__(self) -> WireServer:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), thread

    def _start(self, target: Callable[..., object], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock)

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                self._script(sock, self._ending)
        with contextlib.suppress(OSError):
            sock.close()


def read_request(sock: Any) -> bytes:
    """Read a request whole, and return it.

    Raises:
        EOFError: the client went away.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < (lengths[0] if lengths else 0):
        body += _some(sock)
    return head + b"\r\n\r\n" + body


def _some(sock: Any) -> bytes:
    found: bytes = sock.recv(65536)
    if not found:
        raise EOFError
    return found
