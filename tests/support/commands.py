"""Talking to a gateway's command socket as its clients do."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Optional, Type


class CommandClient:
    """One connection to a command socket; a context manager that closes it.

    Args:
        path: of the socket.
        timeout: seconds that it waits for the server.
    """

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except BaseException:
            self.socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Send; a server that has heard enough is no error."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self) -> bytes:
        """Return all that comes until the server closes."""
        received = b""
        while True:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return received
            if not part:
                return received
            received += part

    def __enter__(self) -> CommandClient:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.socket.close()


def ask(path: str, data: bytes, timeout: float = 10.0) -> bytes:
    """Send what one client says, and return what it is answered."""
    with CommandClient(path, timeout) as client:
        client.send(data)
        return client.answer()
