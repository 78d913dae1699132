"""Signals, each in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import time
import weakref
from pathlib import Path
from typing import Any, List

import pytest

from tests.core.helpers import make_gateway, timers, write_config
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core.signals import interruption_waits

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the signals are those of POSIX")

SIGNALS = ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"]
CODES = {"SIGUSR1": 1}

PROGRAM = """
import functools, os, signal, sys, threading, time
from uun_iot_core import Gateway, on

def say(text):
    sys.stdout.write(text + "\\n")

class Module:
    @on("start")
    def begin(self, evs):
        evs[1].wait()
        say("start handler ended")
    @on("tick")
    def tick(self):
        pass
    @on("stop")
    def end(self):
        if HANG:
            say("hanging")
            time.sleep(60)
        time.sleep(0.1)
        say("stop handler ended")
    def _gateway_stopped(self):
        assert g.stopev.is_set()
        say("closed")

def cleanup(gateway):
    assert gateway is g
    assert not gateway.runev.is_set()
    say("cleanup")

def ready():
    say("ready")

def rest():  # in steps, since a signal taken by another thread does not end one
    while True:
        time.sleep(0.2)

HANG = "hang" in sys.argv
g = Gateway(sys.argv[1], lambda config, client: Module())
handler = functools.partial(g.signal_handler, additional_cleanup=cleanup)
names = [arg for arg in sys.argv[3:] if arg.startswith("SIG")]
for name in names or ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"]:
    signal.signal(getattr(signal, name), handler)
exec(sys.argv[2])
say("not reached")
"""

WAIT = "with g: ready(); g.stopev.wait(); rest()"
LEAVE = "with g: ready(); g.stopev.wait()"
SLEEP = "with g: ready(); rest()"
LOOP = """
with g:
    ready()
    while True:
        g.stopev.wait(0)
"""
LEAVING_LOOP = """
with g:
    ready()
    while not g.stopev.wait(0):
        pass
"""
JOIN = """
with g:
    ready()
    for thread in threading.enumerate():
        while thread is not threading.main_thread() and thread.is_alive():
            thread.join(0.2)
    rest()
"""
MAINS = {
    "in stopev.wait()": WAIT,
    "leaving the block": LEAVE,
    "in time.sleep()": SLEEP,
    "in a busy loop": LOOP,
    "leaving a busy loop": LEAVING_LOOP,
    "in join()": JOIN,
}


def run(directory: Path, main: str, *arguments: str) -> Child:
    """Start the program with this main part, and wait until it is ready."""
    child = Child.python(PROGRAM, write_config(directory, timers(module=0.005)), main, *arguments)
    try:
        child.wait_for_line("^ready$")
    except BaseException:
        child.close()
        raise
    return child


def complaints(child: Child) -> List[str]:
    """Return its errors, without warnings of a tick that had to wait for a busy processor."""
    return [each for each in child.errors if "ticks that come due meanwhile" not in each]


def last_line(directory: Path, main: str) -> str:
    """Return what a program that SIGTERM ends well has said at last."""
    with run(directory, main) as child:
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
        return child.lines[-1]


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS.keys())
def test_a_signal_stops_the_gateway_cleans_up_and_exits_with_the_documented_code(
    tmp_path: Path, main: str, name: str
) -> None:
    with run(tmp_path, main) as child:
        child.signal(getattr(signal, name))
        assert child.wait() == CODES.get(name, 0), child.errors
        assert complaints(child) == []
        assert sorted(child.lines[1:3]) == ["start handler ended", "stop handler ended"]
        assert child.lines[3:] == ["closed", "cleanup"]


CHURN = """
def churn():
    while True:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
threading.Thread(target=churn, daemon=True).start()
"""


def test_a_signal_that_a_thread_being_created_takes_is_noticed_all_the_same(
    tmp_path: Path,
) -> None:
    # With a plain threading.Event a third of these wait for ever.
    children: List[Child] = []
    try:
        for _ in range(12):
            children.append(run(tmp_path, CHURN + WAIT))
            children[-1].signal(signal.SIGTERM)
        for child in children:
            assert child.wait(20) == 0, child.errors
            assert child.lines[-1] == "cleanup"
    finally:
        for child in children:
            child.close()


RESTARTING = """
with g:
    ready()
    while True:
        g.stop()
        g.start()
