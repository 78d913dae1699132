"""A gateway in a process of its own that tells on its output what it does, for console tests."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from typing import Any, Dict, List

from uun_iot import Gateway, Module, UuAppClient, UuCmdSession, on


class Weather(Module):
    """Measures and sends; entries have ids that count."""

    id = "weather"

    def __init__(self, config: Dict[str, Any], uuclient: UuAppClient) -> None:
        super().__init__(config=config["gateway"])
        self.client = uuclient
        self.command = config["uuApp"]["uuCmdList"]["weatherAdd"]
        self.number = 0

    def tell(self, **what: Any) -> None:
        told = {**what, "measured": self.number, "backlog": len(self._storage)}
        sys.stdout.write(json.dumps(told) + "\n")  # at once: handlers run in several threads
        sys.stdout.flush()

    @on("update")
    def update(self) -> None:
        self.tell(place=self._c("place"))

    @on("tick", "measure")
    def measure(self) -> None:
        self.number += 1
        entry = {"id": f"w-{self.number}", "temperature": 20 + time.time() % 7}
        self._storage.append(entry, backup=True)
        self.tell()

    @on("tick", "send")
    def send(self) -> None:
        self._send_storage(self.post)
        self.tell()

    def post(self, entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        session = UuCmdSession(self.client, self.command, log_level=logging.DEBUG)
        for at, entry in enumerate(entries):
            if session.post(entry)[1] is not None:
                return entries[at:]
        return []


if __name__ == "__main__":
    with Gateway(sys.argv[1], Weather) as gateway:
        signal.signal(signal.SIGTERM, gateway.signal_handler)
        gateway.stopev.wait()
