"""Ways to call functions again and again, each behind the same few methods."""

from __future__ import annotations

import heapq
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Type

Function = Callable[[], Any]


class Contender:
    """Calls functions at periods from their starts on.

    Attributes:
        label: what the tables call it.
        requirement: what pip installs for it; None where nothing is needed.
        most: timers that it can start at most; None where there is no such limit.
    """

    label = ""
    requirement: Optional[str] = None
    most: Optional[int] = None

    def open(self) -> None:
        """Get ready; not measured."""

    def add(self, period: float, function: Function) -> None:
        """Prepare a timer."""
        raise NotImplementedError

    def start(self, number: int) -> None:
        """Start the timer that was added as the number-th."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop all timers; return when no call runs."""
        raise NotImplementedError


class Ours(Contender):
    label = "uun-iot-core"

    def open(self) -> None:
        from uun_iot_core import RepeatTimer

        self._make: Any = RepeatTimer
        self._timers: List[Any] = []

    def add(self, period: float, function: Function) -> None:
        self._timers.append(self._make(period, function))

    def start(self, number: int) -> None:
        self._timers[number].start()

    def stop(self) -> None:
        for timer in self._timers:
            timer.stop()


class Published(Ours):
    """A thread a timer, on the wall clock."""

    label = "uun-iot 0.12.14"
    requirement = "uun-iot==0.12.14"
    most = 1_000  # 5 000 did not start together within two minutes

    def open(self) -> None:
        from uun_iot.utils import RepeatTimer

        self._make = RepeatTimer
        self._timers = []


class APScheduler(Contender):
    label = "APScheduler, 10 threads"
    requirement = "apscheduler==3.11.0"
    threads = 10

    def open(self) -> None:
        import logging

        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it warns of each miss
        self._functions: List[Any] = []
        self._scheduler: Any = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(self.threads)},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
            timezone="UTC",
        )
        self._scheduler.start()

    def add(self, period: float, function: Function) -> None:
        self._functions.append((period, function))

    def start(self, number: int) -> None:
        from datetime import datetime, timezone

        period, function = self._functions[number]
        self._scheduler.add_job(
            function, "interval", seconds=period, next_run_time=datetime.now(timezone.utc)
        )

    def stop(self) -> None:
        self._scheduler.shutdown()


class APScheduler100(APScheduler):
    label = "APScheduler, 100 threads"
    threads = 100


class Asyncio(Contender):
    """`call_at` in a loop with a thread of its own; a handler that blocks holds up all."""

    label = "asyncio call_at"

    def open(self) -> None:
        import asyncio

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._functions: List[Any] = []
        self._handles: Dict[int, Any] = {}

    def add(self, period: float, function: Function) -> None:
        self._functions.append((period, function))

    def start(self, number: int) -> None:
        self._loop.call_soon_threadsafe(self._call, number, self._loop.time())

    def _call(self, number: int, due: float) -> None:
        period, function = self._functions[number]
        self._handles[number] = self._loop.call_at(due + period, self._call, number, due + period)
        function()

    def stop(self) -> None:
        def end() -> None:
            for handle in self._handles.values():
                handle.cancel()
            self._loop.stop()

        self._loop.call_soon_threadsafe(end)
        self._thread.join()
        self._loop.close()


class HeapLoop(Contender):
    """The least that a thread with a heap can do: no locks, no stop of one, no slow handlers."""

    label = "bare heap loop"

    def open(self) -> None:
        self._functions: List[Any] = []
        self._heap: List[Any] = []
        self._added: List[Any] = []
        self._wake = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def add(self, period: float, function: Function) -> None:
        self._functions.append((period, function))

    def start(self, number: int) -> None:
        self._added.append((time.monotonic(), number))
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        heap = self._heap
        while not self._ended:
            while self._added:
                heapq.heappush(heap, self._added.pop())
            now = time.monotonic()
            while heap and heap[0][0] <= now:
                due, number = heap[0]
                period, function = self._functions[number]
                heapq.heapreplace(heap, (due + period, number))
                function()
                now = time.monotonic()
            with self._wake:
                if not self._added and not self._ended:
                    self._wake.wait(heap[0][0] - now if heap else None)

    def stop(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join()


CONTENDERS: Dict[str, Type[Contender]] = {
    one.__name__: one for one in (HeapLoop, Ours, Published, APScheduler, APScheduler100, Asyncio)
}
