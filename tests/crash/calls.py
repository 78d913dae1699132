"""Putting something between our code and the system's calls."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Tuple

__all__ = ["replaced"]


@contextmanager
def replaced(wrappers: Dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Put wrappers in the place of functions of `os` for the time of the block.

    Also where a module of ours has taken the function from `os` when it was imported.

    Args:
        wrappers: name in `os` -> what to call instead; names that the system lacks are left out.
    """
    modules = [os, *(m for name, m in list(sys.modules.items()) if name.startswith("uun_iot"))]
    before: List[Tuple[Any, str, Any]] = []
    for name, wrapper in wrappers.items():
        real = getattr(os, name, None)
        if real is None:
            continue
        for module in modules:
            for attribute, value in list(vars(module).items()):
                if value is real:
                    before.append((module, attribute, value))
                    setattr(module, attribute, wrapper)
    try:
        yield
    finally:
        for module, attribute, value in reversed(before):
            setattr(module, attribute, value)
