"""The live connections of the sandbox, each in a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Callable, Dict, Tuple

from .connection import Connection

__all__ = ["Connections"]

logger = logging.getLogger("uun_iot.sandbox")

#: for how long (seconds) the threads of connections are waited for
_JOIN_TIMEOUT = 10.0


class Connections:
    """Serves accepted sockets, and ends all of them at once when told to.

    Args:
        make: makes the connection of a socket.
    """

    def __init__(self, make: Callable[[socket.socket], Connection]) -> None:
        self._make = make
        self._live: Dict[int, Tuple[Connection, threading.Thread]] = {}
        self._lock = threading.Lock()

    def accept(self, sock: socket.socket) -> None:
        """Serve a socket, which belongs to its connection from now on."""
        connection = self._make(sock)
        thread = threading.Thread(
            target=self._serve,
            args=(connection,),
            name=f"sandbox-{connection.number}",
            daemon=True,
        )
        with self._lock:
            self._live[connection.number] = (connection, thread)
        thread.start()

    def drop(self) -> None:
        """End all connections; their threads end soon."""
        with self._lock:
            connections = [connection for connection, _ in self._live.values()]
        for connection in connections:
            connection.drop()

    def join(self) -> None:
        """Wait for the threads of connections, but not for the one that asks."""
        deadline = time.monotonic() + _JOIN_TIMEOUT
        with self._lock:
            threads = [thread for _, thread in self._live.values()]
        for thread in threads:
            if thread is threading.current_thread():
                continue
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                logger.warning(
                    "%s still runs, %.0f s after its connection was ended",
                    thread.name,
                    _JOIN_TIMEOUT,
                )

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._live.pop(connection.number, None)
