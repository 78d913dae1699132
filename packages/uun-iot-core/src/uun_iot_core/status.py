"""`status_of`: how a gateway fares, as one object for JSON."""

from __future__ import annotations

import itertools
import json
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Dict, Optional

from ._version import __version__
from .events.base import own
from .logs import get_logger
from .timer_stats import TimerStats
from .timestamps import get_iso_timestamp

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["status_of"]

logger = get_logger(__name__)


def status_of(gateway: Gateway) -> Dict[str, Any]:
    """Return how a gateway fares; durations in seconds, moments in ISO 8601.

    Core knows of no storage and no token: modules, submodules and the client tell of theirs by a
    method ``_gateway_status()`` that returns an object to be merged into the whole.

    Args:
        gateway: the gateway.
    """
    begun, config = gateway._started_at, gateway._config
    uptime = None if begun is None else gateway._clock.monotonic() - begun[1]
    status: Dict[str, Any] = {
        "version": __version__,
        "pid": os.getpid(),
        "started": None if begun is None else _iso(begun[0]),
        "uptime": uptime,
        "online": None,
        "timers": [_timer(one) for one in gateway.timer_stats()],
        "storages": {},
        "token": None,
        "configuration": {
            "file": config._path or None,
            "lastUpdate": _iso(config.updated),
            "rolledBack": config.trial.rolled_back,
        },
    }
    for name, source in (("the client", gateway.uuapp_client), *gateway._modules.parts()):
        tell = own(source, "_gateway_status")
        if tell is None:
            continue
        try:
            told = dict(tell())
            json.dumps(told, allow_nan=False)
        except Exception:
            logger.error("%s tells no status", name, exc_info=True)
            continue
        for key, value in told.items():
            known = status.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                status[key] = {**known, **_renamed(value, known)}
            elif known is None:  # what is known already is not replaced
                status[key] = value
    return status


def _renamed(told: Dict[str, Any], known: Dict[str, Any]) -> Dict[str, Any]:
    """Give what has the name of something known another one: two submodules may have one id."""
    renamed: Dict[str, Any] = {}
    for name, value in told.items():
        names = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
        renamed[next(one for one in names if one not in known and one not in renamed)] = value
    return renamed


def _timer(stats: TimerStats) -> Dict[str, Any]:
    failed = stats.last_exception is not None
    return {
        "name": stats.name.partition(" ")[2],  # without "tick"
        "period": stats.period,
        "running": stats.running,
        "lastTick": _iso(stats.last_start),
        "nextTick": _iso(stats.next_start),
        "runningFor": stats.running_for,
        "duration": stats.duration,
        "maxDuration": stats.max_duration,
        "lateness": stats.lateness,
        "maxLateness": stats.max_lateness,
        "calls": stats.calls,
        "missed": stats.missed,
        "overruns": stats.overruns,
        "failures": stats.failures,
        "lastError": (
            {"type": stats.last_exception, "at": _iso(stats.last_failure)} if failed else None
        ),
    }


def _iso(seconds: Optional[float]) -> Optional[str]:
    if seconds is None:
        return None
    try:
        return get_iso_timestamp(datetime.fromtimestamp(seconds, timezone.utc))
    except (OverflowError, ValueError, OSError):  # a clock set beyond what has a date
        return None
