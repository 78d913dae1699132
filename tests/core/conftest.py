"""Fixtures of the core's tests."""

from __future__ import annotations

import threading
from typing import Iterator, List

import pytest

from tests.core.helpers import library_threads
from tests.support.wait import eventually


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever a test does, the library's threads end with it, and nobody else's are added."""
    before = set(threading.enumerate())
    yield

    def left() -> List[threading.Thread]:  # not those of other tests, which may linger
        return [thread for thread in library_threads() if thread not in before]

    assert eventually(lambda: not left(), timeout=5), left()
    others = set(threading.enumerate()) - before
    assert eventually(lambda: not any(one.is_alive() for one in others), timeout=5), others
