"""What a secret may have leaked into: log lines of every logger, and all that an error shows."""

from __future__ import annotations

import contextlib
import logging
import traceback
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional

LOGGERS = ("uun_iot", "urllib3", "requests", "requests_toolbelt")
TESTS = Path(__file__).resolve().parents[1]


class Everything(logging.Handler):
    """Keeps every log line of every logger, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + repr(record.args))


@contextlib.contextmanager
def everything_logged() -> Iterator[Everything]:
    """Set every logger to DEBUG within the block, and keep what they log."""
    handler = Everything()
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in LOGGERS)]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def texts_of(exc: BaseException) -> List[str]:
    """Return every text that an exception and its causes show."""
    found = traceback.format_exception(type(exc), exc, exc.__traceback__)
    inner: Any = exc
    while inner is not None:  # also causes that a traceback does not show
        found += [str(inner), repr(inner), repr(inner.args)]
        found += [repr(getattr(inner, name, None)) for name in ("entries", "codes", "error_map")]
        inner = inner.__cause__ or inner.__context__
    return found


def locals_of(exc: BaseException) -> List[str]:
    """Return what tools that report crashes show beside: the local variables, as `repr`.

    Those of the tests are left out: they hold the configuration. Data of the callers' is there.
    """
    found: List[str] = []
    inner: Optional[BaseException] = exc
    while inner is not None:
        trace = traceback.TracebackException.from_exception(inner, capture_locals=True)
        found += [
            f"{frame.name}: {name} = {value}"
            for frame in trace.stack
            if not Path(frame.filename).is_relative_to(TESTS)
            for name, value in (frame.locals or {}).items()
        ]
        inner = inner.__cause__ or inner.__context__
    return found


def found_in(texts: Iterable[str], secrets: Iterable[str]) -> List[str]:
    """Return the texts that hold a secret."""
    secrets = list(secrets)
    return [text for text in texts if any(secret in text for secret in secrets)]
