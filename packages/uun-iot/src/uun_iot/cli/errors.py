"""What a command ends with where it cannot do what it was asked for."""

from __future__ import annotations

__all__ = ["Failed", "Misused"]


class Failed(Exception):
    """What was asked for was tried, or begun, and failed; its text is one line."""

    status = 1


class Misused(Failed):
    """The command line or the configuration is wrong: nothing was begun."""

    status = 2
