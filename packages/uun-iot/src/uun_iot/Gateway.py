"""`Gateway` with a client of the uuApp and the library's own modules."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import uun_iot_core
from uun_iot_client import UuAppClient
from uun_iot_core import SYSTEM_CLOCK, Clock, Config, ModuleTimer

from .modules.counters import counters_of
from .modules.Heartbeat import Heartbeat, heartbeat_command

__all__ = ["Config", "Gateway", "ModuleTimer"]


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
        config_file: path of the JSON configuration.
        module_init: ``init(config, uuclient)`` that returns a module, an iterable of
            modules, or None.
        clock: what timers and the client read the time from.

    Raises:
        ConfigError: the configuration is missing, damaged or not valid, or does not fit
            the modules.
        ModuleError: a module has neither id nor handlers, or two have one id.
    """

    uuapp_client: UuAppClient

    def __init__(
        self,
        config_file: str,
        module_init: Optional[Callable[..., Any]] = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        def client(config: Dict[str, Any]) -> UuAppClient:
            return UuAppClient(config, refresh_token_on_init=False, clock=clock)

        super().__init__(
            config_file,
            module_init,
            clock=clock,
            client=client,
            library_modules=_library_modules,
        )
        heartbeat = self._modules.get(Heartbeat.id)
        if isinstance(heartbeat, Heartbeat):
            heartbeat._counters = counters_of(self)


def _library_modules(config: Dict[str, Any], uuclient: UuAppClient) -> List[Any]:
    command = heartbeat_command(config, uuclient)
    return [] if command is None else [Heartbeat(command)]
