"""Starting and stopping thousands of times leaves nothing behind; starts that never end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.core.helpers import Noting, timers, write_config
from tests.support.processes import Child
from uun_iot_core import Gateway, ManualClock, on

# Prints threads, descriptors, live blocks of memory and resident pages after some cycles, and
# again after many more.
CYCLES = """
import gc, json, logging, os, sys, threading
from uun_iot_core import Gateway, on
logging.getLogger("uun_iot").addHandler(logging.NullHandler())
path, mode, cycles = sys.argv[1], sys.argv[2], int(sys.argv[3])
class Busy:
    def __init__(self, id):
        self.id = id
        self.ticked = threading.Event()
        self.file = open(os.devnull)
    @on("start")
    def start(self, evs):
        evs[1].wait()
    @on("tick")
    def tick(self):
        self.ticked.set()
    @on("stop")
    def stop(self):
        self.stopped = True
    def _gateway_stopped(self):
        self.file.close()
class Raising(Busy):
    def __init__(self, id):
        raise ValueError(id)
def cycle():
    modules = []
    def init(config, client):
        for one in ("a", "b"):
            modules.append(Busy(one))
            yield modules[-1]
        if mode == "raising":
            yield Raising("c")
    if mode == "raising":
        try:
            Gateway(path, init)
        except ValueError:
            assert all(one.file.closed for one in modules)
            return
        raise AssertionError("it must raise")
    gateway = kept if mode == "the same" else Gateway(path, init)
    gateway.start()
    for one in gateway._modules.values():
        if isinstance(one, Busy):
            assert one.ticked.wait(10)
            one.ticked.clear()
    gateway.stop()
def measured():
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)  # those of the last cycle are about to end
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "blocks": sys.getallocatedblocks(),
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
    }
if mode == "the same":
    kept = Gateway(path, lambda config, client: [Busy("a"), Busy("b")])
    Busy._gateway_stopped = lambda self: None
for _ in range(max(200, cycles // 10)):
    cycle()
measured()
first = measured()
for _ in range(cycles):
    cycle()
print(json.dumps([first, measured()]), flush=True)
"""
MODES = ["the same", "new ones", "raising"]


def cycles(directory: Path, mode: str, count: int) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({"gateway": {"moduleTimers": {"a": 0.01, "b": 60}}}))
    with Child.python(CYCLES, str(path), mode, str(count)) as child:
        assert child.wait(600) == 0, child.errors
        first: Dict[str, int]
        first, last = json.loads(child.lines[0])
    assert (last["threads"], last["descriptors"]) == (first["threads"], first["descriptors"])
    # the interpreter's caches come and go by some hundred blocks, however many the cycles are
    assert last["blocks"] - first["blocks"] <= 900, (first, last)
    assert last["bytes"] - first["bytes"] <= 2_000_000, (first, last)


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_proc
@pytest.mark.parametrize("mode", MODES)
def test_starting_and_stopping_leaks_no_thread_descriptor_or_byte(
    tmp_path: Path, mode: str
) -> None:
    cycles(tmp_path, mode, 500)


@needs_proc
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_ten_thousand_cycles_leak_no_thread_descriptor_or_byte(tmp_path: Path, mode: str) -> None:
    cycles(tmp_path, mode, 10_000)


NEVER = """
import signal, sys, threading
import uun_iot_core.stop_watch
from uun_iot_core import Gateway, on
uun_iot_core.stop_watch.AFTER = 0.2
class Deaf:
    @on("start")
    def start(self, evs):
        threading.Event().wait()
    @on("tick")
    def tick(self):
        print("tick", flush=True)
with Gateway(sys.argv[1], lambda config, client: Deaf()) as gateway:
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), gateway.signal_handler)
    print("started", flush=True)
    gateway.stopev.wait()
