"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
import errno
import os
from typing import NoReturn

from uun_iot_core.values import shown

from .errors import Misused

__all__ = ["Parser", "path"]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line.

        Raises:
            Misused: always.
        """
        raise Misused(f"{message}; see {self.prog} --help")


def path(text: str) -> str:
    """Return the path that an argument is.

    Raises:
        argparse.ArgumentTypeError: no file can have it.
    """
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {shown(text)}")
    try:
        os.stat(text)
    except OSError as exc:  # that there is no such file is no mistake of all commands
        if exc.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(f"{shown(text)}: {exc.strerror}") from None
    return text
