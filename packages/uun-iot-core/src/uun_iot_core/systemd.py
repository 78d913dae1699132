"""`Notifier`: tells systemd how the process fares, by the protocol of `sd_notify(3)`.

One datagram a message, lines of ``NAME=value``, to the UNIX socket that the environment
variable ``NOTIFY_SOCKET`` names. Without it nothing is sent.
"""

from __future__ import annotations

import os
import time
from typing import Mapping, Optional

from .logs import get_logger

__all__ = ["Notifier", "watchdog_seconds"]

logger = get_logger(__name__)

#: seconds that systemd gets to make room for a message
SEND_SECONDS = 2.0


class Notifier:
    """Sends messages to systemd, or whoever listens in its place.

    Args:
        environ: where ``NOTIFY_SOCKET`` is looked up, at each message.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._works = True

    def ready(self, status: str) -> None:
        """Tell that the gateway has started, or has taken a new configuration."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """Tell that a new configuration is being taken; `ready` ends it."""
        # the system's own clock, whatever the gateway was given: systemd compares the two
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the process is about to end; systemd kills one that does not."""
        self._send("STOPPING=1", _status("stopping"))

    def status(self, status: str) -> None:
        """Tell what `systemctl status` is to show."""
        self._send(_status(status))

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        name = self._environ.get("NOTIFY_SOCKET")
        if not name:
            return
        try:
            import socket  # here, since few need it and it takes a while

            if name[0] not in "@/":
                raise OSError(0, "only paths and abstract names (@…) are supported")
            address = "\0" + name[1:] if name[0] == "@" else name
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_SECONDS)
                sender.sendto("\n".join(lines).encode(), os.fsencode(address))
            self._works = True
        except (OSError, ValueError, AttributeError) as exc:  # the last one: no UNIX sockets
            if self._works:  # said once, since the watchdog would say it for ever
                logger.warning(
                    "systemd cannot be told %s by NOTIFY_SOCKET: %s",
                    lines[0],
                    getattr(exc, "strerror", None) or exc,
                )
            self._works = False


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())  # a line break would begin another field


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> Optional[float]:
    """Return after how many seconds of silence systemd ends the process; None if never.

    See ``sd_watchdog_enabled(3)``: ``WATCHDOG_USEC`` holds them in microseconds, and
    ``WATCHDOG_PID`` for which process, which is not one that it has started.

    Args:
        environ: the environment variables.
    """
    text = environ.get("WATCHDOG_USEC")
    if not text or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    # 2⁶⁴ - 1 is the most that systemd itself counts to
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) > 0):
        logger.warning("WATCHDOG_USEC is no number of microseconds over 0; no watchdog is fed")
        return None
    return int(text) / 1e6
