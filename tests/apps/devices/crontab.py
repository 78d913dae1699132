"""In place of the library of this name: no job is in the table, which a test must not change."""

from __future__ import annotations

from typing import Any, List


class CronSlices:
    @staticmethod
    def is_valid(text: str) -> bool:
        return True


class CronTab:
    lines: List[Any] = []

    def __init__(self, user: bool) -> None: ...

    def remove_all(self, comment: str) -> None: ...

    def __enter__(self) -> CronTab:
        return self

    def __exit__(self, *exc: object) -> None: ...
