"""A lean TLS server in a process of its own, so that the clients' work is what is seen."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
import threading
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from uun_iot.sandbox.certificates import Certificates

#: as long as a JWT is; nobody looks into it
TOKEN = "t" * 900


def _reply(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: 1234567890abcdef\r\n"
        b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


GRANTED = _reply(json.dumps({"id_token": TOKEN, "expires_in": 86400}).encode())
DONE = _reply(b'{"id": "1234567890", "uuAppErrorMap": {}}')


class Handler(StreamRequestHandler):
    """Answers requests without thinking until the client goes away."""

    disable_nagle_algorithm = True

    def setup(self) -> None:
        # here, in the connection's own thread: a handshake must not keep others waiting
        self.request = self.server.context.wrap_socket(self.request, server_side=True)  # type: ignore[attr-defined]  # of `Server`
        super().setup()

    def handle(self) -> None:
        while True:
            first = self.rfile.readline()
            length = 0
            line = first
            while line not in (b"\r\n", b""):
                line = self.rfile.readline()
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            if not line:
                return
            self.rfile.read(length)
            self.wfile.write(GRANTED if b"grantToken" in first else DONE)


class Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients go away as they like."""


def main(ca_file: str) -> None:
    """Serve until standard input ends; print the port first."""
    certificates = Certificates()
    certificates.write_ca(Path(ca_file))
    with Server(certificates.context()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
