"""Forked children: there, locks may be held by threads that are no more."""

from __future__ import annotations

import os
import weakref
from typing import Any, Callable, List

__all__ = ["in_children", "watch_forks"]

_functions: List[Callable[[], None]] = []
# by identity: objects of the application may be equal to each other, and have no hash
_objects: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


def in_children(function: Callable[[], None]) -> None:
    """Have a function called in each child that is forked from now on.

    Args:
        function: what to call; once in each child, however often it was given.
    """
    if function not in _functions and hasattr(os, "register_at_fork"):
        _functions.append(function)
        os.register_at_fork(after_in_child=function)


def watch_forks(each: Any) -> None:
    """Have an object start anew in forked children, by its method ``after_fork()``.

    Args:
        each: the object; it is not kept alive.
    """
    _objects[id(each)] = each
    in_children(_start_anew)


def _start_anew() -> None:
    for each in list(_objects.values()):
        each.after_fork()
