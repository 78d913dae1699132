"""Reading a configuration that update handlers may change at the same moment."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Mapping, Tuple, TypeVar

from .config import canonical, problems

__all__ = ["content_of", "not_savable", "pretty", "same", "settled"]

T = TypeVar("T")


def settled(function: Callable[[], T]) -> T:
    """Call again where an update handler changes the configuration at that very moment."""
    for _ in range(20):
        try:
            return function()
        except RuntimeError:  # "dictionary changed size during iteration"
            time.sleep(0.01)  # nobody tells when a handler of the application is done
    return function()


def same(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON."""
    try:
        return canonical(one) == canonical(other)
    except (TypeError, ValueError):  # an update handler left what is no JSON
        return False


def not_savable(config: Mapping[str, Any]) -> str:
    """Return why a configuration cannot be saved; "" where it can."""
    try:
        canonical(config)
    except (TypeError, ValueError) as exc:
        return f"no JSON: {type(exc).__name__}"
    return "; ".join(problems(config))


def pretty(config: Mapping[str, Any]) -> str:
    """Return a configuration as the text of its file."""
    return json.dumps(config, indent=4) + "\n"


def content_of(path: str, config: str) -> Tuple[bytes, bool]:
    """Return what a file holds, and whether that is a configuration; nothing where it is gone.

    Args:
        path: the file.
        config: the configuration, as canonical JSON.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return b"", False
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
        parsed.setdefault("gateway", {})
        return content, canonical(parsed) == config
    except (ValueError, AttributeError, RecursionError):
        return content, False
