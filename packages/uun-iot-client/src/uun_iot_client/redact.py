"""What is secret, and how it is kept out of texts: the one place that decides it."""

from __future__ import annotations

import json
import logging
import re
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Deque, FrozenSet, List, Optional, Pattern, Tuple
from urllib.parse import quote

from uun_iot_core.forks import watch_forks

if TYPE_CHECKING:
    import requests

__all__ = ["HIDDEN", "Redactor", "Secret"]

HIDDEN = "***"

# Secrets of forms that give them away, also where their values are not known here.
_FORMS: Tuple[Tuple[Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s'\",;]{16,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^\s/@'\"]+@"), f"://{HIDDEN}@"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), HIDDEN),
)
# Loggers of others that quote what goes over the wire: paths, and headers that they cannot parse.
_LOGGERS = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
_LONG = 8  # characters; a shorter secret is hidden as a whole word only, or texts turn to stars
_TOKENS_KEPT = 16  # old tokens live on for a while: in requests under way, at the server


class Secret(str):
    """A text that its `repr` hides, and so that of what holds it.

    Tools that report crashes, and debuggers, show local variables that way. It is no protection
    of the text itself, which can be sent, written and compared like any other.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


class _Guard(logging.Filter):
    """Hides what a redactor knows in the records of a logger of others."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = weakref.ref(redact)

    def filter(self, record: logging.LogRecord) -> bool:
        redact = self._redact()
        if redact is not None:
            text = record.getMessage()
            clean = redact(text)
            if clean != text:
                record.msg, record.args = clean, None
            if record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                if redact(trace) != trace:
                    record.exc_info, record.exc_text = None, redact(trace)
        return True


class Redactor:
    """Replaces secrets in texts: those it was told, and what has the form of one.

    Everything of the client that becomes a log line or the text of an exception, and holds
    something that was not written in this project, goes through it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lasting: FrozenSet[str] = frozenset()
        self._passing: Deque[str] = deque(maxlen=_TOKENS_KEPT)
        self._forms: Optional[Tuple[List[str], Pattern[str]]] = None
        self._guards = False
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "Redactor()"

    def learn(self, *secrets: object) -> None:
        """Take note of values that last: access codes, the client secret.

        Args:
            secrets: values; what is no string, or empty, is passed over.
        """
        new = frozenset(each for each in secrets if isinstance(each, str) and each)
        with self._lock:
            if not new <= self._lasting:
                self._lasting |= new
                self._forms = None

    def learn_token(self, *tokens: object) -> None:
        """Take note of tokens; the latest ones are remembered.

        Args:
            tokens: values; what is no string, or empty, is passed over.
        """
        with self._lock:
            for token in tokens:
                if isinstance(token, str) and token and token not in self._passing:
                    self._passing.append(token)
                    self._forms = None

    def guard_logs(self) -> None:
        """Hide the secrets in the records of the HTTP library, too, as long as this lives."""
        with self._lock:
            if self._guards:
                return
            self._guards = True
        guard = _Guard(self)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addFilter(guard)
            weakref.finalize(self, logger.removeFilter, guard)

    def _known(self) -> Tuple[List[str], Pattern[str]]:
        """Return long forms of the secrets, the longest first, and a pattern of the short ones."""
        with self._lock:
            if self._forms is None:
                forms = set()
                for secret in map(str, (*self._lasting, *self._passing)):
                    # as it is, as in a URL, as in JSON and in a repr
                    forms |= {
                        secret,
                        quote(secret, safe="", errors="replace"),
                        json.dumps(secret)[1:-1],
                        repr(secret)[1:-1],
                    }
                ordered = sorted(forms, key=len, reverse=True)
                # no pattern of the tokens: `re` would keep each for long in its cache
                long = [form for form in ordered if len(form) >= _LONG]
                short = [rf"(?<!\w){re.escape(form)}(?!\w)" for form in ordered[len(long) :]]
                self._forms = long, re.compile("|".join(short) or r"(?!)")
            return self._forms

    def __call__(self, text: object) -> str:
        """Return a text without secrets.

        Args:
            text: anything; its `str` is taken.
        """
        long, short = self._known()
        clean = str(text)
        for form in long:
            clean = clean.replace(form, HIDDEN)
        clean = short.sub(HIDDEN, clean)
        for pattern, hidden in _FORMS:
            clean = pattern.sub(hidden, clean)
        return clean

    def is_clean(self, exc: BaseException) -> bool:
        """Return whether no secret stands in the texts of an exception and of its causes."""
        seen = set()
        inner: Optional[BaseException] = exc
        while inner is not None and id(inner) not in seen:
            seen.add(id(inner))
            for text in (str(inner), repr(inner), *getattr(inner, "__notes__", ())):
                if self(text) != text:
                    return False
            inner = inner.__cause__ or inner.__context__
        return True

    def exception(self, exc: requests.RequestException) -> requests.RequestException:
        """Return the exception, or a copy with a clean text and no causes if it is not clean.

        Args:
            exc: raised by a function that the user gave.
        """
        if self.is_clean(exc):
            return exc
        cls = type(exc)
        try:
            return cls(self(exc), response=exc.response, request=exc.request)
        except TypeError:  # a class with a constructor of its own
            from requests import RequestException

            return RequestException(self(exc), response=exc.response, request=exc.request)
