"""Requests under way, each with its connections, and their end by force in a stop.

The time-outs of sockets bound each part of a reply, not the whole: one that trickles in would
keep a stop waiting for hours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from functools import lru_cache
from typing import Any, Iterator, Optional, Set, Type

from uun_iot_core.events.base import EventType, current_event

__all__ = ["Call", "Calls", "tracked"]

# Seconds. The time-outs of requests end at the same moment and tell more: they come first.
_SLACK = 0.25

_here = threading.local()


class Call:
    """One request under way, with the redirects that it follows.

    Attributes:
        in_stop_handler: whether a stop handler makes it.
        ended: whether it was ended by force; what it read may look complete all the same.
        connections: those that it uses, perhaps one for each redirect.
        process: the process that makes it.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.in_stop_handler = current_event() is EventType.STOP
        self.ended = False
        self.connections: Set[Any] = set()
        self.process = os.getpid()

    def take(self, connection: Any) -> None:
        """Note that the call uses a connection from now on.

        Raises:
            ConnectionAbortedError: it is too late for that.
        """
        with self._calls.lock:
            connection.call = self
            self.connections.add(connection)
            if self._calls.is_over(self):
                self.ended = True
                raise ConnectionAbortedError(errno.ECONNABORTED, "the gateway stops")

    def release(self, connection: Any) -> None:
        """Note that the call uses a connection no longer."""
        with self._calls.lock:
            self._release(connection)

    def release_all(self) -> None:
        """Note that the call has ended."""
        with self._calls.lock:
            for connection in list(self.connections):
                self._release(connection)

    def _release(self, connection: Any) -> None:
        self.connections.discard(connection)
        connection.call = None
        if connection.sock is None:
            connection.close_handle()

    def end(self) -> None:
        """End it by force; the caller holds the lock. Its thread gets an error at once."""
        for connection in self.connections:
            self.ended = True
            connection.shut_down()


class Calls:
    """The calls of one transport that are under way.

    Attributes:
        lock: held where a call takes or releases a connection, for no time.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._under_way: Set[Call] = set()
        self._handlers_over = False
        self._all_over = False
        self._stopped = threading.Event()
        self._watchdog: Optional[threading.Thread] = None

    @contextlib.contextmanager
    def under_way(self) -> Iterator[Call]:
        """Make connections that this thread uses within the block those of a new call."""
        call, outer = Call(self), getattr(_here, "call", None)
        with self.lock:
            self._under_way.add(call)
        _here.call = call
        try:
            yield call
        finally:
            _here.call = outer
            call.release_all()
            with self.lock:
                self._under_way.discard(call)

    def is_over(self, call: Call) -> bool:
        """Return whether the time for such a call has passed."""
        return self._all_over or (self._handlers_over and call.in_stop_handler)

    def end_later(self, handlers_after: float, others_after: float) -> None:
        """End calls by force after some time, unless `go_on` is called before.

        Args:
            handlers_after: when those of stop handlers are ended, seconds from now.
            others_after: how much later all others are ended, seconds.
        """
        self.go_on()
        self._stopped = threading.Event()
        self._watchdog = threading.Thread(
            target=self._watch,
            args=(self._stopped, handlers_after + _SLACK, others_after),
            name="uun_iot end of requests",
            daemon=True,
        )
        self._watchdog.start()

    def go_on(self) -> None:
        """End no more calls."""
        self._stopped.set()
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None and watchdog.ident is not None:
            watchdog.join()
        with self.lock:
            self._handlers_over = self._all_over = False

    def _watch(self, stopped: threading.Event, handlers_after: float, others_after: float) -> None:
        if stopped.wait(handlers_after):
            return
        with self.lock:
            self._handlers_over = True
            self._end()
        if stopped.wait(others_after):
            return
        with self.lock:
            self._all_over = True
            self._end()

    def _end(self) -> None:
        for call in self._under_way:
            # a forked child shares the sockets of its parent's calls, which go on
            if self.is_over(call) and call.process == os.getpid():
                call.end()


@lru_cache(maxsize=None)
def tracked(pool_class: Type[Any]) -> Type[Any]:
    """Return a class of connection pools of urllib3, with connections that know their call.

    Args:
        pool_class: the class it derives from, that of a proxy perhaps.
    """
    connection_class: Any = pool_class.ConnectionCls

    class TrackedConnection(connection_class):  # type: ignore[misc]  # a class given at run time
        """A connection that the call using it can be ended by."""

        call: Optional[Call] = None
        _handle: Optional[socket.socket] = None

        def _new_conn(self) -> Any:
            if self.call is not None:  # once more in one call
                self.call.release(self)
            sock = super()._new_conn()
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
            return sock

        def request(self, *args: Any, **kwargs: Any) -> Any:
            self._take()
            return super().request(*args, **kwargs)

        def _take(self) -> None:
            call = getattr(_here, "call", None)
            if call is not None:
                call.take(self)

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

        def _put_conn(self, conn: Any) -> None:
            call = getattr(conn, "call", None)
            if call is not None:
                call.release(conn)  # before another call can take it
            super()._put_conn(conn)

    return TrackedPool
