"""`Heartbeat`: tells the uuApp that the gateway is there, and how it fares."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Optional

from uun_iot_client import UuAppClient
from uun_iot_core import IModule, get_iso_timestamp, on
from uun_iot_core.logs import get_logger

from .counters import Counters

__all__ = ["Heartbeat", "heartbeat_command"]

logger = get_logger(__name__)


class Heartbeat(IModule):
    """Sends a heartbeat at each tick, and knows whether the uuApp can be reached.

    The heartbeat holds ``bootTimestamp`` (ISO 8601, UTC), ``cpuUsage`` (percent since the
    last heartbeat) and ``ramUsage`` (percent); they are None where ``psutil`` is not
    installed. With ``gateway.heartbeat.extended`` it also holds what has been counted since
    the last heartbeat that arrived: entries ``sent``, ``failed`` and ``dropped`` by the
    storages of all modules, ``restarts`` of the gateway, ``overruns`` of its timers, and
    ``rollBacks`` of its configuration.

    Args:
        uucmd: sends its argument and returns the response, or something falsy if that
            failed.
    """

    id: str = "heartbeat"

    def __init__(self, uucmd: Callable[[Dict[str, Any]], Any]) -> None:
        #: whether the last heartbeat arrived
        self.online = False
        self._said: Optional[bool] = None  # what the log says of that
        self._uucmd = uucmd
        self._figures = _figures_reader()
        #: set by the gateway that this module is of
        self._counters: Optional[Counters] = None

    @on("tick")
    def on_tick(self) -> None:
        """Send a heartbeat; log ``online`` or ``offline``, at first and where that has changed."""
        counters = self._counters
        told = counters.pending() if counters is not None and counters.wanted() else {}
        arrived = False
        try:
            response = self._uucmd({**self._figures(), **told})
            status = getattr(response, "status_code", 200)
            arrived = bool(response) and 200 <= status < 300
        finally:
            self._set_online(arrived)
            if counters is not None and arrived:
                counters.arrived(told)
            elif counters is not None and told:
                counters.failed()

    def _gateway_started(self) -> None:
        if self._counters is not None:
            self._counters.started()

    def _gateway_stopped(self) -> None:
        if self._counters is not None:
            self._counters.stopped()

    def _gateway_status(self) -> Dict[str, Any]:
        """Tell the gateway's status command whether the uuApp can be reached, where it is known."""
        return {"online": None if self._said is None else self.online}

    def _set_online(self, online: bool) -> None:
        self.online = online
        if online is self._said:
            return
        self._said = online
        if online:
            logger.info("online")
        else:
            logger.warning("offline")


def _figures_reader() -> Callable[[], Dict[str, Any]]:
    """Return a function that reads the figures of this machine."""
    try:
        import psutil
    except ImportError:
        logger.info("psutil is not installed: heartbeats carry no figures (uun-iot[system])")
        return lambda: {"bootTimestamp": None, "cpuUsage": None, "ramUsage": None}
    psutil.cpu_percent()  # the first call only sets the point that the next one counts from

    def read() -> Dict[str, Any]:
        boot = datetime.fromtimestamp(psutil.boot_time(), timezone.utc)
        return {
            "bootTimestamp": get_iso_timestamp(boot),
            "cpuUsage": psutil.cpu_percent(),
            "ramUsage": psutil.virtual_memory().percent,
        }

    return read


def heartbeat_command(
    config: Dict[str, Any], uuclient: UuAppClient
) -> Optional[Callable[[Dict[str, Any]], Any]]:
    """Return what sends a heartbeat to the configured uuApp, or None if none is configured.

    Args:
        config: the whole configuration.
        uuclient: the client.
    """
    commands = (config.get("uuApp") or {}).get("uuCmdList") or {}
    if not commands.get("gatewayHeartbeat"):
        return None

    def send(dto_in: Dict[str, Any]) -> Any:
        # read at each call: an application may change it
        command = config["uuApp"]["uuCmdList"]["gatewayHeartbeat"]
        response, error = uuclient.post(command, dto_in, log_level=logging.DEBUG)
        return response if error is None else None

    return send
