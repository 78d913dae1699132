"""Waiting across process borders, where there is no event to wait for."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout: float = 10.0, interval: float = 0.02) -> T:
    """Poll until the predicate is true, and return its value; its last one at the deadline.

    >>> assert eventually(lambda: 1 + 1 == 2, timeout=1)

    Args:
        predicate: called without arguments.
        timeout: seconds.
        interval: seconds between two calls.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(interval)