"""


def test_a_main_thread_that_restarts_the_gateway_again_and_again_ends_all_the_same(
    tmp_path: Path,
) -> None:
    with run(tmp_path, RESTARTING) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1, child.errors
        assert child.lines[-1] == "cleanup"
        assert complaints(child) == []


@pytest.mark.parametrize("main", [LOOP, LEAVING_LOOP], ids=["staying", "leaving"])
def test_no_busy_loop_makes_it_deadlock(tmp_path: Path, main: str) -> None:
    for _ in range(2):
        children: List[Child] = []
        try:
            for _ in range(5):
                children.append(run(tmp_path, main))
            for child in children:
                child.signal(signal.SIGTERM)
            for child in children:
                assert child.wait(30) == 0, child.errors
                assert child.lines[-1] == "cleanup"
                assert complaints(child) == []
        finally:
            for child in children:
                child.close()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS.keys())
def test_no_main_thread_makes_it_deadlock_many_times(tmp_path: Path, main: str) -> None:
    for _ in range(60):
        with run(tmp_path, main) as child:
            child.signal(signal.SIGUSR1)
            assert child.wait() == 1, child.errors
            assert child.lines[-1] == "cleanup"
            assert complaints(child) == []


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_sigint_or_sigterm_ends_a_hanging_stop_at_once(
    tmp_path: Path, first: str, second: str
) -> None:
    with run(tmp_path, WAIT, "hang") as child:
        child.signal(getattr(signal, first))
        child.wait_for_line("hanging")
        child.signal(getattr(signal, second))
        assert child.wait(5) == 128 + getattr(signal, second)
        assert "closed" not in child.lines


def test_a_second_signal_of_another_kind_changes_nothing(tmp_path: Path) -> None:
    with run(tmp_path, WAIT, "hang") as child:
        child.signal(signal.SIGTERM)
        child.wait_for_line("hanging")
        child.signal(signal.SIGUSR1)
        child.signal(signal.SIGUSR2)
        with pytest.raises(AssertionError, match="still running"):
            child.wait(0.3)
        child.signal(signal.SIGTERM)
        assert child.wait(5) == 143


@pytest.mark.parametrize("name", SIGNALS)
def test_a_handler_registered_for_one_signal_alone_works(tmp_path: Path, name: str) -> None:
    with run(tmp_path, SLEEP, name) as child:
        child.signal(getattr(signal, name))
        assert child.wait() == CODES.get(name, 0)
        assert child.lines[-1] == "cleanup"
        assert complaints(child) == []


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_with_one_signal_registered_another_still_ends_a_hanging_stop(
    tmp_path: Path, second: str
) -> None:
    with run(tmp_path, SLEEP, "SIGUSR2", "hang") as child:
        child.signal(signal.SIGUSR2)
        child.wait_for_line("hanging")
        child.signal(getattr(signal, second))
        assert child.wait(5) == 128 + getattr(signal, second)


def test_additional_cleanup_is_optional(tmp_path: Path) -> None:
    main = "signal.signal(signal.SIGTERM, g.signal_handler)\n" + WAIT
    assert last_line(tmp_path, main) == "closed"


@pytest.mark.parametrize("error", ["ValueError('boom')", "SystemExit(7)"])
def test_what_cleanup_raises_is_logged_and_the_process_ends_all_the_same(
    tmp_path: Path, error: str
) -> None:
    main = f"""
def fail(gateway):
    raise {error}
signal.signal(signal.SIGUSR1, functools.partial(g.signal_handler, additional_cleanup=fail))
{WAIT}
"""
    with run(tmp_path, main) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1
        assert any("stopping after a signal failed" in line for line in child.errors)
        assert any("Traceback" in line for line in child.errors)


def test_code_after_the_signal_may_catch_the_exit_and_clean_up(tmp_path: Path) -> None:
    main = """
try:
    with g:
        ready()
        rest()
except SystemExit as exc:
    say(f"exit {exc.code}")
    raise
