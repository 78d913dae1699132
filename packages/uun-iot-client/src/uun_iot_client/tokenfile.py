"""The token file: a grant's reply, kept on the disk for the next start."""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, Mapping, Optional

from uun_iot_core.files import atomic_write
from uun_iot_core.logs import get_logger

__all__ = ["AHEAD_KEY", "BINDING_KEY", "file_state", "read_token_file", "write_token_file"]

logger = get_logger(__name__)

#: What a token is good for, as a hash. Files of older programs do not have it.
BINDING_KEY = "uunIotBinding"
#: How many seconds the server's clock was ahead of the device's when the file was written.
AHEAD_KEY = "uunIotServerAhead"

_LIMIT = 1 << 20  # bytes; a token file has about two thousand
_MODE = 0o600


def _make_private(path: str) -> None:
    """Take the rights of others from a file that an older program left readable to all."""
    if os.name != "posix":
        return
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        os.chmod(path, mode & 0o700)


def _read(path: str) -> bytes:
    # not blocking, since a named pipe would wait for its writer forever
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("it is not a regular file")
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise OSError("it is too big for a token file")
    return content


def file_state(path: str) -> object:
    """Return what differs once the file was written, by whatever process.

    Args:
        path: the file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_token_file(path: str) -> Optional[Dict[str, Any]]:
    """Return what a token file holds, or None, with a warning where it cannot be used.

    Args:
        path: the file.
    """
    try:
        content = _read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        logger.warning("token file %s cannot be read (%s): a new token is obtained", path, exc)
        return None
    try:
        _make_private(path)
    except OSError as exc:
        logger.warning("token file %s is readable to others and stays so: %s", path, exc)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        logger.warning(
            "token file %s is damaged (%d bytes, no JSON object): a new token is obtained",
            path,
            len(content),
        )
        return None
    return found


def write_token_file(path: str, content: Mapping[str, Any]) -> None:
    """Replace a token file; a failure is logged: the token in memory serves as well.

    Args:
        path: the file; its directory is made if it is missing.
        content: the grant's reply, with ``expires_at``.
    """
    try:
        os.makedirs(os.path.dirname(os.path.realpath(path)), exist_ok=True)
        if os.path.exists(path):
            if not os.path.isfile(path):
                # replacing a device such as /dev/null would harm the whole machine
                raise OSError("it is not a regular file")
            _make_private(path)
        atomic_write(path, json.dumps(content), mode=_MODE)
    except (OSError, ValueError, TypeError, RecursionError) as exc:
        logger.warning("token file %s cannot be written (%s): the token is not saved", path, exc)
