"""The library's own modules, for a gateway and for the ``event_init`` of an application."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional

from uun_iot_client import UuAppClient
from uun_iot_core import Config, Event, IModule, on
from uun_iot_core.events import EvConfUpdate, EvExternal, EvTick, attach_handlers
from uun_iot_core.events.attach import completed

from .Heartbeat import Heartbeat, heartbeat_command

__all__ = ["ConfigUpdates", "init_library_module_events", "library_modules"]


class ConfigUpdates(IModule):
    """Stands for the ``config`` of a gateway in an ``event_init``; the gateway connects them."""

    id: str = Config.id

    def __init__(self) -> None:
        #: set by the gateway
        self.target: Optional[Config] = None

    @on("tick")
    def on_tick(self) -> None:
        """Get the configuration from the uuApp, as `Config.on_tick` does, if there is a gateway."""
        if self.target is not None:
            self.target.on_tick()


def library_modules(config: Dict[str, Any], uuclient: UuAppClient) -> List[Any]:
    """Return the library's modules that a configuration asks for, but for ``config``.

    Args:
        config: the whole configuration.
        uuclient: the client.
    """
    command = heartbeat_command(config, uuclient)
    return [] if command is None else [Heartbeat(command)]


def init_library_module_events(
    config_path: Optional[str],
    config: Dict[str, Any],
    uuclient: UuAppClient,
    events: Optional[Iterable[Event]] = None,
) -> List[Event]:
    """Add what the library does by itself to event sources, for an ``event_init``.

    These are the updates of the configuration, the heartbeat where it is configured, and the
    command socket.

    Example::

        def event_init(config_file, config, uuclient):
            events = attach_handlers(config, [Weather(config["gateway"])])
            return init_library_module_events(config_file, config, uuclient, events)

        with Gateway("config.json", None, event_init) as g:
            g.stopev.wait()

    Args:
        config_path: path of the configuration; None where there is no file to update.
        config: the whole configuration.
        uuclient: the client.
        events: the sources that there are already.

    Returns:
        The sources: those given, and those that were made.
    """
    modules = library_modules(config, uuclient)
    if config_path is not None:
        modules.append(ConfigUpdates())
    own = [EvTick(config), EvConfUpdate(config), EvExternal(config)]
    return attach_handlers(config, modules, completed(own, events or ()))