finally:
    say("finally")
"""
    with run(tmp_path, main) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1
        assert child.lines[-3:] == ["cleanup", "exit 1", "finally"]


def test_the_modules_are_let_go_before_the_exit(tmp_path: Path) -> None:
    main = """
import weakref, gc
module = weakref.ref(g._modules["module"])
def look(gateway):
    gc.collect()
    say(f"gone: {module() is None}")
signal.signal(signal.SIGTERM, functools.partial(g.signal_handler, additional_cleanup=look))
with g:
    ready()
    rest()
"""
    assert last_line(tmp_path, main) == "gone: True"


@pytest.mark.parametrize("name", SIGNALS)
def test_a_main_thread_that_ends_without_a_with_block_does_not_cut_the_stop_short(
    tmp_path: Path, name: str
) -> None:
    main = "g.start(); ready(); g.stopev.wait(); sys.exit()"
    with run(tmp_path, main) as child:
        child.signal(getattr(signal, name))
        assert child.wait() == CODES.get(name, 0), child.errors
        assert child.lines[-2:] == ["closed", "cleanup"]
        assert complaints(child) == []


def stops_at_the_end(directory: Path, main: str, name: str, expected: int) -> None:
    """Send a signal to a program whose main thread is at its end; it must stop the gateway.

    A signal that comes just before Python goes to sleep there is not noticed: then the program
    runs on as it was, and it is tried again.
    """
    for _ in range(8):
        with run(directory, main) as child:
            child.signal(getattr(signal, name))
            if not eventually(lambda: child.process.poll() is not None, timeout=3):
                assert child.lines == ["ready"], child.lines
                continue
            assert child.wait() == expected, child.errors
        ended = ["start handler ended", "stop handler ended", "closed", "cleanup"]
        assert child.lines == ["ready", *ended]
        return
    pytest.fail("no signal was noticed")


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("end", ["", "raise KeyboardInterrupt"])
def test_a_signal_after_the_end_of_the_main_thread_stops_the_gateway(
    tmp_path: Path, name: str, end: str
) -> None:
    # since Python 3.12 no thread can be started any more by then; 3.13 takes that back
    main = f"""
def wait():
    threading.main_thread().join()
    ready()
    g.stopev.wait()
threading.Thread(target=wait).start()
g.start()
{end}
sys.exit()
"""
    stops_at_the_end(tmp_path, main, name, CODES.get(name, 0) or (-signal.SIGINT if end else 0))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_while_the_gateway_is_stopped_at_the_end_of_the_main_thread_gives_its_code(
    tmp_path: Path, name: str
) -> None:
    program = PROGRAM.replace("def end(self):", "def end(self):\n        self.slowly()").replace(
        "class Module:", "class Module:\n    def slowly(self): say('stopping'); time.sleep(0.5)"
    )
    main = """
class Interrupted(Gateway):
    def __exit__(self, *exc):
        raise KeyboardInterrupt
g.__class__ = Interrupted
with g:
    raise KeyboardInterrupt
"""
    with Child.python(program, write_config(tmp_path, timers(module=0.005)), main) as child:
        child.wait_for_line("^stopping$")
        child.signal(getattr(signal, name))
        expected = CODES.get(name, -signal.SIGINT)
        assert child.wait() == expected, child.errors
        ended = ["start handler ended", "stopping", "stop handler ended", "closed", "cleanup"]
        assert sorted(child.lines) == sorted(ended)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_while_the_main_thread_waits_for_a_pool_at_its_end_stops_the_gateway(
    tmp_path: Path, name: str
) -> None:
    main = """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor(1)
g.start()
def wait():
    while not threading._SHUTTING_DOWN:
        time.sleep(0.01)
    ready()
    while not g.stopev.is_set():  # in steps: the main thread joins this one
        time.sleep(0.01)
pool.submit(wait)
sys.exit()
"""
    stops_at_the_end(tmp_path, main, name, CODES.get(name, 0))


def test_what_is_entered_by_hand_goes_on_when_the_main_thread_ends(tmp_path: Path) -> None:
    main = """
