"""`NoTrial`: stands for a `Trial` where the configuration has no file."""

from __future__ import annotations

from typing import Optional

__all__ = ["NoTrial"]


class NoTrial:
    """Knows that there is nothing to go back to; such a configuration is never updated."""

    rolled_back = False

    def started(self) -> None:
        """Note that the gateway has started."""

    def ended(self, clean: bool) -> None:
        """Note that the gateway has stopped."""

    def unstarted(self) -> None:
        """Note that a gateway that was never started is let go."""

    def failed(self) -> None:
        """Note that the gateway could not be made."""

    def was_accepted(self, reply: str) -> bool:
        """Return whether a reply is the one that the file is of."""
        return False

    def rejects(self, reply: str) -> bool:
        """Return whether a reply led to a roll-back."""
        return False

    def take(self, text: str, reply: str, before: str) -> None:
        """Put a new configuration on trial."""

    def withdraw(self) -> None:
        """Forget an update that could not be put in place."""

    def saved_again(self, text: str, reply: Optional[str]) -> None:
        """Note that the configuration was changed again."""
