"""Names of processes that no other has, moments that they can compare, and how they end."""

from __future__ import annotations

import itertools
import os
from typing import List, Optional, Tuple

from .clock import Clock

__all__ = ["is_failure", "is_there", "lives", "moment", "next_number", "this_process"]

_process: Optional[str] = None
_numbers = itertools.count()


def _fields(pid: int) -> List[str]:
    """Return what proc(5) says of a process after its name; nothing where nobody tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return []


def born_at(pid: int) -> str:
    """Return when a process was started, in its system's own count; "" where nobody tells."""
    return "".join(_fields(pid)[19:20])


def is_there(pid: int) -> bool:
    """Return whether a process is known not to have ended; it may be stopped."""
    return _fields(pid)[:1] not in ([], ["Z"], ["X"])


def this_process() -> str:
    """Return a name of this process that no other has; in a container the number comes again."""
    global _process
    pid = os.getpid()
    if _process is None or not _process.startswith(f"{pid}-"):  # after a fork
        _process = f"{pid}-{born_at(pid)}-{os.urandom(8).hex()}"
    return _process


def lives(holder: str) -> bool:
    """Return whether the process that a name is of is still there."""
    process = holder.partition("/")[0]
    pid, started = (process.split("-") + ["", ""])[:2]
    if process == this_process():
        return True
    return (
        pid != str(os.getpid()) and pid.isdigit() and started != "" and born_at(int(pid)) == started
    )


def next_number() -> int:
    """Return a number that comes once in this process."""
    return next(_numbers)


def moment(clock: Clock) -> Tuple[str, float]:
    """Return the boot, and seconds since some moment in it.

    The wall clock of a device may be set at any time, so it is asked only where processes
    share no monotonic clock: where the system does not name its boots, or the application
    gave a clock of its own.
    """
    if type(clock).monotonic is Clock.monotonic:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return file.read().strip(), clock.monotonic()
        except OSError:
            pass
    return "", clock.time()


def is_failure(exc: Optional[BaseException]) -> bool:
    """Return whether what ends a process is an error."""
    if isinstance(exc, SystemExit):
        return exc.code not in (None, 0)
    return exc is not None and not isinstance(exc, KeyboardInterrupt)
