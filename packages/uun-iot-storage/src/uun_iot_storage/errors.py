"""Errors of the storage.

::

    UunIotError              (core)
     └── StorageError        the backup file cannot be opened or written

What is wrong with an entry itself is a `TypeError` or a `ValueError`, as `json.dumps` has
it; what is wrong with the configuration is core's `ConfigError`.
"""

from __future__ import annotations

import errno
import json
from typing import Optional

from uun_iot_core.exceptions import UunIotError

__all__ = ["StorageError", "reason_of", "remedy_for"]

_REMEDIES = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space, or raise the user's quota",
    errno.EFBIG: "limit the storage, or raise the allowed size of files",
    errno.EROFS: "mount the file system for writing, or configure another path",
    errno.EACCES: "give the user of this process the right to write in the directory",
    errno.EPERM: "give the user of this process the right to write in the directory",
    errno.ENOTDIR: "configure a path in a directory",
}


class StorageError(UunIotError):
    """The backup file of a storage cannot be opened or written.

    What was to be saved is still in memory and goes to the file with the next backup that
    succeeds. The system's error, where there is one, is the ``__cause__``.

    Args:
        path: the backup file.
        problem: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"backup file {self.path}: {self.problem}; {self.remedy}"


def reason_of(exc: Optional[BaseException]) -> str:
    """Say what went wrong, without the content of the file (which errors may quote)."""
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    if isinstance(exc, json.JSONDecodeError):
        return f"no JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}"
    if isinstance(exc, UnicodeDecodeError):
        return f"not UTF-8 at byte {exc.start}"
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return str(exc)


def remedy_for(exc: OSError) -> str:
    """Say what to do about an error of the system."""
    return _REMEDIES.get(exc.errno or 0, "check the disk and the path")