def later():
    threading.main_thread().join()
    say("goes on" if g.runev.is_set() else "was stopped")
    g.stop()
threading.Thread(target=later).start()
contextlib.ExitStack().enter_context(g)
ready()
sys.exit()
"""
    with run(tmp_path, "import contextlib" + main) as child:
        assert child.wait() == 0, child.errors
        assert child.lines[1] == "goes on"
        assert child.lines[-1] == "closed"


def test_gateways_that_were_entered_and_stopped_are_not_kept(tmp_path: Path) -> None:
    for leave in (True, False):
        gateway = make_gateway(tmp_path)
        gateway.__enter__()
        if leave:
            gateway.__exit__(None, None, None)
        else:
            gateway.stop()
        ended = weakref.ref(gateway)
        del gateway
        gc.collect()
        assert ended() is None


def test_a_main_thread_that_stops_the_gateway_by_itself_exits_with_the_code(
    tmp_path: Path,
) -> None:
    main = "g.start(); ready(); g.stopev.wait(); g.stop(); rest()"
    with run(tmp_path, main) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1
        assert child.lines[-2:] == ["closed", "cleanup"]


def test_a_signal_while_the_block_is_being_left_gives_its_code(tmp_path: Path) -> None:
    main = """
class Late:
    id = "late"
    @on("stop")
    def end(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)
open(sys.argv[1], "w").write("{}")
g = Gateway(sys.argv[1], lambda config, client: Late())
signal.signal(signal.SIGUSR1, functools.partial(g.signal_handler, additional_cleanup=cleanup))
with g:
    ready()
"""
    with run(tmp_path, main) as child:
        assert child.wait() == 1, child.errors
        assert child.lines == ["ready", "cleanup"]
        assert complaints(child) == []


def test_a_signal_before_the_start_exits_as_well(tmp_path: Path) -> None:
    with run(tmp_path, "ready(); rest()") as child:
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
        assert child.lines == ["ready", "cleanup"]


STARTING = """
import uun_iot_core.stop_watch
from uun_iot_core.events import EvStart
uun_iot_core.stop_watch.AFTER = 0.1
class Waiting:
    id = "waiting"
    @EvStart.subscribe_blocking
    def begin(self, evs):
        ready()
        (threading.Event() if HANG else evs[1]).wait()
        say("start handler ended")
    @on("stop")
    def end(self):
        say("stop handler ended")
open(sys.argv[1], "w").write("{}")
g = Gateway(sys.argv[1], lambda config, client: Waiting())
for name in ("SIGTERM", "SIGUSR1"):
    signal.signal(
        getattr(signal, name), functools.partial(g.signal_handler, additional_cleanup=cleanup)
    )
with g: rest()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_during_a_start_that_waits_for_a_handler_ends_it(
    tmp_path: Path, name: str
) -> None:
    with run(tmp_path, STARTING) as child:
        child.signal(getattr(signal, name))
        assert child.wait() == CODES.get(name, 0), child.errors
        assert child.lines == ["ready", "start handler ended", "stop handler ended", "cleanup"]
        assert complaints(child) == []


def test_a_start_that_hangs_is_named_after_a_signal_and_a_second_one_ends_it(
    tmp_path: Path,
) -> None:
    with run(tmp_path, STARTING, "hang") as child:
        child.signal(signal.SIGTERM)
        child.wait_for_line("stopping has waited .* for `uun_iot start waiting`")
        child.signal(signal.SIGTERM)
        assert child.wait() == 128 + signal.SIGTERM


def test_a_signal_that_comes_when_the_gateway_is_stopped_already_exits_as_well(
    tmp_path: Path,
) -> None:
    main = "g.start(); g.stop(); ready(); rest()"
    with run(tmp_path, main) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1
        assert child.lines[-1] == "cleanup"


def test_a_block_in_another_thread_leaves_the_exit_to_the_main_thread(tmp_path: Path) -> None:
    main = f"""
def slowly(gateway):
    time.sleep(0.3)  # meanwhile the other thread leaves the block
    cleanup(gateway)
signal.signal(signal.SIGUSR1, functools.partial(g.signal_handler, additional_cleanup=slowly))
def block():
    {LEAVE}
thread = threading.Thread(target=block)
thread.start()
while thread.is_alive():  # in steps, as in rest()
    thread.join(0.2)
say("joined")
rest()
"""
    with run(tmp_path, main) as child:
        child.signal(signal.SIGUSR1)
        assert child.wait() == 1, child.errors
        assert "cleanup" in child.lines
        assert complaints(child) == []


