"""What the sandbox needs beyond the library, and what to do where it is not there."""

from __future__ import annotations

import importlib.util
from typing import Optional, Tuple

__all__ = ["REMEDY", "missing_extra"]

#: what a user types
REMEDY = 'pip install "uun-iot[sandbox]"'

_SANDBOX = ("cryptography", "trustme")
_CONSOLE = ("starlette", "uvicorn")


def missing_extra(console: bool = True) -> Optional[str]:
    """Return a line on what is not installed and how to install it; None if all is there.

    Args:
        console: whether the web console is wanted, too.
    """
    wanted: Tuple[str, ...] = _SANDBOX + (_CONSOLE if console else ())
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"the sandbox needs {', '.join(missing)}; install it with: {REMEDY}"
