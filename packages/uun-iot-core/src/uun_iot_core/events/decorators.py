"""`on`: registration of handlers in the documented style."""

from __future__ import annotations

from typing import Callable, Optional, TypeVar

from ..exceptions import UnsupportedEvent
from .base import EventType, HandlerInfo, mark

__all__ = ["EventRegister", "on"]

F = TypeVar("F", bound=Callable[..., object])

_EVENTS = {kind.value: kind for kind in EventType}
#: what the second argument is
_SECOND = {EventType.TICK: "timer id", EventType.EXTERNAL: "command"}


def on(*outer_args: str) -> Callable[[F], F]:
    """Mark a method of a module as the handler of an event: ``@on(event[, id])``.

    ======== =========================================== ======================
    event    when                                        handler
    ======== =========================================== ======================
    tick     at each tick of the module's timer          ``handler(self)``
    update   the gateway's configuration was updated     ``handler(self)``
    start    the gateway starts                          ``handler(self, evs)``
    stop     the gateway stops                           ``handler(self)``
    external ``id`` is sent to the command socket        ``handler(self, evs)``
    ======== =========================================== ======================

    ``evs`` of a start handler is ``(runev, stopev)``, the gateway's two events; of an external
    one ``(command, rest)``, and what it returns is the answer (see `EvExternal`). The decorated
    function is returned unchanged; the gateway finds it on the module when it is built.

    Example::

        class SendReceive(Module):
            @on("tick", "send")
            def send(self):
                self._send_storage()

    Args:
        outer_args: the event and, for ``tick``, optionally the id of the timer below
            ``gateway.moduleTimers.<module id>``, or, for ``external``, the name of the command.

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
    takes = _SECOND.get(kind)
    if len(ids) > (1 if takes else 0):
        more = " or ".join(f'"{one.value}" one, a {name}' for one, name in _SECOND.items())
        raise TypeError(f'on("{event}", …): too many arguments; only {more}, is taken')
    if kind is EventType.EXTERNAL and not ids or not all(isinstance(id, str) and id for id in ids):
        raise TypeError(f'on("{event}", id): the {takes} must be a non-empty string')

    def register(function: F) -> F:
        # an update handler of this style is not given the configuration
        kwargs = {"bare": True} if kind is EventType.CONF_UPDATE else {}
        return mark(function, HandlerInfo(kind, ids, kwargs))

    return register


class EventRegister:
    """What an ``init`` of three parameters gets first: its `on` is the function `on`."""

    def on(self, eventn: str, subevent: Optional[str] = None) -> Callable[[F], F]:
        """Mark a method as the handler of an event: see `on`."""
        return on(eventn) if subevent is None else on(eventn, subevent)
