"""The begin of JSON data, without secrets; it costs the same however much there is."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple

from uun_iot_client.redact import HIDDEN, Redactor

from .multipart import UploadedFile

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["Excerpt", "Excerpts"]

_SECRET = re.compile(r"(?i)access_?code|password|secret|token|api_?key|authorization|cookie")
#: tokens that are known by themselves, beside those that their form gives away
_TOKENS = 100
#: characters that are read beyond what is shown: no part of a secret is left at the end
_BEYOND = 2000
#: levels that are shown; Python reads deeper ones than it writes
_DEEPEST = 60
#: strings of this length at most come again and again, as keys do
_SHORT = 100


class Excerpt(NamedTuple):
    """What is shown of a value.

    Args:
        value: JSON data in which no secret is seen.
        cut: whether there was more.
    """

    value: Any
    cut: bool


class Excerpts:
    """Makes excerpts of what arrived at a sandbox.

    Args:
        sandbox: whose secrets and tokens are hidden.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._tokens = sandbox.tokens
        self._redact = Redactor()
        for gateway in sandbox.uuapp.identity.gateways:
            self._redact.learn(*gateway.secrets)
        # with many gateways there are many secrets to look for; tokens are in no text before
        # they are issued
        self._short = functools.lru_cache(4096)(self._hide)

    def text(self, text: str) -> str:
        """Return a text without secrets, the whole."""
        return self._short(text) if len(text) <= _SHORT else self._hide(text)

    def of(self, value: Any, most: int) -> Excerpt:
        """Return the begin of JSON data.

        Args:
            value: JSON data, with `UploadedFile` in it.
            most: characters, about.
        """
        taking = _Taking(self, most)
        taken = taking.take(value, "", 0)
        return Excerpt(taken, taking.cut)

    def _hide(self, text: str) -> str:
        for token in self._tokens.latest(_TOKENS):
            text = text.replace(token, HIDDEN)
        return self._redact(text)


class _Taking:
    """One walk through a value, which ends when enough was taken."""

    def __init__(self, excerpts: Excerpts, most: int) -> None:
        self._excerpts = excerpts
        self._left = most
        self.cut = False

    def take(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, str):
            return self._string(value, key)
        if isinstance(value, UploadedFile):
            value = {"file": value.as_json()}
        if isinstance(value, (dict, list, tuple)):
            if depth >= _DEEPEST and value:
                self.cut = True
                return "…"
            return self._members(value, key, depth + 1)
        self._left -= 4
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
            return str(value)  # Python reads such from JSON, browsers do not
        return value

    def _members(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, dict):
            found: Dict[str, Any] = {}
            for name, one in value.items():
                if self._enough():
                    break
                shown = self._string(str(name), "")
                found[shown] = self.take(one, str(name), depth)
            return found
        taken: List[Any] = []
        for one in value:
            if self._enough():
                break
            taken.append(self.take(one, key, depth))
        return taken

    def _enough(self) -> bool:
        if self._left <= 0:
            self.cut = True
        return self._left <= 0

    def _string(self, text: str, key: str) -> str:
        if text and _SECRET.search(key):
            text = HIDDEN
        elif len(text) > max(self._left, 0) + _BEYOND:
            text = self._excerpts.text(text[: max(self._left, 0) + _BEYOND])[:-_BEYOND]
            self._left = 0
            self.cut = True
        else:
            text = self._excerpts.text(text)
        self._left -= len(text) + 4
        return text
