"""`Counters`: what has happened since the last heartbeat that arrived."""

from __future__ import annotations

import json
import os
import threading
from math import inf
from typing import Any, Callable, Dict, Optional, Tuple

from uun_iot_core import Clock, Gateway, atomic_write
from uun_iot_core.logs import get_logger
from uun_iot_storage import Storage

__all__ = ["Counters", "counters_of"]

logger = get_logger(__name__)

#: seconds between two writes in an outage at least, since flash memory wears out
KEEP_EVERY = 600.0

NAMES = ("sent", "failed", "dropped", "restarts", "overruns", "rollBacks")


class Counters:
    """Counts on until a heartbeat with the counts has arrived, also over restarts.

    The file is written at start and at stop, where counts in it have arrived, and in an outage
    now and then; a process that is killed loses what was counted since.

    Args:
        path: the file that keeps them.
        clock: says when to write it in an outage.
        read: returns counts of this process by name, and there by what counts them; one that
            falls has begun anew.
        wanted: returns whether they are sent; if not, the file is left alone.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        read: Callable[[], Dict[str, Dict[Any, int]]],
        wanted: Callable[[], bool],
    ) -> None:
        self._path = path
        self._clock = clock
        self._read = read
        self.wanted = wanted
        self._carried = dict.fromkeys(NAMES, 0)
        self._arrived = dict.fromkeys(NAMES, 0)
        self._counted = dict.fromkeys(NAMES, 0)
        self._last: Dict[Tuple[str, Any], int] = {}
        self._restarts = 0
        self._loaded = False
        self._in_file: Dict[str, int] = {}
        self._saved_at = -inf
        self._lock = threading.Lock()

    def pending(self) -> Dict[str, int]:
        """Return what is to be told by the next heartbeat."""
        with self._lock:
            return self._pending()

    def _pending(self) -> Dict[str, int]:
        if not self._loaded:  # at the start, or where an update asks for counters later
            self._loaded = True
            self._carried.update(self._load())
        live = {**self._read(), "restarts": {None: self._restarts}}
        for name, counts in live.items():
            for source, count in counts.items():
                last = self._last.get((name, source), 0)
                self._counted[name] += count - last if count >= last else count
                self._last[name, source] = count
        return {
            name: self._carried[name] + self._counted[name] - self._arrived[name] for name in NAMES
        }

    def arrived(self, told: Dict[str, int]) -> None:
        """Count no more what a heartbeat has told.

        Args:
            told: what `pending` returned for it.
        """
        with self._lock:
            for name, count in told.items():
                self._arrived[name] += count
            if any(self._in_file.values()):
                # not what has come meanwhile: it would be written after each heartbeat then
                self._save(dict.fromkeys(NAMES, 0))

    def failed(self) -> None:
        """Keep what a heartbeat could not tell, for a process that ends without a stop."""
        with self._lock:
            due = self._clock.monotonic() >= self._saved_at + KEEP_EVERY
            if due and self._pending() != self._in_file:
                self._save()

    def started(self) -> None:
        """Note that the gateway starts; where it has run before, that is a restart."""
        if not self.wanted():
            return
        with self._lock:
            if self._loaded or os.path.exists(self._path):
                self._restarts += 1
            self._save()

    def stopped(self) -> None:
        """Keep for the next process what has not arrived."""
        if self.wanted():
            with self._lock:
                self._save()

    def _load(self) -> Dict[str, int]:
        try:
            with open(self._path, encoding="utf-8") as file:
                found = json.load(file)
            return {name: int(found[name]) for name in NAMES if name in found}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, OverflowError, RecursionError):
            logger.warning("%s cannot be read; the counters of heartbeats begin at 0", self._path)
            return {}

    def _save(self, pending: Optional[Dict[str, int]] = None) -> None:
        try:
            self._saved_at = self._clock.monotonic()
            if pending is None:
                pending = self._pending()
            atomic_write(self._path, json.dumps(pending) + "\n", 0o600)
            self._in_file = pending
        except OSError as exc:  # counters are not worth a failing start
            logger.warning("%s cannot be written: %s", self._path, exc.strerror)


def counters_of(gateway: Gateway) -> Counters:
    """Return the counters of a gateway: its modules' storages, its timers, its restarts.

    Args:
        gateway: the gateway.
    """
    config = gateway._config

    def read() -> Dict[str, Dict[Any, int]]:
        found = [getattr(part, "_storage", None) for _, part in gateway._modules.parts()]
        storages = {id(one): one for one in found if isinstance(one, Storage)}
        stats = {key: one.stats() for key, one in storages.items()}  # one may be shared
        return {
            "sent": {key: one.sent for key, one in stats.items()},
            "failed": {key: one.failed for key, one in stats.items()},
            "dropped": {key: one.dropped for key, one in stats.items()},
            "overruns": {one.name: one.overruns for one in gateway.timer_stats()},
            "rollBacks": {None: int(config.trial.rolled_back)},
        }

    def wanted() -> bool:
        heartbeat: Dict[str, Any] = gateway.config["gateway"].get("heartbeat", {})
        return heartbeat.get("extended", False) is True

    return Counters(f"{config._path}.counters", gateway._clock, read, wanted)
