"""The listening socket of the sandbox: accepting, refusing, coming back on the same port."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Callable, Optional

__all__ = ["Listener"]


class Listener:
    """Accepts connections on one TCP port of this machine, in a thread of its own.

    While it refuses, the port stays bound but does not listen: the system refuses
    connections, and no other process can take the port meanwhile.

    Args:
        host: the address.
        port: the port; 0 for any free one.
        on_connection: called with each accepted socket, which it must look after.
    """

    def __init__(
        self, host: str, port: int, on_connection: Callable[[socket.socket], object]
    ) -> None:
        self._on_connection = on_connection
        self._socket = self._bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self._wake: Optional[socket.socket] = None
        self._thread: Optional[threading.Thread] = None
        try:
            self.accept()
        except BaseException:
            self._socket.close()
            raise

    @property
    def accepting(self) -> bool:
        """Whether it accepts connections (or refuses them)."""
        return self._thread is not None

    def accept(self) -> None:
        """Accept connections (again)."""
        if self._thread is not None:
            return
        self._socket.listen(128)
        self._wake, woken = socket.socketpair()
        self._thread = threading.Thread(
            target=self._run, args=(self._socket, woken), name="sandbox-listener", daemon=True
        )
        self._thread.start()

    def refuse(self) -> None:
        """Accept no more connections; those waiting to be accepted are reset."""
        if self._stop_accepting():
            self._socket.close()
            self._socket = self._bind(self.host, self.port)

    def close(self) -> None:
        """Let go of the port, for good."""
        self._stop_accepting()
        self._socket.close()

    def _stop_accepting(self) -> bool:
        if self._thread is None or self._wake is None:
            return False
        self._wake.close()
        self._thread.join()
        self._thread = self._wake = None
        return True

    @staticmethod
    def _bind(host: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # connections that have just ended still hold the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
        except OSError as exc:
            sock.close()
            raise OSError(
                exc.errno, f"the sandbox cannot use port {port} of {host}: {exc.strerror}"
            ) from None
        return sock

    def _run(self, listening: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            listening.setblocking(False)
            selector.register(listening, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                if any(key.fileobj is woken for key, _ in selector.select()):
                    return
                try:
                    sock, _ = listening.accept()
                except OSError:
                    continue  # the client gave up before it was accepted
                sock.setblocking(True)
                self._on_connection(sock)
