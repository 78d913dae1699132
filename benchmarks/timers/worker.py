"""The child process that measures one contender once: `… worker CONTENDER JSON`, JSON back.

It runs where the contender's library is, which need not be where ours is.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
import time
from typing import Any, Callable, Dict, List

from benchmarks.samples import quantile

from .contenders import CONTENDERS

Reply = Dict[str, Any]


def resident() -> int:
    """Return the resident memory in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Ticks:
    """Notes how late the calls of timers are.

    Args:
        count: of timers.
        period: of all of them, in seconds.
    """

    def __init__(self, count: int, period: float) -> None:
        self.period = period
        self.started = [0.0] * count
        self.calls = [0] * count
        self.late: List[float] = []
        self.noting = False

    def function(self, number: int) -> Callable[[], None]:
        """Return what a timer is to call."""

        def tick() -> None:
            now = time.monotonic()
            self.calls[number] += 1
            if self.noting:
                # after the last tick that was due, or up to 5 ms before the next
                since = (now - self.started[number] + 0.005) % self.period
                self.late.append(max(0.0, since - 0.005))

        return tick

    def quantiles(self) -> Reply:
        late = self.late or [float("nan")]
        return {
            "p50": quantile(late, 0.5) * 1e3,
            "p99": quantile(late, 0.99) * 1e3,
            "max": max(late) * 1e3,
        }


def many(name: str, count: int, spread: bool, seconds: float) -> Reply:
    """Run so many timers of 1 s and return what they cost."""
    contender = CONTENDERS[name]()
    contender.open()
    ticks = Ticks(count, 1.0)
    for number in range(count):
        contender.add(1.0, ticks.function(number))
    gc.collect()
    before, began = resident(), time.monotonic()
    started = 0.0
    for number in range(count):
        if spread:
            time.sleep(max(0.0, began + number / count - time.monotonic()))
        ticks.started[number] = now = time.monotonic()
        contender.start(number)
        started += time.monotonic() - now
    deadline = time.monotonic() + 60
    while min(ticks.calls) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    first = time.monotonic() - began
    memory = resident() - before
    time.sleep(0.5)
    threads = 0
    used, begin = cpu(), time.monotonic()
    calls = sum(ticks.calls)
    ticks.noting = True
    while time.monotonic() < begin + seconds:
        threads = max(threads, threading.active_count() - 1)
        time.sleep(0.1)
    ticks.noting = False
    spent, took = cpu() - used, time.monotonic() - begin
    calls = sum(ticks.calls) - calls
    stopping = time.monotonic()
    contender.stop()
    return {
        "start": started * 1e3,
        "first": first * 1e3,
        "stop": (time.monotonic() - stopping) * 1e3,
        "threads": threads,
        "memory": memory / 1e6,
        "cpu": spent / took * 10,
        "called": calls / (count * took),
        **ticks.quantiles(),
    }


def blocked(name: str, slow: int, fast: int, seconds: float) -> Reply:
    """Run slow handlers beside fast timers of 0.25 s, and look at the fast ones.

    A slow handler takes a third of the time of the measurement, and comes twice.
    """
    contender = CONTENDERS[name]()
    contender.open()
    ticks = Ticks(fast, 0.25)
    for number in range(fast):
        contender.add(0.25, ticks.function(number))
    for _ in range(slow):
        contender.add(seconds * 2 / 3, lambda: time.sleep(seconds / 3))
    for number in range(fast + slow):
        if number < fast:
            ticks.started[number] = time.monotonic()
        contender.start(number)
    ticks.noting = True
    begin, before = time.monotonic(), sum(ticks.calls)
    threads = 0
    while time.monotonic() < begin + seconds:
        threads = max(threads, threading.active_count() - 1)
        time.sleep(0.1)
    ticks.noting = False
    called = (sum(ticks.calls) - before) / (fast * (time.monotonic() - begin) / 0.25)
    contender.stop()
    return {"threads": threads, "called": called, **ticks.quantiles()}


def main() -> None:
    name, what = sys.argv[1], json.loads(sys.argv[2])
    measurement: Callable[..., Reply] = {"many": many, "blocked": blocked}[what.pop("do")]
    print(json.dumps(measurement(name, **what)), flush=True)


if __name__ == "__main__":
    main()
