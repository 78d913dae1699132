"""Forked children: there, locks may be held by threads that are no more."""

from __future__ import annotations

import os
import weakref
from typing import Any

__all__ = ["watch_forks"]

_objects: weakref.WeakSet[Any] = weakref.WeakSet()
_forks_watched = False


def watch_forks(each: Any) -> None:
    """Have an object start anew in forked children, by its method ``after_fork()``.

    Args:
        each: the object; it is not kept alive.
    """
    global _forks_watched
    _objects.add(each)
    if not _forks_watched and hasattr(os, "register_at_fork"):
        _forks_watched = True
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for each in list(_objects):
        each.after_fork()
