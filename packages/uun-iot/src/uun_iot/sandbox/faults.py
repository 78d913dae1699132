"""Faults of the sandbox: what they are, and which of them a request meets.

A fault acts at one of three stages; a request meets at most one of each, the one added first:

======== ================================================================================
stage    kinds
======== ================================================================================
pause    ``delay``: waits before it answers
answer   ``status``, ``reply``, ``redirect``, ``refuse_grant``: another answer
delivery ``drop``, ``reset``: no answer; ``half``, ``slow``, ``hang_up``, ``http10``: the
         answer in a bad way
======== ================================================================================
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Union

from uun_iot_core.values import json_problem, shown

from .durations import HOUR, YEAR, show_duration
from .messages import Reply, error_map

__all__ = ["FAULT_KINDS", "Encounter", "Fault", "Faults"]

_STAGES = {
    "delay": "pause",
    "status": "answer",
    "reply": "answer",
    "redirect": "answer",
    "refuse_grant": "answer",
    "drop": "delivery",
    "reset": "delivery",
    "half": "delivery",
    "slow": "delivery",
    "hang_up": "delivery",
    "http10": "delivery",
}

FAULT_KINDS = tuple(_STAGES)

#: the refusals of a token service: code -> (status, message)
_REFUSALS = {
    "identityNotAuthenticated ": (401, "The identity could not be authenticated."),
    "unexpectedError": (500, "An unexpected error occurred."),
    "unsupportedCredentials": (401, "The account asks for a second factor."),
    "invalidDtoIn": (400, "The input is not valid."),
}


def refusal(code: str, status: Optional[int] = None) -> Reply:
    """Return how the token service refuses; one of its codes ends with a space.

    Args:
        code: the last part of the error code.
        status: another status than the usual one.

    Raises:
        ValueError: there is no such refusal.
    """
    for known, (usual, message) in _REFUSALS.items():
        if known.strip() == code.strip():
            return Reply.json(
                error_map(f"uu-oidc-main/grantToken/{known}", message), status or usual
            )
    raise ValueError(
        f"no refusal of a grant has the code {code!r}; "
        f"there are {', '.join(known.strip() for known in _REFUSALS)}"
    )


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with requests.

    >>> Fault("status", status=503, retry_after=2, times=3).kind
    'status'

    Args:
        kind: one of `FAULT_KINDS`:

            * ``delay``: the request is processed, its answer waits for ``seconds``;
            * ``status``: a server's error with ``status`` and perhaps ``retry_after``;
            * ``reply``: any answer: ``status``, ``content_type``, ``body``, ``headers``;
            * ``redirect``: to ``location`` with ``status`` (307);
            * ``refuse_grant``: the token service refuses with ``code``;
            * ``drop``: the connection ends without an answer (end of file at the client);
            * ``reset``: the same, with a TCP reset;
            * ``half``: the answer ends in the middle of its body;
            * ``slow``: the answer comes in pieces of ``chunk_size``, ``seconds`` apart;
            * ``hang_up``: after the answer the connection ends, unannounced;
            * ``http10``: the answer comes as HTTP/1.0, and the connection ends.
        command: only for this uuCmd (``oidc/grantToken`` is that of grants); None for all.
        times: how many requests meet it; None for all until it is removed.
        processed: whether the application processes a request whose own answer is lost or
            replaced. Requests with the other kinds of faults are always processed.
        read: ``drop`` and ``reset``: whether the request's body is read first (it is where
            it is processed).
        seconds: of ``delay`` and, for each piece, of ``slow``; an hour at most.
        chunk_size: bytes a piece of ``slow``.
        status: of the answer.
        retry_after: value of ``Retry-After``, seconds or a date.
        content_type: of ``reply``.
        body: of ``reply``: bytes and text as they are, anything else as JSON.
        headers: further headers of ``status``, ``reply`` and ``redirect``.
        location: URL that ``redirect`` leads to.
        code: of ``refuse_grant``: ``identityNotAuthenticated``, ``unexpectedError``,
            ``unsupportedCredentials`` or ``invalidDtoIn``.

    Raises:
        ValueError: no such kind, or its arguments do not fit.
    """

    kind: str
    command: Optional[str] = None
    times: Optional[int] = None
    processed: bool = False
    read: bool = False
    seconds: float = 0.0
    chunk_size: int = 64
    status: Optional[int] = None
    retry_after: Optional[Union[int, float, str]] = None
    content_type: str = "application/json; charset=UTF-8"
    body: Any = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    location: Optional[str] = None
    code: str = "identityNotAuthenticated"

    def __post_init__(self) -> None:
        if self.kind not in _STAGES:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(FAULT_KINDS)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"fault {self.kind!r}: times must be at least 1, got {self.times}")
        if self.kind in ("delay", "slow") and not self.seconds > 0:
            raise ValueError(f"fault {self.kind!r}: seconds must be over 0, got {self.seconds}")
        if not self.seconds <= HOUR:
            raise ValueError(
                f"fault {self.kind!r}: seconds: expected at most {show_duration(HOUR)}, "
                f"got {shown(self.seconds)}"
            )
        if self.chunk_size < 1:
            raise ValueError(
                f"fault {self.kind!r}: chunk_size must be at least 1, got {self.chunk_size}"
            )
        if self.kind == "redirect" and not self.location:
            raise ValueError("fault 'redirect': location is missing; give the URL it leads to")
        if self.kind == "refuse_grant":
            refusal(self.code)
        problem = _retry_after_problem(self.retry_after) or self._unsendable()
        if problem is not None:
            raise ValueError(f"fault {self.kind!r}: {problem}")

    def _unsendable(self) -> Optional[str]:
        """Return what of the answer could not be sent as it is given."""
        fields = {
            "location": self.location,
            "content_type": self.content_type,
            "retry_after": self.retry_after,
            **{
                f"headers.{shown(name)[1:-1]}": f"{name}{self.headers[name]}"
                for name in self.headers
            },
        }
        for name, value in fields.items():
            if not isinstance(value, str):
                continue
            if any(char in value for char in "\r\n"):
                return f"{name}: it goes into a header, which has one line; remove the line break"
            try:
                value.encode("latin-1")
            except UnicodeEncodeError:
                return f"{name}: it goes into a header; write it in ASCII"
        return None if isinstance(self.body, bytes) else json_problem(self.body, "body")

    @property
    def stage(self) -> str:
        """Where it acts: ``pause``, ``answer`` or ``delivery``."""
        return _STAGES[self.kind]

    @property
    def aborts(self) -> bool:
        """Whether there is no answer at all."""
        return self.kind in ("drop", "reset")

    @property
    def text(self) -> str:
        """A few words that say what it is, without bodies and headers."""
        words = [self.kind]
        if self.stage == "answer" and self.status is not None:
            words.append(str(self.status))
        if self.kind in ("delay", "slow"):
            words.append(f"{self.seconds:g} s")
        if self.kind == "refuse_grant":
            words.append(self.code)
        if self.processed:
            words.append("after processing")
        if self.command is not None:
            words.append(f"for {self.command}")
        if self.times is not None:
            words.append(f"{self.times} times")
        return " ".join(words)

    def answer(self) -> Reply:
        """Return the answer of a fault of the stage ``answer``."""
        if self.kind == "refuse_grant":
            return refusal(self.code, self.status)
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.kind == "redirect":
            headers["Location"] = self.location or ""
            return Reply(self.status or 307, headers=headers)
        if self.kind == "status":
            fault = error_map("uu-app-server/internalServerError", "The sandbox was told to fail.")
            return Reply(self.status or 503, json.dumps(fault).encode("utf-8"), headers=headers)
        body = self.body
        if isinstance(body, str):
            body = body.encode("utf-8")
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8")
        return Reply(self.status or 200, body, self.content_type, headers)


