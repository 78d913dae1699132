"""Requests under way, each with its connections, and their end by force.

The time-outs of sockets bound each part of a reply, not the whole: one that trickles in would
outlive every deadline, and keep a stopping gateway waiting for hours. So one thread, there
only while it may be needed, shuts down the connections of calls whose time has passed.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import math
import os
import threading
import time
from typing import Any, Iterator, List, Optional, Set

from uun_iot_core.clock import Clock
from uun_iot_core.events.base import EventType
from uun_iot_core.events.calling import current_event

from .resolver import Resolver
from .threads import start

__all__ = ["Call", "Calls", "Ended", "Progress", "current_call"]

# Seconds. The time-outs of sockets end at the same moment and tell more: they come first.
_SLACK = 0.25
# Seconds that the thread outlives the last call: most calls end long before their deadlines.
_LINGER = 2.0

_here = threading.local()


class Progress(enum.IntEnum):
    """How far a request has come."""

    NOT_BEGUN = 0
    BEGUN = 1
    SENT = 2
    ANSWERED = 3


class Ended(enum.Enum):
    """Why a call was ended by force."""

    STOP = "the gateway stops"
    DEADLINE = "its deadline has passed"


def current_call() -> Optional[Call]:
    """Return the call that this thread makes, None if it makes none."""
    call: Optional[Call] = getattr(_here, "call", None)
    return call


class Call:
    """One request under way, with the redirects that it follows.

    Args:
        calls: those that it is one of.
        ends: when it is ended by force, seconds of the system's monotonic clock.
        fresh: whether it must not use a connection that was used before.
        send_timeout: seconds that each part of the body may take.

    Attributes:
        in_stop_handler: whether a stop handler makes it.
        ended: why it was ended by force; what it read may look complete all the same.
        connections: those that it uses, perhaps one for each redirect.
        process: the process that makes it.
        progress: how far it has come, on its latest connection.
        reused: whether that connection had carried another request before.
    """

    def __init__(self, calls: Calls, ends: float, fresh: bool, send_timeout: float) -> None:
        self._calls = calls
        self.clock = calls.clock
        self.resolver = calls.resolver
        self.ends = ends
        self.fresh = fresh
        self.send_timeout = send_timeout
        self.in_stop_handler = current_event() is EventType.STOP
        self.ended: Optional[Ended] = None
        self.connections: Set[Any] = set()
        self.process = os.getpid()
        self.progress = Progress.NOT_BEGUN
        self.reused = False

    @property
    def was_stale(self) -> bool:
        """Whether a kept connection carried it, and nothing was answered."""
        return self.reused and self.progress < Progress.ANSWERED and self.ended is None

    @property
    def may_have_arrived(self) -> bool:
        """Whether the server may have received the whole request."""
        return self.progress >= Progress.SENT

    def take(self, connection: Any) -> None:
        """Note that the call uses a connection from now on.

        Raises:
            ConnectionAbortedError: it is too late for that.
        """
        with self._calls.lock:
            connection.call = self
            self.connections.add(connection)
            self.ended = self.ended or self._calls.over(self)
            if self.ended:
                raise ConnectionAbortedError(errno.ECONNABORTED, self.ended.value)

    def release(self, connection: Any) -> None:
        """Note that the call uses a connection no longer."""
        with self._calls.lock:
            self._release(connection)

    def release_all(self) -> None:
        """Note that the call has ended; the caller holds the lock."""
        for connection in list(self.connections):
            self._release(connection)

    def _release(self, connection: Any) -> None:
        self.connections.discard(connection)
        connection.call = None
        if connection.sock is None:
            connection.close_handle()

    def end(self, why: Ended) -> None:
        """End it by force; the caller holds the lock. Its thread gets an error at once."""
        self.ended = why
        for connection in list(self.connections):
            connection.shut_down()


class Calls:
    """The calls of one transport that are under way.

    Attributes:
        lock: held where a call takes or releases a connection, for no time.

    Args:
        clock: measures for how long connections are idle.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.resolver = Resolver()
        # reentrant, since the garbage collector may close a reply while this thread holds it
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._under_way: Set[Call] = set()
        self._handlers_end = self._all_end = math.inf
        self._watcher: Optional[threading.Thread] = None
        self._wakes = math.inf
        self._rests = False

    def after_fork(self) -> None:
        """Begin anew in a forked child: the calls of other threads are not there."""
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._under_way = set()
        self._watcher, self._wakes, self._rests = None, math.inf, False

    @contextlib.contextmanager
    def under_way(
        self, seconds: float, *, fresh: bool = False, send_timeout: float = 30.0
    ) -> Iterator[Call]:
        """Make connections that this thread uses within the block those of a new call.

        Args:
            seconds: after which the call is ended by force.
            fresh: whether it must not use a connection that was used before.
            send_timeout: seconds that each part of the body may take.
        """
        call = Call(self, time.monotonic() + seconds + _SLACK, fresh, send_timeout)
        outer = current_call()
        try:
            with self.lock:
                self._under_way.add(call)
                self._rests = False
                self._watch_from(self._ends(call))
            _here.call = call
            yield call
        finally:
            _here.call = outer
            with self.lock:
                call.release_all()
                self._under_way.discard(call)

    def over(self, call: Call) -> Optional[Ended]:
        """Return why the time for a call has passed, None if it has not."""
        now = time.monotonic()
        if now >= self._stop_ends(call):
            return Ended.STOP
        return Ended.DEADLINE if now >= call.ends else None

    def _stop_ends(self, call: Call) -> float:
        return min(self._all_end, self._handlers_end if call.in_stop_handler else math.inf)

    def _ends(self, call: Call) -> float:
        return min(call.ends, self._stop_ends(call))

    def end_later(self, handlers_after: float, others_after: float) -> None:
        """End calls by force after some time, unless `go_on` is called before.

        Args:
            handlers_after: when those of stop handlers are ended, seconds from now.
            others_after: how much later all others are ended, seconds.
        """
        with self.lock:
            self._handlers_end = time.monotonic() + handlers_after + _SLACK
            self._all_end = self._handlers_end + others_after
            self._watch_from(min(map(self._ends, self._under_way), default=math.inf))

    def go_on(self) -> None:
        """End no more calls, but those whose deadlines pass."""
        with self.lock:
            self._handlers_end = self._all_end = math.inf

    def rest(self) -> None:
        """Let the watching thread end now if no call is under way; the next call starts another."""
        with self.lock:
            self._rests = True
            self._changed.notify_all()

    def _watch_from(self, moment: float) -> None:
        """Make sure that the watching thread looks at that moment; the caller holds the lock."""
        if moment == math.inf:
            return
        if self._watcher is None or not self._watcher.is_alive():
            self._wakes = moment
            self._watcher = threading.Thread(
                target=self._watch, name="uun_iot end of requests", daemon=True
            )
            # without it (no thread can be started) there are still the time-outs of sockets
            with contextlib.suppress(RuntimeError):
                start(self._watcher)
        elif moment < self._wakes:
            self._changed.notify_all()

    def _watch(self) -> None:
        lingers = False
        with self.lock:
            while True:
                self._wakes = min(map(self._ends, self._end_those_over()), default=math.inf)
                if self._wakes == math.inf:
                    if lingers or self._rests:
                        self._watcher = None
                        return
                    self._wakes = time.monotonic() + _LINGER
                    lingers = True
                else:
                    lingers = False
                self._changed.wait(max(0.0, self._wakes - time.monotonic()))

    def _end_those_over(self) -> List[Call]:
        """End the calls whose time has passed, and return the others."""
        others = []
        for call in list(self._under_way):
            # a forked child shares the sockets of its parent's calls, which go on
            if call.ended is None and call.process == os.getpid():
                why = self.over(call)
                if why is None:
                    others.append(call)
                else:
                    call.end(why)
        return others
