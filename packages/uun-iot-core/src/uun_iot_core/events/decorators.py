"""`on`: registration of handlers in the documented style."""

from __future__ import annotations

from typing import Callable, TypeVar

from ..exceptions import UnsupportedEvent
from .base import EventType, HandlerInfo, mark

__all__ = ["on"]

F = TypeVar("F", bound=Callable[..., object])

_EVENTS = {
    kind.value: kind
    for kind in (EventType.TICK, EventType.CONF_UPDATE, EventType.START, EventType.STOP)
}


def on(*outer_args: str) -> Callable[[F], F]:
    """Mark a method of a module as the handler of an event: ``@on(event[, id])``.

    ======== =========================================== ======================
    event    when                                        handler
    ======== =========================================== ======================
    tick     at each tick of the module's timer          ``handler(self)``
    update   the gateway's configuration was updated     ``handler(self)``
    start    the gateway starts                          ``handler(self, evs)``
    stop     the gateway stops                           ``handler(self)``
    ======== =========================================== ======================

    ``evs`` is ``(runev, stopev)``, the gateway's two events. The decorated function is
    returned unchanged; the gateway finds it on the module when it is built.

    Example::

        class SendReceive(Module):
            @on("tick", "send")
            def send(self):
                self._send_storage()

    Args:
        outer_args: the event and, for ``tick``, optionally the id of the timer below
            ``gateway.moduleTimers.<module id>``.

    Raises:
        UnsupportedEvent: there is no such event.
        TypeError: an id where the event takes none, or one that is no string.
    """
    event = outer_args[0] if outer_args else None
    kind = _EVENTS.get(event) if isinstance(event, str) else None
    if kind is None:
        known = ", ".join(f'"{name}"' for name in _EVENTS)
        shown = (
            f'"{event}"' if isinstance(event, str) else "nothing" if event is None else "no string"
        )
        raise UnsupportedEvent(f"on() knows the events {known}; it was given {shown}")
    ids = outer_args[1:]
    if len(ids) > (1 if kind is EventType.TICK else 0):
        raise TypeError(f'on("{event}", …): too many arguments; only "tick" takes one, a timer id')
    if ids and not (isinstance(ids[0], str) and ids[0]):
        raise TypeError('on("tick", id): the timer id must be a non-empty string')

    def register(function: F) -> F:
        return mark(function, HandlerInfo(kind, ids))

    return register
