"""The external event: somebody sends a command to the gateway's socket."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from ..clock import SYSTEM_CLOCK, Clock
from ..exceptions import ModuleError, json_type
from ..forks import watch_forks
from ..logs import get_logger
from ..socket_server import MOST_CLIENTS, SocketServer
from ..supervision import Overdue
from .base import Event, EventType, F, Handler, HandlerInfo, Register
from .calling import outcome
from .threads import Busy, Calls

__all__ = ["EvExternal"]

logger = get_logger(__name__)

#: commands that wait for their turn at most; the other clients can still ask for the status
_MOST_WAITING = MOST_CLIENTS // 2
#: built-in commands that are answered side by side at most; a module may never tell its status
_MOST_BUILT_IN = MOST_CLIENTS // 4


class EvExternal(Event):
    """Calls the handler of a command that comes in by the socket ``gateway.socket.path``.

    A client sends one line, ``name[ rest]``, and gets ``0[ output]``, or ``1 message`` where
    there is no such command or its handler raised. Handlers are called one at a time.

    Args:
        config: the whole configuration.
    """

    event_type = EventType.EXTERNAL

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(config)
        #: the library's own commands, called with nothing, also beside a handler; one of the
        #: application that has the same name wins
        self.built_in: Dict[str, Callable[[], str]] = {}
        self._server: Optional[SocketServer] = None
        self._clock: Clock = SYSTEM_CLOCK
        self.after_fork()
        watch_forks(self)
        self._stopping = False

    def after_fork(self) -> None:
        """Begin anew in a forked child: no handler runs there, and nobody waits for one."""
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self._built_in_places = threading.BoundedSemaphore(_MOST_BUILT_IN)
        self._running: Optional[Busy] = None
        self._calls = Calls()
        self._built_in_running: List[Busy] = []

    @classmethod
    def subscribe_command(cls, action_id: str, *subactions: str) -> Callable[[F], Register[F]]:
        """Return a decorator that registers a handler ``(self, (command, rest)) -> output``.

        ``rest`` is what follows the command, None where nothing does. ``output`` is a string,
        or None.

        Args:
            action_id: the name of the command.
            subactions: the command is named ``action_id[one,two]`` with them.

        Raises:
            TypeError: a name is no string, or empty.
        """
        for name in (action_id, *subactions):
            if not isinstance(name, str) or not name:
                raise TypeError("subscribe_command(…): names must be non-empty strings")
        # added, not formatted: the name may be a string that is an enumeration's member, too
        name = action_id + (f"[{','.join(subactions)}]" if subactions else "")
        info = HandlerInfo(cls.event_type, (name,))
        return lambda function: Register(info, function)

    def add_handlers(self, handlers: Iterable[Tuple[Handler, HandlerInfo]]) -> None:
        """Take in handlers.

        Args:
            handlers: pairs of a bound function and what it handles.

        Raises:
            ModuleError: two handle the same command.
        """
        taken = {info.args[0]: info.owner_id for _, info in self._handlers}
        for handler, info in handlers:
            name = info.args[0]
            if name in taken:
                raise ModuleError(
                    f"the command `{name}` has two handlers, of module `{taken[name]}` and of "
                    f"module `{info.owner_id}`; give one of them another name"
                )
            if " " in name or "\n" in name:
                said = "module `%s`: nobody can send the command %r, since it holds a blank"
                logger.warning(said, info.owner_id, name)
            taken[name] = info.owner_id
            self._handlers.append((handler, info))

    def _join_gateway(self, gateway: Any) -> None:
        self._config, self._clock = gateway.config, gateway._clock

    def start(self) -> None:
        """Listen on the configured socket, if there is one; what fails is logged."""
        self._stopping = False
        path = (self._config or {}).get("gateway", {}).get("socket", {}).get("path")
        if path is None:
            if self._handlers:
                names = ", ".join(info.args[0] for _, info in self._handlers)
                logger.info("gateway.socket.path is not set: nobody can send %s", names)
            return
        server = SocketServer(path, self.respond)
        try:
            server.start()
        except (OSError, RuntimeError) as exc:  # the latter: no thread to be had
            # a device that cannot be asked is better than one that does not start
            logger.error(
                "gateway.socket.path: %s: no commands are taken: %s",
                server.path,
                getattr(exc, "strerror", None) or exc,
            )
        else:
            self._server = server

    def cancel(self) -> None:
        """Take no more commands; do not wait for the handler that runs."""
        self._stopping = True
        if self._server is not None:
            self._server.cancel()

    def stop(self) -> None:
        """Take no more commands, and return when the handler that runs has ended."""
        self.cancel()
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def overdue(self, limits: Mapping[str, Any]) -> List[Overdue]:
        """Return which calls run for longer than they may.

        Args:
            limits: seconds by module id; valid already.
        """
        return self._calls.overdue(limits, self._clock.monotonic())

    def busy(self) -> List[Busy]:
        """Return which handler and which built-in commands run right now."""
        running = self._running
        return [*self._built_in_running, *([] if running is None else [running])]

    def respond(self, line: str) -> str:
        """Return the answer to a line: call the handler, and wait for its turn before that.

        Args:
            line: ``name[ rest]``.
        """
        name, blank, rest = line.partition(" ")
        for handler, info in self._handlers:
            if info.args[0] == name:
                if not self._places.acquire(blocking=False):
                    return f"1 too many commands wait for `{self._running_name()}`, try again"
                try:
                    return self._call(handler, info, rest if blank else None)
                finally:
                    self._places.release()
        if name in self.built_in:
            return self._call_built_in(name)
        return f"1 unknown command {name!r}" if name else "1 no command"

    def _call(self, handler: Handler, info: HandlerInfo, rest: Optional[str]) -> str:
        name = info.args[0]
        with self._turn:
            if self._stopping:
                return "1 the gateway stops"
            self._running = f"uun_iot external {name}", threading.current_thread().ident
            number = self._calls.begin(f"external {name}", info, self._clock)
            try:
                return _answer(*outcome(handler, info, (name, rest)))
            finally:
                self._calls.end(number)
                self._running = None

    def _call_built_in(self, name: str) -> str:
        if not self._built_in_places.acquire(blocking=False):
            return f"1 too many commands `{name}` wait for their answers, try again"
        running = f"uun_iot external {name}", threading.current_thread().ident
        self._built_in_running.append(running)
        try:
            info = HandlerInfo(self.event_type, (name,), owner_id="gateway")
            return _answer(*outcome(self.built_in[name], info))
        finally:
            self._built_in_running.remove(running)
            self._built_in_places.release()

    def _running_name(self) -> str:
        running = self._running
        return running[0].rpartition(" ")[2] if running else "another one"


def _answer(output: Any, exc: Optional[BaseException]) -> str:
    if exc is not None:
        said = ""
        with contextlib.suppress(BaseException):  # its __str__ is the application's
            said = " ".join(str(exc).split())
        return f"1 {type(exc).__name__}: {said}"
    if not isinstance(output, (str, type(None))):
        return f"1 the handler returned {json_type(output)} instead of a string or None"
    text = "" if output is None else str.__str__(output)  # whatever a class of its own makes of it
    return f"0 {text}" if text else "0"
