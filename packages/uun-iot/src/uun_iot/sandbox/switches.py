"""The faults that the console has switches for."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional

from .faults import Fault
from .server import Sandbox

__all__ = ["SWITCHES", "Switch"]


class Switch(NamedTuple):
    """A fault that can be switched on and off.

    Args:
        name: of the switch.
        fault: what it adds and removes; None for an outage.
    """

    name: str
    fault: Optional[Fault] = None

    def is_on(self, sandbox: Sandbox) -> bool:
        """Return whether it is on, whoever switched it."""
        return sandbox.down if self.fault is None else self.fault in sandbox.faults.in_force()

    def turn(self, sandbox: Sandbox, on: bool) -> None:
        """Switch it; nothing happens where it is so already."""
        if self.fault is None:
            sandbox.outage() if on else sandbox.restore()
        elif on and not self.is_on(sandbox):
            sandbox.faults.add(self.fault)
        elif not on:
            for fault in sandbox.faults.in_force():
                if fault == self.fault:
                    sandbox.faults.remove(fault)


_ALL: List[Switch] = [
    Switch("outage"),
    Switch("unavailable", Fault("status", status=503)),
    Switch("drop", Fault("drop")),
    Switch("lost", Fault("drop", processed=True)),
    Switch("slow", Fault("delay", seconds=2.0)),
    Switch("refuse", Fault("refuse_grant")),
]

SWITCHES: Dict[str, Switch] = {switch.name: switch for switch in _ALL}
