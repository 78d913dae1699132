"""Logging of a process that runs a gateway: to a terminal, a file, or the journal of systemd."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Mapping

__all__ = ["LEVELS", "add_log", "configure", "is_journal"]

LEVELS = ("debug", "info", "warning", "error")


def add_log(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option that says how much is logged.

    Args:
        parser: of a command.
        default: one of `LEVELS`.
    """
    parser.add_argument(
        "--log",
        metavar="LEVEL",
        type=str.lower,
        choices=LEVELS,
        default=default,
        help=f"log what is of this level or above: {', '.join(LEVELS)}; {default} by default",
    )


def is_journal(environ: Mapping[str, str] = os.environ, descriptor: int = 2) -> bool:
    """Return whether a descriptor leads to the journal of systemd.

    See ``systemd.exec(5)``: ``JOURNAL_STREAM`` holds device and inode of that stream. A
    process started from one in the journal inherits the variable, not the stream.

    Args:
        environ: where the variable is looked up.
        descriptor: standard error by default.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:  # it is closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def configure(level: str, systemd: bool = False) -> None:
    """Log to standard error, in the form of whoever reads it.

    Args:
        level: one of `LEVELS`.
        systemd: put the severity before each line, as systemd wants it, also where standard
            error is not its journal.
    """
    from uun_iot.utils import LoggingSystemdHandler

    handler: logging.Handler
    if systemd or is_journal():
        handler = LoggingSystemdHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))  # the journal has the time
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        )
    number = getattr(logging, level.upper())
    logging.basicConfig(level=number, handlers=[handler], force=True)
    # it says of each request what the library says of it, at DEBUG
    logging.getLogger("urllib3").setLevel(max(number, logging.INFO))
