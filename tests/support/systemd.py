"""A listener in the place of systemd."""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import Dict, List


class Systemd:
    """The socket on which systemd would listen, read by a thread since its queue is short.

    Args:
        address: a path, or ``@`` and a name.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._kernel_address = "\0" + address[1:] if address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._kernel_address)
        self._messages: "queue.Queue[str]" = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            text = self._socket.recv(65536).decode()
            if text == "close":
                return
            self._messages.put(text)

    def _send(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), self._kernel_address)

    def next(self, timeout: float = 10.0) -> Dict[str, str]:
        """Wait for a message and return its fields; `queue.Empty` where none comes in time."""
        text = self._messages.get(timeout=timeout)
        return dict(line.split("=", 1) for line in text.split("\n"))

    def wait_for(self, field: str, timeout: float = 10.0) -> Dict[str, str]:
        """Wait for a message that has a field."""
        end = time.monotonic() + timeout
        while True:
            message = self.next(max(end - time.monotonic(), 0.001))
            if field in message:
                return message

    def said(self) -> List[Dict[str, str]]:
        """Return the messages that have been sent and were not looked at."""
        self._send("SO_FAR=1")  # behind them
        found: List[Dict[str, str]] = []
        while True:
            message = self.next()
            if "SO_FAR" in message:
                return found
            found.append(message)

    def close(self) -> None:
        self._send("close")
        self._reader.join()
        self._socket.close()
