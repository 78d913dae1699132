"""A gateway that measures the machine it runs on: load, temperature, memory, disk, network.

Run it with ``python examples/machine.py config.json``; `examples/demo.py` does so against
the embedded uuApp. It prints one JSON line an event, for whoever watches it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

import psutil

from uun_iot import Gateway, Module, UuAppClient, UuCmdSession, get_iso_timestamp, on

_printing = threading.Lock()


def report(event: str, **details: Any) -> None:
    """Print an event as one JSON line."""
    with _printing:
        print(json.dumps({"event": event, **details}), flush=True)


def temperature() -> Optional[float]:
    """Return degrees Celsius of the warmest sensor, or None where there is none."""
    read = getattr(psutil, "sensors_temperatures", None)  # not on every system
    readings = [one.current for group in (read() if read else {}).values() for one in group]
    return max(readings, default=None)


class Machine(Module):
    """Reads this machine's figures at each ``read`` tick, sends them at each ``send`` tick."""

    id = "machine"

    def __init__(self, config: Dict[str, Any], uucmd: Any) -> None:
        super().__init__(config=config)
        self._post = uucmd
        self._run = f"{time.time_ns():x}"  # tells the entries of this process from others'
        self._number = 0
        report("ready", backlog=len(self._storage))

    @on("tick", "read")
    def read(self) -> None:
        """Read the figures and store them; from then on they must arrive."""
        network = psutil.net_io_counters()
        self._number += 1
        entry = {
            "id": f"{self._run}-{self._number}",
            "timestamp": get_iso_timestamp(datetime.now(timezone.utc)),
            "load": round(os.getloadavg()[0], 2),
            "temperature": temperature(),
            "memory": psutil.virtual_memory().percent,
            "disk": psutil.disk_usage("/").percent,
            "bytesSent": network.bytes_sent if network else None,
            "bytesReceived": network.bytes_recv if network else None,
        }
        self._storage.append(entry, backup=True)
        report("stored", backlog=len(self._storage), **entry)

    @on("tick", "send")
    @on("stop")
    def send(self) -> None:
        """Send what is stored; what fails stays."""
        self._send_storage(self._upload)

    def _upload(self, entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        failed: List[Dict[str, Any]] = self._post(entries)
        sent = len(entries) - len(failed)
        report("sent", count=sent, backlog=len(self._storage) - sent)
        return failed


def init(config: Dict[str, Any], uuclient: UuAppClient) -> List[Module]:
    """Make the modules."""

    def send(entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        session = UuCmdSession(
            uuclient, config["uuApp"]["uuCmdList"]["machineAdd"], log_level=logging.DEBUG
        )
        failed: List[Dict[str, Any]] = []
        for entry in entries:
            # the rest of an outage's backlog is not tried one by one
            error = None if failed else session.post(entry)[1]
            if error is not None or failed:
                failed.append(entry)
        return failed

    return [Machine(config["gateway"], send)]


def main() -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    with Gateway(sys.argv[1], init) as gateway:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(one, gateway.signal_handler)
        gateway.stopev.wait()


if __name__ == "__main__":
    main()