"""


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_start_handler_that_never_returns_delays_no_tick_is_named_and_can_be_ended(
    tmp_path: Path, second: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"gateway": {"moduleTimers": {"deaf": 0.05}}}))
    with Child.python(NEVER, str(path)) as child:
        child.wait_for_line("started")
        child.wait_for_line("tick")
        child.signal(signal.SIGTERM)
        child.wait_for_line("stopping has waited .* for `uun_iot start deaf`")
        child.wait_for_line("in start")  # its stack
        child.signal(getattr(signal, second))
        assert child.wait() == 128 + getattr(signal, second), child.errors


FORKING = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import Gateway, on
parent, ticked = os.getpid(), threading.Event()
def note(what):
    print(what, "in the", "parent" if os.getpid() == parent else "child", flush=True)
class Module:
    id = "module"
    @on("tick")
    def tick(self):
        ticked.set()
    @on("stop")
    def stop(self):
        note("stop")
    def _gateway_stopped(self):
        note("closed")
with Gateway(sys.argv[1], lambda config, client: Module()) as gateway:
    child = os.fork()
    if child == 0 and "again" in sys.argv:
        ticked.clear()
        gateway.start()
        assert ticked.wait(10)
        gateway.stop()
    if child == 0:
        sys.exit(3)  # leaves the block
    note(f"{os.waitpid(child, 0)[1] >> 8} seen")
    ticked.clear()
    assert ticked.wait(10)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("again", [False, True])
def test_a_forked_child_that_leaves_the_block_stops_only_what_it_has_started(
    tmp_path: Path, again: bool
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"gateway": {"moduleTimers": {"module": 0.02}}}))
    with Child.python(FORKING, str(path), *(["again"] if again else [])) as child:
        assert child.wait() == 0, child.errors
    own = ["stop in the child", "closed in the child"] if again else []
    theirs = ["3 seen in the parent", "stop in the parent", "closed in the parent"]
    assert child.lines == [*own, *theirs]
    # but for the warning of a tick that had to wait for a busy processor
    assert [one for one in child.errors if "ticks that come due meanwhile" not in one] == []


FORKED_MEANWHILE = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import Gateway, on
ticked = threading.Event()
class Module:
    id = "module"
    @on("tick")
    def tick(self):
        ticked.set()
    @on("update")
    def update(self):
        pass
gateway = Gateway(sys.argv[1], lambda config, client: Module())
held, let_go = threading.Event(), threading.Event()
def busy():  # as where timers are started and an update is announced
    with gateway._sources.tick._lock, gateway._sources.update._lock:
        held.set()
        let_go.wait()
thread = threading.Thread(target=busy)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    with gateway:
        assert ticked.wait(10)
        gateway._config.event.announce(after=lambda: print("announced", flush=True))
    os._exit(0)
let_go.set()
thread.join()
print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_child_forked_while_another_thread_changes_the_timers_may_use_the_gateway(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"gateway": {"moduleTimers": {"module": 0.02}}}))
    with Child.python(FORKED_MEANWHILE, str(path)) as child:
        assert child.wait() == 0, child.errors
    assert child.lines == ["announced", "0"]


FORKED_IN_A_CALL = """
import dataclasses, os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
from uun_iot_core import EvTick, Gateway, ManualClock, on
@dataclasses.dataclass
class Clock(ManualClock):  # equal to any other, and without a hash
    def __post_init__(self):
        super().__init__()
begun, let_go = threading.Event(), threading.Event()
class Module:
    id = "module"
    @on("update")
    def update(self):
        begun.set()
        let_go.wait()
    @on("external", "read")
    def read(self, command):
        return "42"
clock = Clock()
gateway = Gateway(sys.argv[1], lambda config, client: Module(), clock=clock)
with gateway:
    gateway._config.event.announce(after=lambda: None)
    begun.wait()
    clock.advance(100)
    print(len(gateway._overdue()), flush=True)
    with gateway._sources.external._turn:  # a command is being answered
        child = os.fork()
        if child == 0:
            with gateway:
                answer = gateway._sources.external.respond("read")
                print(len(gateway._overdue()), answer, flush=True)
            os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
    let_go.set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_child_forked_while_handlers_run_does_not_wait_for_them(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"gateway": {"watchdog": {"limits": {"module": 5}}}}))
    with Child.python(FORKED_IN_A_CALL, str(path)) as child:
        assert child.wait() == 0, child.errors
    assert child.lines == ["1", "0 0 42", "0"]


def test_an_interruption_where_a_stop_begins_stops_the_timers_all_the_same(tmp_path: Path) -> None:
    class Interrupting:
        """A client whose hook is interrupted, as by Ctrl-C."""

        def _gateway_stopping(self, grace: float) -> None:
            raise KeyboardInterrupt

    class Module(Noting):
        id = "module"

        def _gateway_stopped(self) -> None:
            self.calls.append("closed")

    module, clock = Module(), ManualClock()
    path = write_config(tmp_path, timers(module=1))
    client: Any = Interrupting()
    gateway = Gateway(path, lambda c, u: module, clock=clock, client=lambda config: client)
    gateway.start()
    clock.advance(0)
    with pytest.raises(KeyboardInterrupt):
        gateway.stop()
    clock.advance(10)
    assert module.calls == ["tick", "stop", "closed"]
    assert gateway.stopev.is_set()


def test_a_stop_handler_for_which_there_is_no_thread_may_stop_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Module(Noting):
        id = "module"

        @on("stop")
        def stop(self) -> None:
            super().stop()
            gateway.stop()  # which it is doing, in this very thread

    start = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name.startswith("uun_iot stop"):
            raise RuntimeError("can't start new thread")  # as where a limit is reached
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    module = Module()
    gateway = Gateway(write_config(tmp_path), lambda config, client: module, clock=ManualClock())
    with gateway:
        pass
    assert module.calls == ["stop"]