def _retry_after_problem(value: Any) -> Optional[str]:
    if value is None or isinstance(value, str) or 0 <= value <= YEAR:
        return None
    return (
        f"retry_after: expected seconds, 0 to {YEAR:g} (a year), or a date as text, "
        f"got {shown(value)}"
    )


@dataclass(eq=False)
class _Active:
    """A fault that was added, and how many more requests it is for."""

    fault: Fault
    left: Optional[int]
    removed: bool = False


class Encounter(NamedTuple):
    """The faults that one request meets."""

    pause: Optional[_Active] = None
    answer: Optional[_Active] = None
    delivery: Optional[_Active] = None

    def kinds(self) -> List[str]:
        """Return the kinds of the faults, for the records."""
        return [active.fault.kind for active in self if active is not None]


class Faults:
    """The faults in force; switched at any time, from any thread.

    Args:
        waits: whether ``delay`` and ``slow`` take their time; not where a clock that is
            told to advance would stand still meanwhile.
    """

    def __init__(self, waits: bool = True) -> None:
        self._waits = waits
        self.on_change: Optional[Callable[[], object]] = None
        self._changed = threading.Condition()
        self._active: List[_Active] = []

    def add(self, fault: Union[Fault, str], **arguments: Any) -> Fault:
        """Put a fault in force, behind those that are.

        >>> faults = Faults()
        >>> faults.add("status", status=503, times=2).times
        2

        Args:
            fault: the fault, or its kind with the arguments of `Fault`.
            **arguments: see `Fault`.

        Returns:
            The fault, for `remove`.
        """
        if isinstance(fault, str):
            fault = Fault(fault, **arguments)
        elif arguments:
            raise TypeError("give a Fault, or a kind and its arguments, not both")
        with self._changed:
            self._active.append(_Active(fault, fault.times))
        self._tell()
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault out of force; answers that wait because of it go out at once.

        Args:
            fault: what `add` returned; nothing happens where it is no longer in force.
        """
        self._remove_where(lambda active: active.fault is fault)

    def clear(self) -> None:
        """Take all faults out of force; answers that wait because of them go out at once."""
        self._remove_where(lambda active: True)

    def in_force(self) -> List[Fault]:
        """Return the faults that later requests may meet."""
        with self._changed:
            return [active.fault for active in self._active if active.left != 0]

    def meet(self, command: Optional[str], is_grant: bool) -> Encounter:
        """Return the faults that a request meets, and count it.

        Args:
            command: the request's uuCmd.
            is_grant: whether it asks for a token.
        """
        with self._changed:
            found: Dict[str, _Active] = {}
            for stage in ("delivery", "pause", "answer"):
                if stage == "answer" and "delivery" in found and found["delivery"].fault.aborts:
                    break  # there will be none
                for active in self._active:
                    if active.left == 0 or active.fault.stage != stage:
                        continue
                    if active.fault.command not in (None, command):
                        continue
                    if active.fault.kind == "refuse_grant" and not is_grant:
                        continue
                    found[stage] = active
                    if active.left is not None:
                        active.left -= 1
                    break
            return Encounter(**found)

    def pause(self, active: _Active, abandoned: Callable[[], bool]) -> None:
        """Wait for the seconds of a fault, at most until it is removed.

        Args:
            active: the fault.
            abandoned: ends the wait where it is true; looked at after each `wake`.
        """
        if not self._waits:
            return
        with self._changed:
            self._changed.wait_for(
                lambda: active.removed or abandoned(), timeout=active.fault.seconds
            )

    def wake(self) -> None:
        """Let those that wait look whether they should go on."""
        with self._changed:
            self._changed.notify_all()

    def _remove_where(self, condition: Callable[[_Active], bool]) -> None:
        with self._changed:
            for active in self._active:
                active.removed = active.removed or condition(active)
            self._active = [active for active in self._active if not active.removed]
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()
