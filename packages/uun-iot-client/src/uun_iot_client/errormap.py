"""Entries of a ``uuAppErrorMap``: what a uuApp says of a command that failed, or nearly did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Tuple

__all__ = ["ErrorEntry", "parse_error_map"]

_DEPTH = 8  # causes of causes; more than that is a mistake of the server


@dataclass(frozen=True)
class ErrorEntry:
    """One entry; nothing in it is trusted to have the right shape.

    `repr` leaves out what may repeat the input of the command.

    Attributes:
        code: the error code, without the white space that some services put around it; what
            is secret in it, or would forge log lines, is replaced.
        type: ``error`` or ``warning``; of the two, only ``error`` is a failure.
        message: a sentence for people, empty if there is none.
        id: of this occurrence, empty if there is none.
        timestamp: as the server wrote it, empty if there is none.
        param_map: for example ``invalidValueKeyMap``, ``missingKeyMap`` and
            ``unsupportedKeyList``.
        cause: the entries that led to this one.
    """

    code: str
    type: str
    message: str = field(default="", repr=False)
    id: str = ""
    timestamp: str = ""
    param_map: Dict[str, Any] = field(default_factory=dict, repr=False)
    cause: Tuple[ErrorEntry, ...] = field(default=(), repr=False)

    @property
    def is_error(self) -> bool:
        """Whether it says that the command failed."""
        return self.type == "error"


def parse_error_map(body: Any, clean: Callable[[str], str] = str.strip) -> Tuple[ErrorEntry, ...]:
    """Return the entries in the ``uuAppErrorMap`` of a reply, in its order.

    Args:
        body: the parsed reply; anything that has no such map has no entries.
        clean: makes codes, ids and timestamps fit for log lines.
    """
    entries = body.get("uuAppErrorMap") if isinstance(body, dict) else None
    return tuple(_entries(entries, clean, _DEPTH))


def _entries(found: Any, clean: Callable[[str], str], depth: int) -> Iterator[ErrorEntry]:
    if not isinstance(found, dict) or not depth:
        return
    for code, value in found.items():
        entry = value if isinstance(value, dict) else {}
        param_map = entry.get("paramMap")
        yield ErrorEntry(
            code=clean(str(code)),
            type="error" if entry.get("type") == "error" else "warning",
            message=_text(entry, "message"),
            id=clean(_text(entry, "id")),
            timestamp=clean(_text(entry, "timestamp")),
            param_map=param_map if isinstance(param_map, dict) else {},
            cause=tuple(_causes(entry.get("cause"), clean, depth - 1)),
        )


def _causes(cause: Any, clean: Callable[[str], str], depth: int) -> Iterator[ErrorEntry]:
    if isinstance(cause, dict) and isinstance(cause.get("uuAppErrorMap"), dict):
        cause = cause["uuAppErrorMap"]
    causes: List[Any] = cause if isinstance(cause, list) else [cause]
    for each in causes:
        yield from _entries(each, clean, depth)


def _text(entry: Dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
