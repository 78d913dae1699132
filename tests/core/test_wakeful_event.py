"""The event that the main thread waits on: woken by `set` and by signals, and by nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.core.helpers import SOON, in_thread, joined, timers
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core.wakeful import WakefulEvent

pytestmark = pytest.mark.skipif(os.name == "nt", reason="waits on a pipe")


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("timeout", [None, 5, 0.9])
def test_it_is_woken_by_set(timeout: "float | None") -> None:
    event, begin = WakefulEvent(), threading.Event()
    before = descriptors()

    def set_it() -> None:
        begin.wait(SOON)
        event.set()

    thread = in_thread(set_it)
    begin.set()
    assert event.wait(timeout)
    joined(thread)
    assert descriptors() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_it_ends_when_the_time_is_over() -> None:
    event = WakefulEvent()
    for timeout in (-1, 0, 0.01, 1.05):
        begin = time.monotonic()
        assert not event.wait(timeout)
        assert timeout <= time.monotonic() - begin < timeout + 5
    event.set()
    assert event.wait(5) and event.wait()


def test_a_handler_that_raises_ends_it_and_leaves_nothing_open() -> None:
    class Ended(Exception):
        pass

    def end(number: int, frame: object) -> None:
        raise Ended

    event = WakefulEvent()
    before = descriptors()
    previous = signal.signal(signal.SIGUSR1, end)
    try:

        def send() -> None:
            eventually(lambda: event._pipe >= 0)  # the main thread sleeps now, or is about to
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = in_thread(send)
        with pytest.raises(Ended):
            event.wait(SOON)
        joined(thread)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert descriptors() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_what_the_application_wakes_up_by_stays_its_own() -> None:
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    event, waiting = WakefulEvent(), threading.Event()
    signal.set_wakeup_fd(own.fileno())
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: waiting.set())
    try:

        def set_it() -> None:
            waiting.wait(SOON)
            event.set()

        thread = in_thread(set_it)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert event.wait(SOON)
        joined(thread)
        assert other.recv(10) == bytes([signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, previous)
        assert signal.set_wakeup_fd(-1) == own.fileno()
        own.close()
        other.close()


IDLE = """
import sys
from uun_iot_core import Gateway, on
class Idle:
    id = "idle"
    @on("tick")
    def tick(self):
        print("tick", flush=True)
with Gateway(sys.argv[1], lambda config, client: Idle()) as gateway:
    gateway.stopev.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_idle_gateway_sleeps_between_its_ticks_and_is_small(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(timers(idle=3600)))
    with Child.python(IDLE, str(path)) as child:
        child.wait_for_line("tick")

        def switches() -> int:
            total = 0
            for task in Path(f"/proc/{child.pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if "ctxt_switches" in line:
                        total += int(line.split()[1])
            return total

        def quiet_for_two_seconds() -> bool:
            before = switches()
            time.sleep(2)  # that nothing happens takes time to be seen
            return switches() == before

        assert eventually(quiet_for_two_seconds, timeout=20)
        for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                assert int(line.split()[1]) < 20_480  # kB; `hatch run bench timers` has the figure


def test_a_wait_within_a_wait_leaves_the_outer_one_to_be_woken(tmp_path: Path) -> None:
    program = """
import signal, threading
from uun_iot_core.wakeful import WakefulEvent
event, within = WakefulEvent(), WakefulEvent()
def handler(sig, frame):
    print("inner", event.wait(1.2), flush=True)
    threading.Timer(0.2, event.set).start()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
print("outer", event.wait(60), flush=True)
"""
    with Child([sys.executable, "-c", program]) as child:
        assert child.wait(30) == 0
        assert child.lines == ["inner False", "outer True"]
