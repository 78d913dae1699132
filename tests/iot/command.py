"""The command `uun-iot`, run as people run it, for the tests of its parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from tests.support.processes import Child

UUN_IOT = [sys.executable, "-W", "error", "-m", "uun_iot"]

#: an application that prints what it is told, as lines
WEATHER = """
import os, sys, threading, time
from uun_iot import Module, attach_handlers, on

def say(text):
    os.write(1, (text + "\\n").encode())  # whole, from any thread

class Weather(Module):
    @on("start")
    def start(self, evs):
        say("start")

    @on("tick", "measure")
    def measure(self):
        self._storage.append({"n": len(self._storage)}, backup=True)
        say("measure")

    @on("tick", "send")
    def send(self):
        say("send")

    @on("stop")
    def stop(self):
        say("stop")

def init(config, uuclient):
    return Weather(config["gateway"])

def several(config, uuclient):
    yield Weather(config["gateway"])

def none(config, uuclient):
    say("none")

def registering(ev, config, uuclient):
    class Registered:
        id = "weather"

        @ev.on("tick", "measure")
        def measure(self):
            say("measure")

        @ev.on("tick", "send")
        def send(self):
            say("send")

        @ev.on("start")
        def start(self, evs):
            say("start")

        @ev.on("stop")
        def stop(self):
            say("stop")

    return Registered()

def events(config_file, config, uuclient):
    return attach_handlers(config, [Weather(config["gateway"])])

def broken(config, uuclient):
    raise LookupError("no such sensor")

class factory:
    @staticmethod
    def make(config, uuclient):
        return [Weather(config["gateway"])]

not_a_function = 5
"""

TIMERS: Dict[str, Any] = {"gateway": {"moduleTimers": {"weather": {"measure": 0.2, "send": 3600}}}}


def run(
    *arguments: str,
    cwd: Path,
    env: Optional[Dict[str, str]] = None,
    program: Optional[List[str]] = None,
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*(program or UUN_IOT), *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def child(*arguments: str, cwd: Path, env: Optional[Dict[str, str]] = None) -> Child:
    """Start the command; the test ends it."""
    return Child(
        [*UUN_IOT, *arguments],
        cwd=str(cwd),
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        grace=20,
    )


def ticks(done: "subprocess.CompletedProcess[str]") -> List[str]:
    """Return the lines of standard output, without that of the start, whose thread is its own."""
    lines = done.stdout.splitlines()
    lines.remove("start")
    return lines


def refused(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """Return the one line on standard error that a command ended with."""
    assert (done.returncode, done.stdout) == (status, ""), done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")
