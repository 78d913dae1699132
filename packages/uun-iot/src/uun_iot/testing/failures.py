"""What handlers raised in a test: a gateway logs it and goes on, a test must not."""

from __future__ import annotations

import logging
from typing import Dict, List, NamedTuple, Tuple

__all__ = ["Failure", "Failures"]

#: below it, the library logs with its stack trace what it keeps from ending the gateway
_LOGGER = "uun_iot.core"
#: how many are named in a report
_NAMED = 3


class Failure(NamedTuple):
    """Something that the code of an application raised, and a gateway went on after.

    Args:
        text: what failed, as it was logged: the event, the module, the function.
        exception: the first that it raised.
        times: how often it raised one of that class.
    """

    text: str
    exception: BaseException
    times: int


class Failures(logging.Handler):
    """Collects what is raised; a day of ticks that fail alike is one `Failure`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: Dict[Tuple[str, type], Failure] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note an exception that is logged; called with the handler's lock held."""
        exception = record.exc_info[1] if record.exc_info else None
        if exception is None:
            return
        text = record.getMessage()
        key = text, type(exception)
        before = self._found.get(key, Failure(text, exception, 0))
        self._found[key] = before._replace(times=before.times + 1)

    def listen(self) -> None:
        """Begin to collect."""
        logging.getLogger(_LOGGER).addHandler(self)

    def close(self) -> None:
        """Collect no more."""
        logging.getLogger(_LOGGER).removeHandler(self)
        super().close()

    def take(self) -> List[Failure]:
        """Return what was collected, in order, and forget it."""
        self.acquire()
        try:
            found, self._found = self._found, {}
        finally:
            self.release()
        return list(found.values())

    def check(self) -> None:
        """Fail if something was collected that nobody took.

        Raises:
            AssertionError: caused by the first exception; or nothing can be collected.
        """
        __tracebackhide__ = True
        found = self.take()
        if not found:
            _check_logging()
            return
        lines = [
            f"{one.text}{f', {one.times} times' if one.times > 1 else ''}: "
            f"{type(one.exception).__name__}: {one.exception}"
            for one in found[:_NAMED]
        ]
        if len(found) > _NAMED:
            lines.append(f"and {len(found) - _NAMED} more")
        raise AssertionError(
            "\n  ".join(["a handler raised, and the gateway went on:", *lines])
            + "\nmend it, or take it with gateway.take_failures() where the test expects it"
        ) from found[0].exception


def _check_logging() -> None:
    __tracebackhide__ = True
    if not logging.getLogger(f"{_LOGGER}.events.base").isEnabledFor(logging.ERROR):
        raise AssertionError(
            "what handlers raise cannot be seen, since errors of `uun_iot` are not logged; give "
            "disable_existing_loggers=False where logging is configured, or no logging.disable()"
        )
