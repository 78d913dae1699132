"""`Gateway`: builds event sources from modules, starts them, stops them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import weakref
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type, TypeVar

from .clock import SYSTEM_CLOCK, Clock
from .events.attach import attach_handlers
from .events.base import OWNERS, Event, own, parts_of
from .events.calling import current_event
from .events.decorators import EventRegister
from .exceptions import ConfigError
from .logs import get_logger
from .main_thread import entered, stopped
from .modules import Modules, call_init, events_in, modules_in, owners_in, tell
from .naming import module_id_of
from .process import is_failure
from .signals import SignalExit, interruption_waits
from .sources import Sources
from .stop_watch import StopWatch
from .supervision import Overdue, Supervision
from .timer_stats import TimerStats
from .typing import Client
from .updates import Config
from .wakeful import WakefulEvent

__all__ = ["Gateway"]

logger = get_logger(__name__)

G = TypeVar("G", bound="Gateway")

#: seconds of requests that stop handlers get when the gateway stops
STOP_GRACE = 5.0
_STOPPED, _STARTING, _RUNNING, _STOPPING = "stopped", "starting", "running", "stopping"


class Gateway(contextlib.AbstractContextManager["Gateway"]):
    """Loads a configuration, makes the user's modules, and calls their handlers.

    A context manager: entering starts the gateway, leaving stops it.

    An exception in ``module_init`` is the caller's. An exception in a handler is logged
    and hurts nobody else.

    Example::

        with Gateway("config.json", init) as g:
            signal.signal(signal.SIGTERM, g.signal_handler)
            g.stopev.wait()

    Args:
        config_file: path of the JSON configuration; without one the configuration is empty.
        module_init: ``init(config, uuclient)`` that returns a module, an iterable of
            modules, or None; one with three required parameters gets an `EventRegister` first.
        event_init: in place of it, ``event_init(config_file, config, uuclient)`` that returns
            event sources with their handlers, see `attach_handlers`. The library's own modules
            are then added by the application: `uun_iot.modules.init_library_module_events`.
        event_register: taken as applications of 0.11 give it; it changes nothing.
        clock: what timers read the time from.
        client: makes the client of the uuApp from the configuration; by default there is none.
        library_modules: makes the library's own modules, given the configuration and the
            client.

    Raises:
        ConfigError: the configuration is missing, damaged or not valid, or does not fit
            the modules.
        ModuleError: a module has neither id nor handlers, two have one id, or one command; or
            ``event_init`` returned something else than event sources.
        UnsupportedEvent: a module has a handler of an event that is not the library's.
        ValueError: there are both ``module_init`` and ``event_init``.
    """

    #: the gateway's configuration, one object for as long as the gateway lives
    config: Dict[str, Any]
    #: set while the gateway runs
    runev: threading.Event
    #: set when the gateway has been stopped, cleared by `start`
    stopev: threading.Event
    #: the client of the uuApp
    uuapp_client: Any

    def __init__(
        self,
        config_file: Optional[str] = None,
        module_init: Optional[Callable[..., Any]] = None,
        event_init: Optional[Callable[..., Iterable[Event]]] = None,
        *,
        event_register: Optional[EventRegister] = None,
        clock: Clock = SYSTEM_CLOCK,
        client: Optional[Callable[[Dict[str, Any]], Client]] = None,
        library_modules: Optional[Callable[[Dict[str, Any], Any], Iterable[Any]]] = None,
    ) -> None:
        if isinstance(event_init, EventRegister):  # as applications of 0.11 may give it
            event_init = None
        if module_init is not None and event_init is not None:
            raise ValueError("give a gateway either module_init or event_init, not both")
        self.runev = WakefulEvent()
        self.stopev = WakefulEvent()
        self._clock = clock
        self._state = _STOPPED
        self._state_changed = threading.Condition()
        self._exit = SignalExit(self)
        self._modules = Modules()
        self._events: List[Event] = []
        self._config = Config(self, config_file)
        self.config = self._config.config
        self.uuapp_client = None
        # one that is looked at and never started does not end uncleanly
        self._never_started = weakref.finalize(self, self._config.trial.unstarted)
        self._failed = False  # what the gateway is stopped for is an error
        self._stop_asked = False  # by what its start waits for
        self._changes_in: Optional[int] = None  # the thread that starts or stops it
        self._stop_begun = False  # of what that thread does
        self._process = 0  # the one that it was started in
        self._started_at: Optional[Tuple[float, float]] = None  # wall clock, monotonic
        made: List[Any] = []  # by module_init
        try:
            if client is not None:
                self.uuapp_client = client(self.config)
            given: List[Event] = []
            if event_init is None:
                self._modules.take(self._config)
                if library_modules is not None:
                    for module in library_modules(self.config, self.uuapp_client):
                        self._modules.take(module)
                        self._modules.replaceable.add(module_id_of(module))
                if module_init is not None:
                    init = call_init(module_init, self.config, self.uuapp_client)
                    # one by one, so that those that came before an exception are closed
                    for module in modules_in(init):
                        made.append(module)
            else:
                given = events_in(event_init(config_file, self.config, self.uuapp_client))
                made = owners_in(given)
            for module in made:
                self._modules.take(module)
            self._build_events(given)
            self._build_timers(config_file or "configuration")
        except BaseException:
            self._config.trial.failed()
            self._close_unstarted(made)
            raise

    # -- building -----------------------------------------------------------------------------

    def _build_events(self, given: List[Event]) -> None:
        """Make the sources that are not given; those that are given have their handlers."""
        config = self.config
        self._sources = Sources(config, self._config.event, given)
        self._events = self._sources.all
        if not given:
            attach_handlers(config, self._modules.values(), self._events)
        for event in self._events:
            event._join_gateway(self)
        self._config.event = self._sources.update
        self._sources.external.built_in["status"] = lambda: json.dumps(self.status())
        self._supervision = Supervision(
            self._clock, lambda: sum(one.running for one in self.timer_stats()), self._overdue
        )
        if self._config.trial.rolled_back:
            self._supervision.remark = "the last update of the configuration was rolled back"

    def _build_timers(self, config_file: str) -> None:
        found = self._misfits(self.config["gateway"])
        if found:
            raise ConfigError("; ".join(f"{config_file}: {problem}" for problem in found))
        self._arm_timers()
        self._sources.tick.warn_of_idle_limits(self._limits(), self._sources.limited())
        for problem in self._modules.idle_storages(self.config["gateway"]):
            logger.warning("%s", problem)

    def _arm_timers(self) -> None:
        self._sources.tick.spread = float(self.config["gateway"].get("timerSpread", False))
        self._sources.tick.arm(self.config["gateway"].get("moduleTimers", {}))

    def _misfits(self, gateway: Dict[str, Any]) -> List[str]:
        """Return where a valid configuration does not fit the modules.

        A module may look at its own part by a method ``_configuration_problems(gateway)``.
        """
        found = self._sources.tick.problems(gateway.get("moduleTimers", {}))
        for _, part in self._modules.parts():
            check = own(part, "_configuration_problems")
            if callable(check):
                found += check(gateway)
        return found

    def _overdue(self) -> List[Overdue]:
        """Return which calls run for longer than `gateway.watchdog.limits` has it."""
        return self._sources.overdue(self._limits())

    def _limits(self) -> Dict[str, Any]:
        limits: Dict[str, Any] = self.config["gateway"].get("watchdog", {}).get("limits", {})
        return limits

    def _reloading(self) -> contextlib.AbstractContextManager[None]:
        """Tell systemd of an update, where the gateway is started."""
        return self._supervision.reloading() if self.runev.is_set() else contextlib.nullcontext()

    def _rearm_timers(self) -> None:
        self._sources.tick.spread = float(self.config["gateway"].get("timerSpread", False))
        for tick in self._sources.ticks:
            tick.rearm(self.config["gateway"].get("moduleTimers", {}))

    # -- start and stop -----------------------------------------------------------------------

    def start(self) -> None:
        """Call all start handlers, each in a thread of its own, and start all timers.

        Does nothing where the gateway is started already.

        Raises:
            RuntimeError: a signal is ending the process; or a handler asks for it while the
                gateway stops and waits for that handler.
        """
        self._leave_to_parent()
        if self._exit.requested:
            if threading.current_thread() is threading.main_thread():
                self._exit.join()
            raise RuntimeError("the gateway cannot be started: a signal is ending the process")
        try:
            if not self._begin_start():
                return
            self._failed = False
            self._never_started.detach()
            self._config.trial.started()
            self._modules.tell("_gateway_started")
            self._arm_timers()
            self._sources.start()
            self._started_at = self._clock.time(), self._clock.monotonic()
            self._supervision.started()
        except BaseException:  # also Ctrl-C: systemd may let it wait
            if self._state == _STARTING and self._changes_in == threading.get_ident():
                self._failed = True
                self._stop()
            raise
        self._enter(_RUNNING)
        logger.debug("the gateway is started")
        if self._stop_asked:
            self.stop()

    def _begin_start(self) -> bool:
        """Return whether this thread is the one to start the gateway; wait where it is not."""
        with self._state_changed:
            while self._state in (_STARTING, _STOPPING):
                is_mine = self._changes_in == threading.get_ident()
                if self._state == _STOPPING and (is_mine or current_event() is not None):
                    raise RuntimeError("a handler cannot start the gateway while it stops")
                if is_mine or self._sources.starting.is_waited_for():
                    return False
                self._state_changed.wait()
            if self._state == _RUNNING:
                return False
            self._process, self._changes_in = os.getpid(), threading.get_ident()
            self._stop_asked = False
            self._state = _STARTING
            self.runev.set()
            self.stopev.clear()
            return True

    def stop(self) -> None:
        """Stop all timers, call all stop handlers, and wait for every handler to end.

        Does nothing where the gateway is stopped already. While another thread stops it,
        this call returns when that is done; in a handler it returns at once. A handler that
        stops the gateway does not wait for itself. In a forked child, what its parent has
        started goes on there, and is not stopped.
        """
        self._leave_to_parent()
        try:
            if self._begin_stop():
                self._stop()
        except BaseException:
            # Ctrl-C between the two: the timers would go on
            is_mine = self._changes_in == threading.get_ident()
            if self._state == _STOPPING and is_mine and not self._stop_begun:
                self._stop()
            raise

    def _begin_stop(self) -> bool:
        """Return whether this thread is the one to stop the gateway; wait where it is not."""
        with self._state_changed:
            while self._state in (_STARTING, _STOPPING):
                is_mine = self._changes_in == threading.get_ident()
                if self._state == _STOPPING and (is_mine or current_event() is not None):
                    return False  # what waited here would be waited for
                if self._state == _STARTING:
                    # what the start waits for may end by these
                    self.runev.clear()
                    self.stopev.set()
                    if is_mine or self._sources.starting.is_waited_for():
                        self._stop_asked = True
                        return False
                    with self._watch():
                        self._state_changed.wait()
                else:  # who stops it says what it waits for
                    self._state_changed.wait()
            if self._state == _STOPPED:
                return False
            self._changes_in = threading.get_ident()
            self._stop_begun = False
            self._state = _STOPPING
            return True

    def _stop(self) -> None:
        watch: Optional[StopWatch] = None
        try:
            try:
                self._stop_begun = True
                self._changes_in = threading.get_ident()
                with interruption_waits():
                    watch = self._watch()
                    self.runev.clear()
                    self.stopev.set()
                    self._sources.cancel()
                self._supervision.stopping(for_good=self._exit.requested)
                self._tell_client("_gateway_stopping", STOP_GRACE)
                watch.begin()
            finally:  # whatever Ctrl-C ends of that
                if not self.stopev.is_set():  # it came before the block
                    self.runev.clear()
                    self.stopev.set()  # start handlers wait for it
                self._sources.stop()
        finally:  # also where Ctrl-C ends the waiting: what is stored must be on disk
            try:
                with interruption_waits():
                    self._close(watch)
            except BaseException:
                if self._state != _STOPPED:  # it came just before the block
                    with interruption_waits():
                        self._close(watch)
                raise
        logger.debug("the gateway is stopped")

    def _close(self, watch: Optional[StopWatch]) -> None:
        self._started_at = None
        try:
            self._sources.cancel()
            self._modules.tell("_gateway_stopped")
        finally:
            self._tell_client("_gateway_stopped")
            self._supervision.stopped()
            self._config.trial.ended(clean=not self._failed and self._exit.code == 0)
            if watch is not None:
                watch.end()
            stopped(self)
            self._enter(_STOPPED)

    def _leave_to_parent(self) -> None:
        """In a forked child, forget that the gateway runs: it does so in the parent."""
        if self._state != _STOPPED and self._process != os.getpid():
            self._state, self._state_changed = _STOPPED, threading.Condition()
            self._exit = SignalExit(self)

    def _watch(self) -> StopWatch:
        """Return what says for what a stop waits: for handlers, else for the gateway itself."""
        return StopWatch(lambda: self._sources.busy() or [("the gateway", self._changes_in)])

    def timer_stats(self) -> List[TimerStats]:
        """Return figures of the timer of each tick handler, in order of the modules.

        They count from when the timers were made, with the gateway or at the start after an
        update that brought them; starting again does not set them back.
        """
        return [one for tick in self._sources.ticks for one in tick.stats()]

    def status(self) -> Dict[str, Any]:
        """Return what the command ``status`` answers with: how the gateway fares, for JSON.

        Modules and the client add to it by a method ``_gateway_status()``.
        """
        from .status import status_of  # here, since many gateways are never asked

        return status_of(self)

    def _enter(self, state: str) -> None:
        with self._state_changed:
            self._state = state
            self._state_changed.notify_all()

    def _tell_client(self, hook: str, *args: Any) -> None:
        tell(self.uuapp_client, hook, "the client", *args)

    def _close_unstarted(self, made: List[Any]) -> None:
        """Close what a gateway that cannot be built has opened, also modules not taken in yet."""
        self._modules.tell("_gateway_stopped")
        for module in made:
            if all(module is not known for known in self._modules.values()):
                for part in parts_of(module):
                    tell(part, "_gateway_stopped", type(part).__name__)
        self._tell_client("_gateway_stopped")
        self._forget_modules()

    def _forget_modules(self) -> None:
        """Let go of the modules and their handlers."""
        self._modules.clear()
        for event in self._events:
            event.clear_handlers()
            vars(event).pop(OWNERS, None)

    def __enter__(self: G) -> G:
        entered(self)
        try:
            self.start()
        except BaseException:
            # Ctrl-C where the start was just done
            if self._state == _RUNNING:
                self.stop()
            elif self._state == _STARTING and self._changes_in == threading.get_ident():
                self._stop()
            if self._state == _STOPPED:
                stopped(self)
            raise
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            self._failed = self._failed or is_failure(exc)
            self.stop()
        except BaseException:
            if self._state == _RUNNING:  # Ctrl-C came before anything of that was done
                self.stop()
            raise
        # after it, since the signal may come while this thread stops the gateway
        if (
            self._exit.requested
            and not self._exit.exiting
            and threading.current_thread() is threading.main_thread()
        ):
            self._exit.join()

    # -- signals --------------------------------------------------------------------------------

    def signal_handler(
        self,
        sig: int,
        frame: Optional[FrameType],
        additional_cleanup: Optional[Callable[[Gateway], None]] = None,
    ) -> None:
        """Stop the gateway and end the process; register it with `signal.signal`.

        SIGINT, SIGTERM and SIGUSR2 end with exit status 0, SIGUSR1 with 1. The gateway is
        stopped in another thread; when that is done, the main thread raises `SystemExit`.
        A second SIGINT or SIGTERM meanwhile ends the process at once with 128 + signal.

        Args:
            sig: the signal.
            frame: ignored.
            additional_cleanup: called with the gateway when it has stopped, before the
                exit; bind it with `functools.partial`.
        """
        known = {"SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"}
        name = signal.Signals(sig).name
        if name not in known:  # an exception here would end the process
            logger.warning("%s does not end a gateway: it is ignored", name)
            return
        self._exit.handle(sig, additional_cleanup)
