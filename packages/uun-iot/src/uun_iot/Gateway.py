"""`Gateway` with a client of the uuApp and the library's own modules."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Optional

import uun_iot_core
from uun_iot_client import UuAppClient
from uun_iot_core import (
    SYSTEM_CLOCK,
    Clock,
    Config,
    Event,
    EventRegister,
    IModule,
    ModuleTimer,
    RepeatTimer,
    on,
)

from .modules.counters import counters_of
from .modules.Heartbeat import Heartbeat
from .modules.library import ConfigUpdates, library_modules

# some of them are there since applications import them from here
__all__ = ["Config", "Gateway", "IModule", "ModuleTimer", "RepeatTimer", "on"]


class Gateway(uun_iot_core.Gateway):
    """Loads a configuration, makes the user's modules, and calls their handlers.

    A context manager: entering starts the gateway, leaving stops it. ``uuapp_client`` is a
    client for the configured uuApp, which is also what ``module_init`` gets. Beside the
    user's modules there are ``config``, which takes new configuration from the uuApp, and
    ``heartbeat``, where ``uuApp.uuCmdList.gatewayHeartbeat`` is set; each acts only where
    ``gateway.moduleTimers`` has a period for it.

    The gateway starts whatever the network does: a token is asked for when a call first
    needs one.

    Example::

        with Gateway("config.json", init) as g:
            signal.signal(signal.SIGTERM, g.signal_handler)
            g.stopev.wait()

    Args:
        config_file: path of the JSON configuration; without one the configuration is empty.
        module_init: ``init(config, uuclient)`` that returns a module, an iterable of
            modules, or None; one with three required parameters gets an `EventRegister` first.
        event_init: in place of it, ``event_init(config_file, config, uuclient)`` that returns
            event sources, see `attach_handlers`; ``config`` and ``heartbeat`` are there only
            if it adds them by `uun_iot.modules.init_library_module_events`.
        event_register: taken as applications of 0.11 give it; it changes nothing.
        clock: what timers and the client read the time from.

    Raises:
        ConfigError: the configuration is missing, damaged or not valid, or does not fit
            the modules.
        ModuleError: a module has neither id nor handlers, two have one id, or one command.
        UnsupportedEvent: a module has a handler of an event that is not the library's.
        ValueError: there are both ``module_init`` and ``event_init``.
    """

    uuapp_client: UuAppClient

    def __init__(
        self,
        config_file: Optional[str] = None,
        module_init: Optional[Callable[..., Any]] = None,
        event_init: Optional[Callable[..., Iterable[Event]]] = None,
        *,
        event_register: Optional[EventRegister] = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        def client(config: Dict[str, Any]) -> UuAppClient:
            return UuAppClient(config, refresh_token_on_init=False, clock=clock)

        super().__init__(
            config_file,
            module_init,
            event_init,
            clock=clock,
            client=client,
            library_modules=library_modules,
        )
        heartbeat = self._modules.get(Heartbeat.id)
        if isinstance(heartbeat, Heartbeat):
            heartbeat._counters = counters_of(self)
        polls = self._modules.get(ConfigUpdates.id)
        if isinstance(polls, ConfigUpdates):
            polls.target = self._config
