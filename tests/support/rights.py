"""The rights of an ordinary user, also where root runs the tests."""

from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, TypeVar

import pytest

T = TypeVar("T")

_VERSION_3 = 0x20080522  # of the structures of capget(2)
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def with_ordinary_rights(function: Callable[[], T]) -> T:
    """Call a function, and return what it does, where the rights of files count.

    For root that is in a thread which has given up the right to override them. Processes that
    the function starts have it again.
    """
    if os.geteuid() != 0:
        return function()
    if sys.platform != "linux":
        pytest.skip("root may read and write everything, and gives that up only on Linux")
    with ThreadPoolExecutor(1, initializer=_give_up) as executor:
        return executor.submit(function).result()


def _give_up() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    for call in libc.capget, libc.capset:
        if call(ctypes.byref(header), sets) != 0:
            raise OSError(ctypes.get_errno(), "capabilities cannot be changed")
        sets[0].effective &= ~_OVERRIDES
        sets[0].permitted &= ~_OVERRIDES
        sets[0].inheritable &= ~_OVERRIDES
