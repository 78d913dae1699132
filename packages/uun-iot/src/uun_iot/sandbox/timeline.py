"""Playing a script on the sandbox's clock."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Callable, List, NamedTuple, Optional, Tuple

from uun_iot_core import RepeatTimer

from .script import Script, Step

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["Timeline"]

logger = logging.getLogger("uun_iot.sandbox")

#: seconds that a moment may come early: a clock's sums are not exact
_SOON = 1e-6


class _Moment(NamedTuple):
    """Something to do, `seconds` after the begin."""

    seconds: float
    text: str
    do: Callable[[], object]


class _Played:
    """A step while its script is played: begun, and ended where it has an end."""

    def __init__(self, step: Step, sandbox: Sandbox) -> None:
        self._action = step.action
        self._sandbox = sandbox
        self._undo: Optional[Callable[[], object]] = None

    def begin(self) -> None:
        self._undo = self._action.apply(self._sandbox)

    def end(self) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Timeline:
    """Does what a script says when it says it; what comes at one moment in the file's order.

    Args:
        script: to be played.
        sandbox: to which it happens, and whose clock counts.
    """

    def __init__(self, script: Script, sandbox: Sandbox) -> None:
        self.script = script
        self._sandbox = sandbox
        self._clock = sandbox.clock
        self._moments = _plan(script, sandbox)
        self._next = 0
        self._begin = 0.0
        self._stopped = False
        self._timer: Optional[RepeatTimer] = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin; what comes at 0 s has happened when it returns."""
        self._begin = self._clock.monotonic()
        self._run()

    def stop(self) -> None:
        """Do nothing more, and wait for what is under way; what was done stays."""
        with self._lock:
            self._stopped = True
            timer = self._timer
        if timer is not None:
            timer.stop()

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self._stopped or self._next >= len(self._moments)

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return self._clock.monotonic() - self._begin

    @property
    def to_come(self) -> List[Tuple[float, str]]:
        """What is to come: seconds from now, and a sentence."""
        if self.done:
            return []
        now = self.seconds
        return [(max(one.seconds - now, 0.0), one.text) for one in self._moments[self._next :]]

    def _run(self) -> None:
        """Do what is due, then wait for the next."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop(block=False)
        while not self.done:
            moment = self._moments[self._next]
            wait = moment.seconds - self.seconds
            if wait > _SOON:
                self._wait(wait)
                return
            self._next += 1
            try:
                moment.do()
            except Exception:  # the rest of the script must still happen
                logger.exception("%s: failed: %s", self.script.name, moment.text)
            else:
                logger.info("%s: %s", self.script.name, moment.text)
            self._sandbox.notify()

    def _wait(self, seconds: float) -> None:
        with self._lock:
            if self._stopped:
                return
            self._timer = RepeatTimer(
                seconds, self._run, runonstart=False, clock=self._clock, name="sandbox script"
            )
            self._timer.start()


def _plan(script: Script, sandbox: Sandbox) -> List[_Moment]:
    """Return all begins and ends in the order in which they happen."""
    begins: List[_Moment] = []
    ends: List[_Moment] = []
    for step in script.steps:
        played = _Played(step, sandbox)
        begins.append(_Moment(step.at, step.text, played.begin))
        if step.until is not None:
            ends.append(_Moment(step.until, f"end of: {step.action.text}", played.end))
    # ends first: where one thing follows another, the first is gone before the second comes
    return sorted(ends + begins, key=lambda moment: moment.seconds)
