"""The configuration file through updates: rights, links, failing disks, kill -9."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from tests.core.helpers import COMMAND, Ticker, Updated, messages
from tests.support.processes import Child
from uun_iot_core import Gateway, ManualClock, on

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="modes, owners and SIGKILL are those of POSIX"
)

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
TIMERS = {"config": 10}


def reply(place: str) -> Dict[str, Any]:
    return {"moduleTimers": TIMERS, "place": place}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- rights and links ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660])
def test_the_mode_of_the_file_is_kept(tmp_path: Path, mode: int) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.path.chmod(mode)
        updated.ask(reply("cellar"))
        assert updated.saved["place"] == "cellar"
        assert mode_of(updated.path) == mode


@pytest.mark.skipif(not ROOT, reason="only root may give a file away")
def test_the_owner_of_the_file_is_kept(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        os.chown(updated.path, 12345, 23456)
        updated.ask(reply("cellar"))
        assert updated.saved["place"] == "cellar"
        assert (updated.path.stat().st_uid, updated.path.stat().st_gid) == (12345, 23456)


def test_a_file_that_is_gone_is_written_anew_for_its_owner_alone(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.path.unlink()
        updated.ask(reply("cellar"))
        assert updated.saved["place"] == "cellar"
        assert mode_of(updated.path) == 0o600


@pytest.mark.parametrize("relative", [True, False])
def test_where_the_file_is_a_link_its_target_is_written(tmp_path: Path, relative: bool) -> None:
    real = tmp_path / "real"
    real.mkdir()
    with Updated(tmp_path, {}) as updated:
        target = real / "target.json"
        updated.path.rename(target)
        updated.path.symlink_to("real/target.json" if relative else target)
        updated.ask(reply("cellar"))
        assert updated.path.is_symlink()
        assert json.loads(target.read_text())["gateway"]["place"] == "cellar"
        assert os.listdir(real) == ["target.json"]


def test_nothing_is_left_beside_the_file_but_the_way_back(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.ask(reply("cellar"))
        updated.ask(reply("attic"))
    assert set(os.listdir(tmp_path)) == KEPT


def test_readers_see_the_old_file_or_the_new_one_as_long_as_they_hold_it(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        with open(updated.path) as held:
            updated.ask(reply("cellar"))
            assert json.load(held)["gateway"]["place"] == "roof"


# -- failing disks -------------------------------------------------------------------------------


class Witness(Updated):
    """An updated gateway with a module that counts ticks and updates."""

    def __init__(self, directory: Path) -> None:
        class Module(Ticker):
            updates = 0

            @on("update")
            def update(self) -> None:
                self.updates += 1

        self.module = Module(ManualClock())
        super().__init__(directory, {"place": "roof", "moduleTimers": {"ticker": 4}}, [self.module])
        self.module.clock = self.clock


def test_a_directory_that_is_gone_leaves_memory_and_timers_and_the_update_comes_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "card"
    directory.mkdir()
    changed = {"moduleTimers": {"config": 10, "ticker": 1}, "place": "cellar"}
    with Witness(directory) as updated:
        content = updated.path.read_bytes()
        directory.rename(tmp_path / "pulled out")
        updated.ask(changed)
        assert updated.live == updated.start
        (line,) = messages(caplog, logging.ERROR)
        assert str(updated.path) in line and "nothing was changed" in line
        (tmp_path / "pulled out").rename(directory)
        assert updated.path.read_bytes() == content
        updated.ask(changed)
        assert updated.live == updated.saved == changed
        updated.clock.advance(1)
    assert updated.module.ticks == [0, 4, 8, 12, 16, 21]  # re-armed at 20
    assert updated.module.updates == 1


FAILING = """
import hashlib  # an update loads it, and another user may have no right to read it
import os, sys, logging
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.core.helpers import Ticker, Updated
logging.basicConfig()
directory = Path(sys.argv[1])
ticker = Ticker(None)
updated = Updated(directory, {"place": "roof", "moduleTimers": {"ticker": 4}}, [ticker])
ticker.clock = updated.clock
def reply(place):
    return {"moduleTimers": {"config": 10, "ticker": 1}, "place": place * 1000}
