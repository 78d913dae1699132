"""Connections that know the call which uses them, and pools that do not trust old ones."""

from __future__ import annotations

import contextlib
import queue
import socket
import time
from collections import deque
from functools import lru_cache
from typing import Any, Deque, List, Optional, Type

from .calls import Call, Progress, current_call
from .resolver import is_address

__all__ = ["IDLE_LIMIT", "tracked"]

#: Seconds after which an idle connection is not used again. Servers and balancers close theirs
#: after 60 to 75, and mobile networks forget some without a word: a request sent at that very
#: moment would be lost.
IDLE_LIMIT = 50.0


class _Kept:
    """The idle connections of a pool, the last one put in first.

    In place of the queue that urllib3 has for them: its lock would stay locked for ever where a
    signal handler raises at a bad moment. Here each change is one step of a deque.

    Args:
        maxsize: how many there may be.
    """

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self._connections: Deque[Any] = deque()

    def get(self, block: bool = False, timeout: Optional[float] = None) -> Any:
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:
        if len(self._connections) >= self.maxsize:
            raise queue.Full
        self._connections.append(connection)

    def qsize(self) -> int:
        return len(self._connections)


# Seconds that each of several addresses of a host gets at least, as long as there are any: where
# the first is out of reach, as those of IPv6 often are, the next must have its turn.
_LEAST_SHARE = 3.0


@lru_cache(maxsize=None)
def tracked(pool_class: Type[Any]) -> Type[Any]:
    """Return a class of connection pools of urllib3, with connections that know their call.

    Args:
        pool_class: the class it derives from, that of a proxy perhaps.
    """
    from urllib3.connection import HTTPConnection
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    connection_class: Any = pool_class.ConnectionCls
    # a SOCKS proxy resolves names itself, perhaps ones that only it knows
    resolves = connection_class._new_conn is HTTPConnection._new_conn

    class TrackedConnection(connection_class):  # type: ignore[misc]  # a class given at run time
        """A connection that the call using it can be ended by."""

        call: Optional[Call] = None
        #: whether it has carried a request already
        used = False
        #: since when it waits in the pool, in seconds of the client's clock
        idle_since = 0.0
        _handle: Optional[socket.socket] = None
        # of the class above, which gives them no types that are known here
        _dns_host: Any
        timeout: Any

        def _new_conn(self) -> Any:
            if self.call is not None:  # once more in one call
                self.call.release(self)
            sock = self._connected()
            try:
                # A descriptor of its own, which nobody else closes: that of `sock` passes to
                # the TLS layer before its handshake, and lives as long as a reply is read.
                self._handle = socket.socket(
                    sock.family, sock.type, sock.proto, socket.dup(sock.fileno())
                )
                self._take()
            except BaseException:
                sock.close()
                raise
            self.used = False
            return sock

        def _connected(self) -> Any:
            call = current_call()
            host: str = self._dns_host
            timeout: Any = self.timeout
            if call is None or not resolves or is_address(host.strip("[]")):
                return super()._new_conn()
            try:
                host.encode("idna")
            except UnicodeError:
                return super()._new_conn()  # which has an error for it
            ends = time.monotonic() + timeout
            try:
                addresses = call.resolver.addresses(host, timeout)
            except TimeoutError as exc:
                raise ConnectTimeoutError(self, f"{host} was not found in time") from exc
            except socket.gaierror as exc:
                raise NameResolutionError(host, self, exc) from exc
            except OSError as exc:
                raise NewConnectionError(self, f"{host} was not found") from exc
            try:
                sock = self._first_of(addresses, ends)
            finally:
                self._dns_host, self.timeout = host, timeout
            sock.settimeout(timeout)  # that of the handshake
            return sock

        def _first_of(self, addresses: List[str], ends: float) -> Any:
            for number, address in enumerate(addresses, 1):
                left = max(ends - time.monotonic(), 0.001)
                is_last = number == len(addresses)
                share = max(left / (len(addresses) - number + 1), _LEAST_SHARE)
                self._dns_host, self.timeout = address, min(left, share)
                try:
                    return super()._new_conn()
                except (ConnectTimeoutError, NewConnectionError):
                    if is_last or time.monotonic() >= ends:
                        raise
            raise NewConnectionError(self, "the host has no address")

        def request(self, *args: Any, **kwargs: Any) -> Any:
            call = self._take()
            if call is None:
                return super().request(*args, **kwargs)
            call.reused, self.used = self.used, True
            call.progress = Progress.BEGUN
            if self.sock is not None:
                # else that of connecting would hold for the parts of a body, too
                self.sock.settimeout(call.send_timeout)
            result = super().request(*args, **kwargs)
            call.progress = Progress.SENT
            return result

        def getresponse(self) -> Any:
            response = super().getresponse()
            if self.call is not None:
                self.call.progress = Progress.ANSWERED
            return response

        def _take(self) -> Optional[Call]:
            call = current_call()
            if call is not None:
                call.take(self)
            return call

        def close(self) -> None:
            super().close()
            if self.call is None:  # else the reply may still be read: the call's end closes it
                self.close_handle()

        def close_handle(self) -> None:
            handle, self._handle = self._handle, None
            if handle is not None:
                handle.close()

        def shut_down(self) -> None:
            if self._handle is not None:
                with contextlib.suppress(OSError):  # the server has closed it
                    self._handle.shutdown(socket.SHUT_RDWR)

    class TrackedPool(pool_class):  # type: ignore[misc]  # a class given at run time
        """A pool whose idle connections are of no call."""

        ConnectionCls = TrackedConnection
        QueueCls = _Kept

        def _get_conn(self, timeout: Optional[float] = None) -> Any:
            conn = super()._get_conn(timeout)
            if getattr(conn, "used", False) and conn.sock is not None:
                call = current_call()
                if call is not None and (
                    call.fresh or call.clock.monotonic() - conn.idle_since > IDLE_LIMIT
                ):
                    conn.close()  # it is opened again when it is used
            return conn

        def _put_conn(self, conn: Any) -> None:
            call = getattr(conn, "call", None)
            if call is not None:
                conn.idle_since = call.clock.monotonic()
                call.release(conn)  # before another call can take it
            super()._put_conn(conn)

    return TrackedPool
