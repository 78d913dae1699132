"""The whole story in half a minute: measure, lose the server, get killed, lose nothing.

Starts the embedded uuApp and `examples/machine.py` as a process of its own, takes the server
away, kills the gateway with SIGKILL in the middle of the outage, starts it again, brings the
server back, and counts. Exit status 0 only if no stored measurement was lost, and if there was
something to lose: a backlog at the kill, which drained after the server's return.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Set

from uun_iot import Storage
from uun_iot.sandbox import Sandbox
from uun_iot.sandbox.records import Request

COMMAND = "machine/add"
GATEWAY = Path(__file__).with_name("machine.py")


class Story:
    """Prints what happens, and remembers what was stored and what arrived."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._changed = threading.Condition()
        self._online: Optional[bool] = None
        self.stored: Set[str] = set()
        self.arrived: Counter[str] = Counter()
        self.backlog = 0
        self.most = 0

    def tell(self, who: str, what: str) -> None:
        """Print one line."""
        with self._changed:
            print(f"{time.monotonic() - self._begin:6.1f} s  {who:<8}{what}", flush=True)

    def request(self, request: Request) -> None:
        """Take note of a request at the server; called in its connection's thread."""
        if request.command == COMMAND and request.processed and request.dto_in:
            with self._changed:
                self.arrived[request.dto_in["id"]] += 1
        elif request.status != 200:
            self.tell("server", f"{request.command} answered with {request.status}")
        elif request.command == "gateway/heartbeat":
            figures = request.dto_in or {}
            self.tell(
                "server",
                f"heartbeat: CPU {figures.get('cpuUsage')} %, RAM {figures.get('ramUsage')} %",
            )
        else:
            self.tell("server", f"{request.command}")

    def event(self, event: Dict[str, Any]) -> None:
        """Take note of an event that the gateway's process reported."""
        kind, backlog = event["event"], event["backlog"]
        with self._changed:
            self.backlog, self.most = backlog, max(self.most, backlog)
            if kind == "stored":
                self.stored.add(event["id"])
            self._changed.notify_all()
        waiting = f"{backlog} waiting" if backlog else "none waiting"
        if kind == "ready":
            self.tell("gateway", f"is up, {waiting} from before")
        elif kind == "stored":
            degrees = event["temperature"]
            self.tell(
                "gateway",
                f"measured load {event['load']:.2f}, memory {event['memory']} %, disk "
                f"{event['disk']} %, {'no sensor' if degrees is None else f'{degrees:.0f} °C'}; "
                f"{waiting}",
            )
        elif event["count"]:
            self.tell("gateway", f"delivered {event['count']}, {waiting}")

    def wait(self, reached: float) -> None:
        """Wait until so many seconds of the story have passed."""
        time.sleep(max(self._begin + reached - time.monotonic(), 0))

    def wait_drained(self, timeout: float) -> bool:
        """Wait until the gateway has reported an empty backlog."""
        with self._changed:
            return self._changed.wait_for(lambda: self.backlog == 0, timeout)


class GatewayProcess:
    """The gateway in a process of its own, its reports going to the story."""

    def __init__(self, story: Story, directory: Path, ca_file: str) -> None:
        environment = {
            **os.environ,
            "REQUESTS_CA_BUNDLE": ca_file,
            "NO_PROXY": "localhost",
            "PYTHONUNBUFFERED": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(GATEWAY), "config.json"],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._story = story
        self._reader = threading.Thread(target=self._read, name="gateway's output")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{") and line.endswith("}\n"):  # a killed process's last may be cut
                self._story.event(json.loads(line))
            else:
                self._story.tell("gateway", f"log: {line.rstrip()}")

    def end(self, sig: signal.Signals) -> int:
        """Send a signal and wait for the end; return the exit status."""
        self._process.send_signal(sig)
        try:
            return self._process.wait(timeout=30)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            if self._process.stdout is not None:
                self._process.stdout.close()


def left_over(directory: Path) -> List[Dict[str, Any]]:
    """Return the entries that are still stored."""
    with Storage("left over", str(directory / "backup" / "machine.json")) as storage:
        return [entry for entry in storage.data if isinstance(entry, dict)]


