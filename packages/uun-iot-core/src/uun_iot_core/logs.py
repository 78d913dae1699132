"""Logging: the library's logger names and the systemd handler."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Dict, Optional

__all__ = ["LoggingSystemdHandler", "get_logger"]


def get_logger(module_name: str) -> logging.Logger:
    """Return the logger of a module of the library.

    Every logger of every distribution lives below ``uun_iot``, since applications
    configure logging on that one name.

    Args:
        module_name: the module's ``__name__``; ``uun_iot_core.gateway`` logs as
            ``uun_iot.core.gateway``.
    """
    return logging.getLogger(module_name.replace("uun_iot_", "uun_iot.", 1))


class LoggingSystemdHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time on 3.9 and 3.10
    """Stream handler that puts the severity prefix of systemd before each line.

    systemd reads ``<n>`` at the start of a line as the syslog priority of that line
    (see ``sd-daemon(3)``), so each line of a multi-line record gets a prefix of its own.
    A level between two known ones takes the prefix of the lower.

    Args:
        stream: where to write; standard error if ``None``.
    """

    PREFIX: ClassVar[Dict[int, str]] = {
        logging.NOTSET: "<7>",
        logging.DEBUG: "<7>",
        logging.INFO: "<6>",
        logging.WARNING: "<4>",
        logging.ERROR: "<3>",
        logging.CRITICAL: "<2>",
    }

    def __init__(self, stream: Optional[Any] = None) -> None:
        super().__init__(stream)

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record with the prefix before each of its lines."""
        level = max((known for known in self.PREFIX if known <= record.levelno), default=0)
        prefix = self.PREFIX[level]
        return "\n".join(prefix + line for line in super().format(record).split("\n"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, each line with its severity, to the stream."""
        super().emit(record)
