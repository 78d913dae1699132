"""What a script, a flag or the console does to a sandbox, and how it is undone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from uun_iot_core.values import json_problem, shown

from .certificates import CERTIFICATE_KINDS
from .durations import HOUR, parse_duration
from .faults import FAULT_KINDS, Fault

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["ACTIONS", "AT_ONCE", "Action", "parse_action", "parse_flag"]

Undo = Callable[[], object]

#: what happens at once and leaves nothing to undo: key -> (sentence, what is done)
_AT_ONCE: Dict[str, Tuple[str, Callable[[Any], object]]] = {
    "drop_connections": ("connections are dropped", lambda sandbox: sandbox.drop_connections()),
    "expire_tokens": ("tokens expire", lambda sandbox: sandbox.expire_tokens()),
    "revoke_tokens": ("tokens are revoked", lambda sandbox: sandbox.revoke_tokens()),
    "restore": ("an outage ends", lambda sandbox: sandbox.restore()),
    "clear": ("everything is well again", lambda sandbox: sandbox.clear()),
}
AT_ONCE = tuple(_AT_ONCE)

#: arguments of `Fault` that a script may give
_ARGUMENTS: Dict[str, Tuple[type, ...]] = {
    "command": (str,),
    "times": (int,),
    "processed": (bool,),
    "read": (bool,),
    "seconds": (int, float, str),
    "chunk_size": (int,),
    "status": (int,),
    "retry_after": (int, float, str),
    "content_type": (str,),
    "body": (str, dict, list),
    "headers": (dict,),
    "location": (str,),
    "code": (str,),
}

#: the keys that say what an action does; one of them in each
ACTIONS = ("status", "delay", "fault", "outage", "certificate", "configuration", *AT_ONCE)


class Action:
    """One thing that is done to a sandbox.

    Args:
        text: a sentence that says it.
        apply: does it; returns how it is undone, or None where nothing is left to undo.
        alone: two of the same name must not last at the same time; empty where they may.
    """

    def __init__(
        self, text: str, apply: Callable[[Sandbox], Optional[Undo]], alone: str = ""
    ) -> None:
        self.text = text
        self.apply = apply
        self.alone = alone

    def __repr__(self) -> str:
        return f"Action({self.text!r})"


def parse_action(table: Mapping[str, Any]) -> Action:
    """Return the action that a table describes.

    >>> parse_action({"status": 503, "retry_after": 5}).text
    'status 503'

    Args:
        table: one of the keys in `ACTIONS`, and arguments of `Fault` where it makes one.

    Raises:
        ValueError: what is wrong, and what is expected.
    """
    kinds = [key for key in ACTIONS if key in table]
    if "fault" in kinds and "status" in kinds:
        kinds.remove("status")  # an argument of the fault
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else ", ".join(map(str, table)) or "nothing"
        raise ValueError(f"expected one of {', '.join(ACTIONS)}; got {got}")
    (kind,) = kinds
    value = table[kind]
    rest = {key: value for key, value in table.items() if key != kind}
    if kind in ("status", "delay", "fault"):
        return _fault_action(kind, value, rest)
    if rest:
        raise ValueError(f"{kind} takes nothing beside it; remove {', '.join(rest)}")
    if kind == "certificate":
        return _certificate_action(value)
    if kind == "configuration":
        return _configuration_action(value)
    if value is not True:
        raise ValueError(f"{kind}: expected true, got {shown(value)}")
    if kind == "outage":
        return Action("connections are refused", _outage, "outage")
    text, do = _AT_ONCE[kind]

    def at_once(sandbox: Sandbox) -> None:
        do(sandbox)

    return Action(text, at_once)


def parse_flag(text: str) -> Action:
    """Return the action that the text of a command line's flag describes.

    >>> parse_flag("status=503,times=2").text
    'status 503 2 times'
    >>> parse_flag("drop").text
    'drop'

    Args:
        text: ``key=value`` pairs with commas between, the first of which may be the name
            of a fault or of what needs no value.

    Raises:
        ValueError: what is wrong, and what is expected.
    """
    table: Dict[str, Any] = {}
    for number, part in enumerate(text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            if number == 0 and key in FAULT_KINDS and key not in ("status", "delay"):
                table["fault"] = key
            elif key in _AT_ONCE or key == "outage" or _ARGUMENTS.get(key) == (bool,):
                table[key] = True
            else:
                raise ValueError(
                    f"{key or 'nothing'}: expected key=value, for example status=503, delay=2s, "
                    f"or one of {', '.join(sorted({*FAULT_KINDS, *_AT_ONCE, 'outage'}))}"
                )
            continue
        table[key] = _number(value)
    if "configuration" in table:
        raise ValueError("configuration: a flag cannot hold one; use a script or the console")
    return parse_action(table)


def _number(text: str) -> Union[int, float, str]:
    """Return the number that a text is, or the text."""
    try:
        return int(text) if text.isascii() and text.isdigit() else float(text)
    except ValueError:
        return text


def _fault_action(kind: str, value: Any, rest: Mapping[str, Any]) -> Action:
    fault = parse_fault(kind, value, rest)

    def apply(sandbox: Sandbox) -> Undo:
        # a fault of its own each time: they are told apart by identity
        added = sandbox.faults.add(dataclasses.replace(fault))
        return lambda: sandbox.faults.remove(added)

    return Action(fault.text, apply)


def parse_fault(kind: str, value: Any, rest: Mapping[str, Any]) -> Fault:
    """Return a fault of checked arguments; see `parse_action`."""
    arguments = _checked(rest)
    if kind == "status":
        if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
            raise ValueError(f"status: expected an HTTP status from 200 to 599, got {shown(value)}")
        arguments["status"] = value
    elif kind == "delay":
        arguments["seconds"] = _duration("delay", value)
    elif value not in FAULT_KINDS:
        raise ValueError(f"fault: expected one of {', '.join(FAULT_KINDS)}; got {shown(value)}")
    return Fault(value if kind == "fault" else kind, **arguments)


def _checked(table: Mapping[str, Any]) -> Dict[str, Any]:
    arguments: Dict[str, Any] = {}
    for key, value in table.items():
        expected = _ARGUMENTS.get(key)
        if expected is None:
            raise ValueError(f"{key}: there is no such argument; there are {', '.join(_ARGUMENTS)}")
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            names = " or ".join(each.__name__ for each in expected)
            raise ValueError(f"{key}: expected {names}, got {shown(value)}")
        arguments[key] = _duration(key, value) if key == "seconds" else value
    headers = arguments.get("headers", {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("headers: expected texts by name")
    return arguments


def _duration(key: str, value: Any) -> float:
    try:
        return parse_duration(value, HOUR)
    except ValueError as exc:
        raise ValueError(f"{key}: {exc}") from None


def _outage(sandbox: Sandbox) -> Undo:
    sandbox.outage()
    return sandbox.restore


def _certificate_action(value: Any) -> Action:
    if value not in CERTIFICATE_KINDS:
        known: List[str] = list(CERTIFICATE_KINDS)
        raise ValueError(f"certificate: expected one of {', '.join(known)}; got {shown(value)}")

    def apply(sandbox: Sandbox) -> Undo:
        before = sandbox.certificate
        sandbox.use_certificate(value)
        sandbox.drop_connections()  # those that live have seen the other one
        return lambda: sandbox.use_certificate(before)

    return Action(f"certificate {value}", apply, "certificate")


def _configuration_action(value: Any) -> Action:
    if not isinstance(value, dict):
        raise ValueError(f"configuration: expected a table, got {type(value).__name__}")
    problem = json_problem(value, "configuration")
    if problem is not None:
        raise ValueError(problem)

    def apply(sandbox: Sandbox) -> Undo:
        before = sandbox.published
        sandbox.publish(value)
        return lambda: sandbox.publish(before)

    return Action("configuration is published", apply, "configuration")
