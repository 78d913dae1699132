"""The file that keeps what is known of an update on trial; see `rollback`."""

from __future__ import annotations

import json
import os
from typing import Any, Dict

from .files import atomic_write
from .logs import get_logger

__all__ = ["FILE_MODE", "read", "remove", "write", "write_quietly"]

logger = get_logger(__name__)

#: a configuration holds access codes, and so does its copy
FILE_MODE = 0o600
#: what reading a file that holds anything may raise
_DAMAGE = (
    *(OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
    RecursionError,
)


def read(path: str) -> Dict[str, Any]:
    """Return what the file holds; nothing where it is missing or damaged.

    Args:
        path: the file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        if not isinstance(known, dict):
            raise ValueError("no object")
        trial = known.get("trial")
        if trial is not None:
            # whatever else is in the file, it must not keep the gateway from starting
            known["trial"] = {
                "configs": {str(one): str(reply) for one, reply in trial["configs"].items()},
                "boot": str(trial["boot"]),
                "since": float(trial["since"]),
                "ends": [str(reply) for reply in trial["ends"]],
                "last_end": [str(trial["last_end"][0]), float(trial["last_end"][1])],
                "process": None if trial["process"] is None else str(trial["process"]),
            }
        return known
    except FileNotFoundError:
        return {}
    except _DAMAGE:
        logger.warning("%s cannot be read; it counts for nothing", path)
        return {}


def write(path: str, known: Dict[str, Any]) -> None:
    """Replace the file; where there is nothing to keep, remove it.

    Args:
        path: the file.
        known: what it is to hold.

    Raises:
        OSError: the file is as it was.
    """
    if any(known.values()):
        atomic_write(path, json.dumps(known, indent=1) + "\n", FILE_MODE)
    else:
        remove(path)


def write_quietly(path: str, known: Dict[str, Any]) -> None:
    """Do as `write` does, and only log where it fails."""
    try:
        write(path, known)
    except OSError as exc:
        logger.warning("%s cannot be written: %s", path, exc.strerror)


def remove(path: str) -> None:
    """Remove a file, if it is there and can be."""
    try:
        os.unlink(path)
    except OSError:
        pass
