"""Crash loops after an update, and power cuts within one: real processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import List, Optional, Tuple

import pytest

from tests.core.helpers import COMMAND
from tests.support.processes import Child
from uun_iot_core import Gateway, load_config

# The uuApp always wants the place "cellar"; how that goes says the test.
SCRIPT = """
import json, logging, os, signal, sys, threading
from uun_iot_core import Gateway, on
logging.basicConfig(level=logging.INFO)
path, end = sys.argv[1:3]
class Answer:
    def json(self):
        return {"moduleTimers": {"config": 0.02}, "place": "cellar"}
asked = threading.Semaphore(0)
class Client:
    def get(self, uucmd, dto_in=None, log_level=30):
        asked.release()
        return Answer(), None
def init(config, client):
    if end == "constructor" and config["gateway"]["place"] == "cellar":
        raise RuntimeError("a constructor that the cellar is too much for")
if end == "a full disk":
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    end = "os._exit"
gateway = Gateway(path, init, client=lambda config: Client())
if end == "before the start" and gateway.config["gateway"]["place"] == "cellar":
    raise RuntimeError("of the main thread, which has no use for the cellar")
with gateway:
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), gateway.signal_handler)
    for _ in range(3):
        asked.acquire()  # an update is taken before the next poll begins
    print("place:", gateway.config["gateway"]["place"], flush=True)
    if end == "exception":
        raise RuntimeError("of the main thread")
    if end == "os._exit":
        os._exit(0)
    gateway.stopev.wait()
"""


#: ends of a process that never starts its gateway once the update is there
BEFORE_THE_START = ["constructor", "before the start"]


def start(path: Path) -> None:
    config = {
        "gateway": {"moduleTimers": {"config": 0.02}, "place": "roof"},
        "uuApp": {"uuCmdList": {"gatewayGetConfiguration": COMMAND}},
    }
    path.write_text(json.dumps(config))


def life(path: Path, end: str) -> Tuple[Optional[str], List[str]]:
    """Let a process live until its end; return the place that it ran with, and its log."""
    with Child.python(SCRIPT, str(path), end) as child:
        if end in BEFORE_THE_START:
            child.wait()
        else:
            child.wait_for_line("place: ")
        if end.startswith("SIG"):
            child.signal(getattr(signal, end))
        child.wait()
        places = [line.partition(": ")[2] for line in child.lines]
        return (places[0] if places else None), child.errors


@pytest.mark.parametrize("end", ["SIGKILL", "SIGUSR1", "os._exit", "exception", *BEFORE_THE_START])
def test_three_unclean_ends_after_an_update_lead_back(tmp_path: Path, end: str) -> None:
    path = tmp_path / "config.json"
    start(path)
    if end in BEFORE_THE_START:  # the process that takes the update dies after it
        assert life(path, "SIGKILL")[0] == "cellar"
        assert [life(path, end)[0] for _ in range(2)] == [None, None]
    else:
        assert [life(path, end)[0] for _ in range(3)] == ["cellar"] * 3
    place, log = life(path, "SIGTERM")
    assert place == "roof"
    assert any("last good configuration is put in place again" in line for line in log), log
    assert any("is the one that was rolled back; it is not taken" in line for line in log), log
    assert load_config(str(path))["gateway"]["place"] == "roof"
    assert life(path, "SIGTERM")[0] == "roof"  # nor by the next process


def test_an_unclean_end_that_a_full_disk_leaves_uncounted_leads_back_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.json"
    start(path)
    assert life(path, "SIGKILL")[0] == "cellar"
    for _ in range(3):  # what fills the disk may be the update
        place, log = life(path, "a full disk")
        assert place == "roof"
        assert any("ended once without a clean stop" in line for line in log), log
    assert load_config(str(path))["gateway"]["place"] == "cellar"  # it could not be written
    # there is room again: it has its three times
    assert [life(path, "SIGKILL")[0] for _ in range(2)] == ["cellar"] * 2
    assert life(path, "SIGTERM")[0] == "roof"
    assert load_config(str(path))["gateway"]["place"] == "roof"


@pytest.mark.parametrize("end", ["SIGTERM", "SIGUSR2"])
def test_clean_stops_do_not(tmp_path: Path, end: str) -> None:
    path = tmp_path / "config.json"
    start(path)
    assert [life(path, end)[0] for _ in range(4)] == ["cellar"] * 4
    assert [life(path, "SIGKILL")[0] for _ in range(2)] == ["cellar"] * 2
    assert life(path, "SIGTERM")[0] == "cellar"


# -- power cuts ----------------------------------------------------------------------------------

# Dies before step N of what it does to the disk; prints how many there are where N is 0.
# `atomic_write` syncs each file before its rename, and the directory after it, so a cut of the
# power leaves what a kill between two steps leaves (tests/core/test_files.py).
STEPS = """
import json, os, sys
from pathlib import Path
from tests.core.helpers import Updated
directory, die_at = Path(sys.argv[1]), int(sys.argv[2])

updated = Updated(directory, {"place": "roof"})
updated.__enter__()
steps = 0
KINDS = {"open", "os.rename", "os.remove", "os.truncate", "os.chown", "os.chmod", "fcntl.flock"}
def look(event, arguments):
    global steps
    if event in KINDS:
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE):
            return
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), 9)
sys.addaudithook(look)
updated.ask({"moduleTimers": {"config": 10}, "place": "cellar"})
print(steps, flush=True)
os._exit(0)
"""


def cut(directory: Path, die_at: int) -> int:
    directory.mkdir()
    root = str(Path(__file__).resolve().parents[2])
    with Child.python(STEPS, str(directory), str(die_at), cwd=root) as child:
        status = child.wait()
        assert status == (-signal.SIGKILL if die_at else 0), child.errors
        return int(child.lines[0]) if child.lines else 0


@pytest.mark.slow
def test_a_power_cut_between_any_two_steps_of_an_update_leaves_one_of_the_two(
    tmp_path: Path,
) -> None:
    steps = cut(tmp_path / "all", 0)
    assert steps >= 12  # three files: a lock, rights, a rename of each
    places = []
    for die_at in range(1, steps + 1):
        directory = tmp_path / str(die_at)
        cut(directory, die_at)
        path = directory / "config.json"
        place = json.loads(path.read_text())["gateway"]["place"]
        places.append(place)
        # whatever is beside it, the next start reads it, and the way back is there if needed
        assert Gateway(str(path)).config["gateway"]["place"] == place
        if place == "cellar":
            good = json.loads((directory / "config.json.good").read_text())
            assert good["gateway"]["place"] == "roof"
            trial = json.loads((directory / "config.json.update").read_text())["trial"]
            assert len(trial["ends"]) == 1
    assert places == sorted(places, reverse=True)  # roof, …, roof, cellar, …: one moment
    assert places[0] == "roof"
    assert os.listdir(tmp_path / "all") and len(places) == steps