exec(sys.argv[3])
with updated:
    content = updated.path.read_bytes()
    updated.ask(reply("cellar"))
    assert updated.live == updated.start, updated.live
    assert os.listdir(directory) == ["config.json"]
    assert updated.path.read_bytes() == content
    updated.clock.advance(6)
    assert ticker.ticks == [0, 4, 8, 12, 16], ticker.ticks
    exec(sys.argv[4])
    updated.ask(reply("attic"))
    assert updated.saved == updated.live == reply("attic")
print(sorted(os.listdir(directory)), flush=True)
"""

#: the file and what is kept beside it
KEPT = {"config.json", "config.json.good", "config.json.update"}

CAUSES = {
    "a full disk": (
        "import resource; size, no = resource.RLIMIT_FSIZE, resource.RLIM_INFINITY; "
        "resource.setrlimit(size, (1000, no))",
        "resource.setrlimit(size, (no, no))",
    ),
    "a directory without the right to write": (
        "os.chmod(directory, 0o555); os.chmod(updated.path, 0o666); "
        "root = os.geteuid() == 0; root and os.seteuid(65534)",
        "root and os.seteuid(0); os.chmod(directory, 0o777)",
    ),
    "a file of another user that must not be replaced": (
        "os.chmod(directory, 0o1777); os.seteuid(65534)",
        "os.seteuid(0); os.chmod(directory, 0o777)",
    ),
}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users may reach, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="uun-iot-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "cause",
    [
        *list(CAUSES)[:2],
        pytest.param(
            list(CAUSES)[2],
            marks=pytest.mark.skipif(not ROOT, reason="only root may act as another user"),
        ),
    ],
)
def test_what_cannot_be_written_leaves_memory_timers_and_file_and_is_taken_later(
    open_directory: Path, cause: str
) -> None:
    root = str(Path(__file__).resolve().parents[2])
    with Child.python(FAILING, str(open_directory), root, *CAUSES[cause]) as child:
        assert child.wait() == 0, child.errors
        assert child.lines == [str(sorted(KEPT))]
        (line,) = [line for line in child.errors if line.startswith("ERROR:")]
        assert "nothing was changed" in line
        assert "config.json" in line


# -- kill -9 -------------------------------------------------------------------------------------

UPDATING = """
import json, sys
from uun_iot_core import Gateway, ManualClock
number = int(json.load(open(sys.argv[1]))["gateway"]["numbers"][0])
class Answer:
    def json(self):
        return {"moduleTimers": {"config": 1}, "numbers": [number] * 5000}
class Client:
    def get(self, uucmd, dto_in=None, log_level=30):
        global number
        number += 1
        return Answer(), None
clock = ManualClock()
with Gateway(sys.argv[1], clock=clock, client=lambda config: Client()):
    clock.advance(3)
    print("updating", flush=True)
    while True:
        clock.advance(1)
"""


def killed_while_updating(directory: Path, rounds: int) -> None:
    """Kill a gateway that takes one update after another, and look at its file."""
    path = directory / "config.json"
    start = {
        "gateway": {"moduleTimers": {"config": 1}, "numbers": [0] * 5000},
        "uuApp": {"uuCmdList": {"gatewayGetConfiguration": COMMAND}},
    }
    path.write_text(json.dumps(start))
    last = 0
    for _ in range(rounds):
        with Child.python(UPDATING, str(path)) as child:
            child.wait_for_line("updating")
            time.sleep(random.uniform(0, 0.03))  # the moment is to be a random one
            child.kill()
            child.wait()
            assert child.errors == []
        config = Gateway(str(path)).config
        numbers = config.pop("gateway")["numbers"]
        assert config == {"uuApp": start["uuApp"]}
        assert len(numbers) == 5000
        assert len(set(numbers)) == 1
        assert numbers[0] >= last + 3
        last = numbers[0]
        assert set(os.listdir(directory)) <= KEPT | {f".{name}.tmp" for name in KEPT}
        (directory / "config.json.update").unlink()  # else the third time would lead back


def test_kill_9_during_updates_leaves_the_file_whole(tmp_path: Path) -> None:
    killed_while_updating(tmp_path, 15)


@pytest.mark.slow
@pytest.mark.long
def test_kill_9_during_updates_leaves_the_file_whole_many_times(tmp_path: Path) -> None:
    killed_while_updating(tmp_path, 150)
