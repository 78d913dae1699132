"""`Polls`: which polls of a failing server are skipped."""

from __future__ import annotations

__all__ = ["Polls"]

#: seconds between two attempts at most, unless the polls themselves are rarer
LONGEST_PAUSE = 3600.0


class Polls:
    """Skips polls in growing runs while the server fails: 1, 3, 7, …, at most an hour."""

    def __init__(self) -> None:
        self._failures = 0
        self._skips = 0

    def skip(self, period: float) -> bool:
        """Return whether the poll that is due is to be skipped, and count it.

        Args:
            period: seconds between two polls; an update may have changed it.
        """
        self._skips = min(self._skips, _most(period))
        if self._skips == 0:
            return False
        self._skips -= 1
        return True

    def failed(self, period: float) -> None:
        """Note a failure, after which more polls are skipped than after the one before.

        Args:
            period: seconds between two polls.
        """
        self._failures = min(self._failures + 1, 64)
        self._skips = min(2**self._failures - 1, _most(period))

    def succeeded(self) -> None:
        """Note that the server answers; no poll is skipped."""
        self._failures = self._skips = 0


def _most(period: float) -> int:
    """Return how many polls may be skipped in a row."""
    # bounded, since a period may be so short that their number is beyond any integer
    return max(0, int(min(LONGEST_PAUSE / period, 1e12)) - 1)