class Outcome(NamedTuple):
    """What the story came to.

    Args:
        produced: how many measurements were stored.
        delivered: how many of them the server has.
        duplicated: how many deliveries were of one that it had already.
        lost: how many are neither at the server nor in the backup file.
        on_device: how many are in the backup file only.
        at_kill: how many waited when the gateway was killed.
        drained: whether none waited any more some time after the server's return.
        status: exit status of the gateway after SIGTERM.
    """

    produced: int
    delivered: int
    duplicated: int
    lost: int
    on_device: int
    at_kill: int
    drained: bool
    status: int

    def wrong(self) -> List[str]:
        """Return what was not as it must be, a sentence each."""
        conditions = {
            "nothing was produced": self.produced == 0,
            "nothing was delivered": self.delivered == 0,
            f"{self.lost} of {self.produced} were lost": self.lost != 0,
            "nothing waited when the gateway was killed": self.at_kill == 0,
            "the backlog did not drain after the server's return": not self.drained,
            f"the gateway ended with exit status {self.status}": self.status != 0,
        }
        return [sentence for sentence, so in conditions.items() if so]

    def table(self) -> str:
        """Return the figures in a line."""
        rows = {
            "produced": self.produced,
            "delivered": self.delivered,
            "duplicated": self.duplicated,
            "lost": self.lost,
        }
        if self.on_device:
            rows["still on the device"] = self.on_device
        return "   ".join(f"{name} {count}" for name, count in rows.items())


def play(
    seconds: float, directory: Path, server: Optional[Sandbox] = None, patience: float = 30
) -> bool:
    """Play the story; return whether all was as it must be.

    Args:
        seconds: how long it takes.
        directory: of the gateway's files.
        server: the uuApp, not started; by default one of its own.
        patience: seconds in which the backlog must drain after the server's return.
    """
    story = Story()
    with server or Sandbox() as server:
        server.on_request = story.request
        gateway_part = {
            "moduleTimers": {"machine": {"read": 1, "send": 2}, "heartbeat": 5},
            "moduleBackupStorage": {"machine": "backup/machine.json"},
        }
        config = server.configuration(gateway=gateway_part, commands={"machineAdd": COMMAND})
        (directory / "config.json").write_text(json.dumps(config, indent=4))

        story.tell(
            "demo", f"a uuApp at https://{server.gateway}, a gateway that measures this machine"
        )
        gateway = GatewayProcess(story, directory, server.ca_file)
        try:
            story.wait(seconds * 0.25)
            story.tell("demo", "*** the server goes down")
            server.outage()
            story.wait(seconds * 0.45)
            at_kill = story.backlog
            story.tell("demo", f"*** kill -9 of the gateway, with {at_kill} waiting")
            gateway.end(signal.SIGKILL)
            story.tell("demo", "*** the gateway starts again, the server is still down")
            gateway = GatewayProcess(story, directory, server.ca_file)
            story.wait(seconds * 0.7)
            story.tell("demo", f"*** the server returns, {story.backlog} wait")
            server.restore()
            story.wait(seconds * 0.8)
            drained = story.wait_drained(patience)
            story.wait(seconds - 1)
            story.tell("demo", "*** SIGTERM to the gateway")
        finally:
            status = gateway.end(signal.SIGTERM)
        story.tell("demo", f"the gateway ended with exit status {status}")
    outcome = count(story, left_over(directory), at_kill, drained, status)
    print(f"\n  {outcome.table()}")
    print(f"  (the longest backlog was {story.most}; one kill -9, one outage)")
    for sentence in outcome.wrong():
        print(f"  not as it must be: {sentence}")
    return not outcome.wrong()


def count(
    story: Story, waiting: List[Dict[str, Any]], at_kill: int, drained: bool, status: int
) -> Outcome:
    """Count what became of the measurements; ``waiting`` are those in the backup file."""
    arrived = set(story.arrived)
    produced = story.stored | arrived
    on_device = {entry["id"] for entry in waiting} - arrived
    return Outcome(
        produced=len(produced),
        delivered=len(arrived),
        duplicated=sum(times - 1 for times in story.arrived.values()),
        lost=len(produced - arrived - on_device),
        on_device=len(on_device),
        at_kill=at_kill,
        drained=drained,
        status=status,
    )


def main() -> int:
    """Parse the arguments and play."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=25, help="length of the story (default 25, at least 10)"
    )
    arguments = parser.parse_args()
    if not 10 <= arguments.seconds <= 3600:
        parser.error("--seconds: expected 10 to 3600")
    with tempfile.TemporaryDirectory(prefix="uun-iot-demo-") as directory:
        return 0 if play(arguments.seconds, Path(directory)) else 1


if __name__ == "__main__":
    sys.exit(main())
