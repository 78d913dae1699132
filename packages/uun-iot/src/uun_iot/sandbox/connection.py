"""One connection to the sandbox: its TLS, its requests, its end, good or bad."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace
from typing import BinaryIO, Callable, List, Optional, Tuple, cast

from .faults import Encounter, Faults
from .messages import BadRequest, HttpRequest, Reply, error_map
from .records import Records, Request
from .uuapp import GRANT, Outcome, UuApp
from .wire import Head, encode_reply, read_body, read_head

__all__ = ["Connection"]

logger = logging.getLogger("uun_iot.sandbox")

#: for how long (seconds) an ending connection takes what the client still sends
_LINGER = 1.0


class _End(Exception):
    """The connection ends here, by a fault."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


def _address_of(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""  # the client is gone already


class Connection:
    """Serves one accepted socket until either side ends it.

    Args:
        sock: the accepted socket, which this object owns from now on.
        number: of the connection, from 1.
        context: for TLS.
        uuapp: answers requests.
        faults: what goes wrong with them.
        records: takes them in.
        now: wall-clock seconds since 1970.
    """

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        context: ssl.SSLContext,
        uuapp: UuApp,
        faults: Faults,
        records: Records,
        now: Callable[[], float],
    ) -> None:
        self.number = number
        self._address = _address_of(sock)
        self._sock = sock
        self._context = context
        self._uuapp = uuapp
        self._faults = faults
        self._records = records
        self._now = now
        # Guards the descriptor: `drop` of another thread must not meet a closed, reused one.
        self._lock = threading.Lock()
        self._dropped = False
        self._closed = False

    def serve(self) -> None:
        """Do the TLS handshake and answer requests; return when the connection has ended."""
        reset = linger = False
        file: Optional[BinaryIO] = None
        try:
            if not self._start_tls():
                return
            self._records.add_handshake()
            file = cast(BinaryIO, self._sock.makefile("rb"))
            while self._exchange(file):
                pass
            linger = True
        except _End as end:
            reset, linger = end.reset, not end.reset
        except (OSError, EOFError):
            pass  # the client went away, which is its right
        finally:
            if file is not None:
                file.close()
            self._close(reset, linger)

    def drop(self) -> None:
        """End the connection at once, from any thread; `serve` then returns soon."""
        with self._lock:
            self._dropped = True
            if not self._closed:
                self._shut_down(socket.SHUT_RDWR)

    def _start_tls(self) -> bool:
        with self._lock:
            if self._dropped:
                return False
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = self._context.wrap_socket(
                self._sock, server_side=True, do_handshake_on_connect=False
            )
            self._sock = tls
        tls.do_handshake()
        return True

    # -- the end

    def _shut_down(self, how: int) -> None:
        try:
            # not SSLSocket's own method: that forgets its TLS state under a reading thread
            socket.socket.shutdown(self._sock, how)
        except OSError:
            pass  # the other side was quicker

    def _close(self, reset: bool, linger: bool) -> None:
        if linger:
            self._linger()
        with self._lock:
            self._closed = True
            if reset:
                try:
                    self._sock.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                except OSError:
                    pass  # it is gone already
            self._sock.close()

    def _linger(self) -> None:
        """Say that nothing more comes, and take what is still sent.

        Closing a socket with unread data resets the connection, and the client might lose
        the end of a reply, or see a reset where an end of file is meant.
        """
        self._shut_down(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._sock.settimeout(left)
                if not socket.socket.recv(self._sock, 65536):
                    return
        except OSError:
            return

    # -- a request and its reply

    def _exchange(self, file: BinaryIO) -> bool:
        """Serve one request; return whether the connection goes on."""
        try:
            head = read_head(file)
        except BadRequest as exc:
            self._refuse(exc)
            return False
        command = self._uuapp.command_of(head.path)
        met = self._faults.meet(command, command == GRANT)
        delivery = met.delivery.fault if met.delivery is not None else None
        if delivery is not None and delivery.aborts and not (delivery.read or delivery.processed):
            self._record(head, command, met, Outcome(Reply()), None, "", 0)
            raise _End(delivery.kind == "reset")
        try:
            body = read_body(file, head, self._sock.sendall)
        except BadRequest as exc:
            self._refuse(exc)
            return False
        request = HttpRequest(head.method, head.path, head.query, head.headers, body)
        outcome = self._outcome(request, met)
        request_id = secrets.token_hex(16)
        aborted = delivery is not None and delivery.aborts
        status = None if aborted else outcome.reply.status
        self._record(head, command, met, outcome, status, request_id, len(body))
        if met.pause is not None:
            self._faults.pause(met.pause, lambda: self._dropped)
        if delivery is not None and delivery.aborts:
            raise _End(delivery.kind == "reset")
        return self._deliver(head, outcome.reply, request_id, met)

    def _outcome(self, request: HttpRequest, met: Encounter) -> Outcome:
        """Let the application process the request, unless a fault is in the way."""
        answer = met.answer.fault if met.answer is not None else None
        delivery = met.delivery.fault if met.delivery is not None else None
        lost = delivery is not None and delivery.aborts and not delivery.processed
        if lost or (answer is not None and not answer.processed):
            outcome = Outcome(Reply(), self._uuapp.input_of(request))
        else:
            try:
                outcome = self._uuapp.handle(request)
            except Exception:
                logger.exception("the sandbox failed on %s %s", request.method, request.path)
                failed = error_map("uu-app-server/internalServerError", "The sandbox failed.")
                outcome = Outcome(Reply.json(failed, 500), self._uuapp.input_of(request))
        if answer is not None:
            outcome = replace(outcome, reply=answer.answer())
        return outcome

    def _record(
        self,
        head: Head,
        command: Optional[str],
        met: Encounter,
        outcome: Outcome,
        status: Optional[int],
        request_id: str,
        size: int,
    ) -> None:
        headers = {name: value for name, value in head.headers.items() if name != "authorization"}
        self._records.add(
            Request(
                time=self._now(),
                method=head.method,
                path=head.path,
                command=command,
                headers=headers,
                dto_in=outcome.dto_in,
                status=status,
                connection=self.number,
                processed=outcome.processed,
                request_id=request_id,
                faults=met.kinds(),
                identity=outcome.identity,
                address=self._address,
                size=size,
            )
        )

    def _deliver(self, head: Head, reply: Reply, request_id: str, met: Encounter) -> bool:
        fault = met.delivery.fault if met.delivery is not None else None
        kind = fault.kind if fault is not None else None
        keep_alive = head.keep_alive and kind != "http10"
        more: List[Tuple[str, str]] = []
        if met.answer is None or met.answer.fault.kind not in ("reply", "redirect"):
            more = [
                ("X-Request-Id", request_id),
                ("Set-Cookie", f"uu.app.bpl={self.number}; Path=/; Secure; HttpOnly"),
                ("Set-Cookie", f"uu.app.cbu={secrets.token_hex(8)}; Path=/; Secure; HttpOnly"),
            ]
        start, body = encode_reply(
            reply,
            more,
            now=self._now(),
            keep_alive=keep_alive,
            version="HTTP/1.0" if kind == "http10" else "HTTP/1.1",
        )
        if head.method == "HEAD":
            body = b""
        if kind == "half":
            self._sock.sendall(start + body[: len(body) // 2])
            raise _End
        if fault is not None and met.delivery is not None and kind == "slow":
            for at in range(0, len(start) + len(body), fault.chunk_size):
                if at:
                    self._faults.pause(met.delivery, lambda: self._dropped)
                self._sock.sendall((start + body)[at : at + fault.chunk_size])
        else:
            self._sock.sendall(start + body)
        return keep_alive and kind != "hang_up"

    def _refuse(self, problem: BadRequest) -> None:
        refused = Reply.json(error_map("uu-app-server/badRequest", f"{problem}."), 400)
        self._sock.sendall(b"".join(encode_reply(refused, [], now=self._now(), keep_alive=False)))