def test_ctrl_c_without_any_handler_stops_the_gateway(tmp_path: Path) -> None:
    main = "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + SLEEP
    with run(tmp_path, main) as child:
        child.signal(signal.SIGINT)
        assert child.wait() == -signal.SIGINT
        assert child.lines[-1] == "closed"
        assert "KeyboardInterrupt" in child.errors[-1]


@pytest.mark.parametrize("entered", ["with", "thread"])
def test_ctrl_c_before_the_block_can_be_left_stops_the_gateway_at_the_end_of_the_main_thread(
    tmp_path: Path, entered: str
) -> None:
    leaving = """
class Interrupted(Gateway):
    def __exit__(self, *exc):  # as a second Ctrl-C does that meets it before its first instruction
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
g.__class__ = Interrupted
"""
    if entered == "with":
        main = leaving + SLEEP
    else:  # what another thread has entered outlives the main thread
        main = """
entered = threading.Event()
def block():
    with g:
        ready()
        entered.set()
        threading.main_thread().join()
        say("outlived it")
threading.Thread(target=block).start()
entered.wait()
raise KeyboardInterrupt
"""
    with run(tmp_path, main) as child:
        if entered == "with":
            child.signal(signal.SIGINT)
        assert child.wait() == -signal.SIGINT, child.errors
        ended = ["start handler ended", "stop handler ended", "closed"]
        outlived = ["outlived it"] if entered == "thread" else []
        assert child.lines == ["ready", *outlived, *ended]
        assert "KeyboardInterrupt" in child.errors[-1]


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_twice_at_random_moments_hangs_nothing(tmp_path: Path) -> None:
    main = "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + SLEEP
    moments = random.Random(7)
    for _ in range(150):
        with run(tmp_path, main) as child:
            child.signal(signal.SIGINT)
            # a moment of a stop's life: there is nothing to wait for
            time.sleep(moments.uniform(0, 0.002))
            with contextlib.suppress(ProcessLookupError):
                child.signal(signal.SIGINT)
            assert child.wait() in (-signal.SIGINT, 1), child.errors
            assert "closed" in child.lines  # the second ends the waiting, never the closing


def test_ctrl_c_waits_for_the_end_of_a_block_that_it_must_not_cut() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), interruption_waits():
            signal.raise_signal(signal.SIGINT)
            done.append("the block")
        assert done == ["the block"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with interruption_waits():
            pass  # nothing came: nothing is raised

        # a handler of the application's own is called when it is due
        signal.signal(signal.SIGINT, lambda sig, frame: done.append("the handler"))
        with interruption_waits():
            signal.raise_signal(signal.SIGINT)
            done.append("the block of a handler")
        assert done[1:] == ["the handler", "the block of a handler"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_ends_no_gateway_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_gateway(tmp_path) as built:
        built.signal_handler(signal.SIGHUP, None)
        assert built.runev.is_set()
    assert "SIGHUP does not end a gateway: it is ignored" in caplog.text
    handler: Any = built.signal_handler
    with pytest.raises(ValueError):
        handler(0, None)


def test_a_start_while_a_signal_ends_the_process_waits_for_that_end(tmp_path: Path) -> None:
    main = """
g.start()
ready()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        g.start()
finally:
    g.stop()
"""
    with run(tmp_path, main) as child:
        assert child.wait() == 0
        assert child.lines[-1] == "cleanup"
        assert not any("RuntimeError" in line for line in child.errors)


def test_without_a_thread_for_it_the_block_stops_the_gateway(tmp_path: Path) -> None:
    main = """
import _thread
def none(*args):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = none  # as where the system has none
signal.signal(signal.SIGTERM, handler)
with g:
    ready()
    rest()
"""
    assert last_line(tmp_path, main) == "closed"
