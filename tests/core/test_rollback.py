"""An update on trial, and the way back, within a process: files and time."""

from __future__ import annotations

import gc
import json
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.core.helpers import COMMAND, Updated, Uuapp, messages
from tests.support.processes import Child
from uun_iot_core import ConfigError, Gateway, ManualClock
from uun_iot_core.rollback import Trial

GOOD = {"moduleTimers": {"config": 10}, "place": "roof"}
BAD = {"moduleTimers": {"config": 10}, "place": "cellar"}


def files(path: Path) -> Dict[str, Any]:
    """Return what is kept beside the configuration."""
    found = {}
    for name in ("good", "update"):
        file = path.with_name(f"{path.name}.{name}")
        if file.exists():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            found[name] = json.loads(file.read_text())
    return found


def unclean_ends(path: Path) -> int:
    """Return how many processes have ended badly with what is on trial."""
    return len(files(path)["update"]["trial"]["ends"])


def another_process(path: Path) -> None:
    """Make it look as if the process that took the update were not this one."""
    file = path.with_name("config.json.update")
    known = json.loads(file.read_text())
    assert known["trial"]["process"] is not None
    known["trial"]["process"] = "1-gone"
    file.write_text(json.dumps(known))


def updated_and_killed(tmp_path: Path, clock_seconds: float = 0) -> Updated:
    """Return a gateway that has taken BAD and will never be stopped."""
    updated = Updated(tmp_path, {"place": "roof"})
    updated.__enter__()
    updated.ask(BAD)
    updated.clock.advance(clock_seconds)
    return updated


def test_the_configuration_before_the_update_is_kept_as_it_was(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        before = updated.path.read_bytes()
        assert files(updated.path) == {}
        updated.ask(BAD)
        assert (tmp_path / "config.json.good").read_bytes() == before
        assert updated.saved == BAD


def test_the_last_good_one_stays_while_the_next_is_on_trial(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        before = updated.path.read_bytes()
        for place in ("cellar", "attic"):
            updated.ask({**BAD, "place": place})
            assert (tmp_path / "config.json.good").read_bytes() == before
        updated.clock.advance(600)
        proven = updated.path.read_bytes()
        updated.ask({**BAD, "place": "yard"})
        assert (tmp_path / "config.json.good").read_bytes() == proven


class Life:
    """A process with the configuration of another, after that has ended; on a clock of its own.

    Args:
        updated: the first process.
        wall: what the wall clock says at its start.
    """

    def __init__(self, updated: Updated, wall: float) -> None:
        another_process(updated.path)
        self.clock = ManualClock(wall)
        self.uuapp = Uuapp()
        self.gateway = Gateway(
            str(updated.path), clock=self.clock, client=lambda config: self.uuapp
        )
        self.gateway.start()

    def take(self, reply: Dict[str, Any]) -> Any:
        """Let the uuApp want this, and return the place that the gateway then has."""
        self.uuapp.reply = reply
        self.clock.advance(10)
        return self.gateway.config["gateway"]["place"]


def test_a_new_bad_one_at_each_start_does_not_defeat_the_way_back(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    before = (tmp_path / "config.json.good").read_bytes()
    lives: List[Life] = []
    for place in ("attic", "yard"):
        lives.append(Life(updated, updated.clock.time() + 20 * len(lives)))
        assert lives[-1].take({**BAD, "place": place}) == place
    lives.append(Life(updated, updated.clock.time() + 60))
    assert updated.path.read_bytes() == before
    for place in ("cellar", "attic", "yard"):  # all three led there
        assert lives[-1].take({**BAD, "place": place}) == "roof"
    assert lives[-1].take({**BAD, "place": "garden"}) == "garden"
    for gateway in (updated.gateway, *(one.gateway for one in lives)):
        gateway.stop()


def test_an_end_before_ten_minutes_without_one_does_not_count_for_the_next_update(
    tmp_path: Path,
) -> None:
    """A server that changes something every minute lets no trial end; a rare power cut is none."""
    updated = updated_and_killed(tmp_path)
    lives: List[Life] = []
    for number in range(5):
        lives.append(Life(updated, updated.clock.time() + number * 1000))
        assert unclean_ends(updated.path) == 1
        for minute in range(12):
            assert lives[-1].take({**BAD, "place": [number, minute]}) == [number, minute]
            assert unclean_ends(updated.path) == (1 if minute < 10 else 0)
            lives[-1].clock.advance(50)
        assert len(files(updated.path)["update"]["trial"]["configs"]) == 2  # not all there were
    for gateway in (updated.gateway, *(one.gateway for one in lives)):
        gateway.stop()


def test_the_trial_ends_after_ten_minutes(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
        updated.clock.advance(599)
        assert "trial" in files(updated.path)["update"]
        updated.clock.advance(2)
        assert "update" not in files(updated.path)


def test_a_file_that_was_edited_by_hand_meanwhile_is_kept_as_what_ran(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.path.write_text('{"gateway": {"place": "half an edi')
        updated.ask(BAD)
        assert files(updated.path)["good"]["gateway"]["place"] == "roof"


@pytest.mark.parametrize("edited", ['{"gateway": {"place": "half an edi', '{"uuApp": {"x": 1}}'])
def test_an_edit_that_an_update_replaces_is_kept_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, edited: str
) -> None:
    kept = tmp_path / "config.json.edited"
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
        assert not kept.exists() and messages(caplog, logging.WARNING) == []
        updated.path.write_text(edited)
        updated.ask({**BAD, "place": "attic"})
        assert updated.saved["place"] == "attic"
    assert kept.read_text() == edited
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600  # it may hold access codes
    (line,) = messages(caplog, logging.WARNING)
    assert line.endswith(f"what it held is kept in {kept}")


def test_what_is_on_trial_does_not_become_the_good_one_by_an_edit(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
        updated.path.write_text(json.dumps({"gateway": {**BAD, "site": "edited"}}))
        updated.ask({**BAD, "place": "attic"})
        assert files(updated.path)["good"]["gateway"]["place"] == "roof"
        assert updated.saved["place"] == "attic"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_gateway_that_is_built_before_a_fork_ends_cleanly_in_the_child(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({"gateway": GOOD, "uuApp": {"uuCmdList": {"gatewayGetConfiguration": COMMAND}}})
    )
    program = f"""
import os
from uun_iot_core import Gateway
class Uuapp:
    def get(self, *args, **kwargs):
        return self, None
    def json(self):
        return dict({BAD!r})
gateway = Gateway({str(path)!r}, client=lambda config: Uuapp())
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with gateway:
    gateway._config.on_tick()
    print("place", gateway.config["gateway"]["place"], flush=True)
"""
    for _ in range(4):
        with Child([sys.executable, "-c", program]) as child:
            assert child.wait() == 0, child.errors
            assert child.lines == ["place cellar"]
        assert unclean_ends(path) == 0


def test_a_clean_stop_does_not_count(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
    for _ in range(5):
        with Gateway(str(updated.path), clock=updated.clock) as gateway:
            assert gateway.config["gateway"] == BAD
        trial = files(updated.path)["update"]["trial"]
        assert (trial["ends"], trial["process"]) == ([], None)


def test_one_that_is_looked_at_and_not_started_does_not_count(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
    for _ in range(5):
        assert Gateway(str(updated.path), clock=updated.clock).config["gateway"] == BAD
    assert unclean_ends(updated.path) == 0


@pytest.mark.parametrize(
    ("raised", "unclean"),
    [(ValueError(), 1), (SystemExit(1), 1), (SystemExit(0), 0), (KeyboardInterrupt(), 0)],
)
def test_an_error_that_leaves_the_block_is_an_unclean_end(
    tmp_path: Path, raised: BaseException, unclean: int
) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
    with pytest.raises(type(raised)), Gateway(str(updated.path), clock=updated.clock):
        raise raised
    if unclean:
        another_process(updated.path)
    Trial(str(updated.path), updated.clock).open()
    assert unclean_ends(updated.path) == unclean


def test_a_gateway_looked_at_beside_one_that_runs_changes_nothing(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    before = files(updated.path)
    for _ in range(5):
        Gateway(str(updated.path), clock=updated.clock)
    gc.collect()
    assert files(updated.path) == before
    script = "import sys, uun_iot_core as c; c.Gateway(sys.argv[1])"
    with Child.python(script, str(updated.path)) as child:
        assert child.wait() == 0
    assert files(updated.path) == before
    updated.gateway.stop()


def test_an_update_that_comes_where_the_trial_before_it_ends_has_a_trial_of_its_own(
    tmp_path: Path,
) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        trial = updated.gateway._config.trial
        assert isinstance(trial, Trial)
        updated.ask(BAD)
        first = trial._timer
        assert first is not None
        updated.clock.advance(590)
        updated.ask({**BAD, "place": "attic"})
        trial._time_is_over(first)  # it came due while the update was written, and waited for that
        updated.clock.advance(590)
        assert files(updated.path)["update"]["trial"]
        updated.clock.advance(11)
        assert "trial" not in files(updated.path).get("update", {})


def test_three_unclean_ends_lead_back_and_the_same_reply_is_not_taken_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    updated = updated_and_killed(tmp_path)
    before = (tmp_path / "config.json.good").read_bytes()
    for unclean in (1, 2):
        another_process(updated.path)
        Trial(str(updated.path), updated.clock).open()
        assert unclean_ends(updated.path) == unclean
        assert updated.saved == BAD
    another_process(updated.path)
    caplog.clear()
    clock, client = updated.clock, updated.uuapp
    with Gateway(str(updated.path), clock=clock, client=lambda config: client) as gateway:
        assert updated.path.read_bytes() == before
        assert gateway.config["gateway"]["place"] == "roof"
        (line,) = messages(caplog, logging.ERROR)
        assert "ended 3 times without a clean stop within 10 minutes" in line
        client.reply = BAD
        for _ in range(3):
            clock.advance(10)
        assert gateway.config["gateway"]["place"] == "roof"
        (line,) = [one for one in messages(caplog, logging.WARNING) if "rolled back;" in one]
        client.reply = {**BAD, "place": "attic"}
        clock.advance(10)
        assert gateway.config["gateway"]["place"] == "attic"
        client.reply = BAD
        clock.advance(10)
        assert gateway.config["gateway"]["place"] == "attic"
    assert "roof" not in line and "SECRET" not in caplog.text
    updated.gateway.stop()


def test_after_ten_minutes_unclean_ends_do_not_count(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path, 590)
    for _ in range(2):
        another_process(updated.path)
        Trial(str(updated.path), updated.clock).open()
    another_process(updated.path)
    trial = Trial(str(updated.path), ManualClock(wall=updated.clock.time() + 20))
    known = json.loads((tmp_path / "config.json.update").read_text())
    del known["trial"]["ends"][1:]
    (tmp_path / "config.json.update").write_text(json.dumps(known))
    trial = Trial(str(updated.path), ManualClock(wall=updated.clock.time() + 20))
    trial.open()
    assert updated.saved == BAD
    assert "update" not in files(updated.path)
    updated.gateway.stop()


def test_a_wall_clock_set_back_begins_the_ten_minutes_anew(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    another_process(updated.path)
    clock = ManualClock(wall=0)
    Trial(str(updated.path), clock).open()
    assert files(updated.path)["update"]["trial"]["since"] == 0
    updated.gateway.stop()


def test_what_is_edited_by_hand_is_not_rolled_back(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    for _ in range(2):
        another_process(updated.path)
        Trial(str(updated.path), updated.clock).open()
    another_process(updated.path)
    updated.path.write_text(json.dumps({"gateway": {"place": "yard"}}))
    assert Gateway(str(updated.path)).config["gateway"] == {"place": "yard"}
    assert updated.saved == {"place": "yard"}
    updated.gateway.stop()


def test_a_constructor_that_raises_counts_each_time(tmp_path: Path) -> None:
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)

    def init(config: Dict[str, Any], client: Any) -> None:
        if config["gateway"]["place"] == "cellar":
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            Gateway(str(updated.path), init, clock=updated.clock)
    assert Gateway(str(updated.path), init, clock=updated.clock).config["gateway"] == updated.start


def test_one_that_cannot_be_loaded_any_more_counts_each_time(tmp_path: Path) -> None:
    storage = tmp_path / "door.json"
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask({**BAD, "moduleBackupStorage": {"door": str(storage)}})
    storage.mkdir()  # by then it was a valid path
    for _ in range(3):
        with pytest.raises(ConfigError, match="there is a directory"):
            Gateway(str(updated.path), clock=updated.clock)
    assert Gateway(str(updated.path), clock=updated.clock).config["gateway"] == updated.start


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"trial": 3}', b'{"trial": {"configs": 5}}']
    + [b'{"rejected": 5}', b'{"rejected": [5, null]}', b'{"trial": {"configs": {}, "boot": ""}}']
    + [b'{"trial": {"configs": {}, "boot": "", "since": 1%s}}' % (b"0" * 400)],
)
def test_a_damaged_file_beside_it_keeps_no_gateway_from_starting(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "config.json.update").write_bytes(content)
    (tmp_path / "config.json.good").write_bytes(content)
    with Updated(tmp_path, {"place": "roof"}) as updated:
        updated.ask(BAD)
        assert updated.live == BAD


def test_a_last_good_one_that_is_damaged_leaves_the_present_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    updated = updated_and_killed(tmp_path)
    (tmp_path / "config.json.good").write_text('{"gateway": "SECRET')
    for _ in range(3):
        another_process(updated.path)
        Trial(str(updated.path), updated.clock).open()
    assert updated.saved == BAD
    assert "cannot be used, the present one stays" in messages(caplog, logging.ERROR)[-1]
    assert "SECRET" not in caplog.text
    updated.gateway.stop()


def test_what_a_handler_changes_is_on_trial_too(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    updated.live["place"] = "changed by a handler"
    updated.gateway._config._save_if_changed()
    for _ in range(3):
        another_process(updated.path)
        Trial(str(updated.path), updated.clock).open()
    assert updated.saved == updated.start
    updated.gateway.stop()


def test_what_a_handler_changes_counts_against_the_newest_reply(tmp_path: Path) -> None:
    updated = Updated(tmp_path, {"place": "roof"})
    updated.__enter__()
    updated.ask({**BAD, "place": "attic"})  # still on trial when the next one comes
    updated.ask(BAD)
    updated.gateway.config["gateway"]["seen"] = True
    updated.gateway._config._save_if_changed()
    lives = [Life(updated, updated.clock.time() + 20 * number) for number in range(3)]
    assert lives[-1].take(BAD) == "roof"
    assert lives[-1].take({**BAD, "place": "attic"}) == "attic"
    for gateway in (updated.gateway, *(one.gateway for one in lives)):
        gateway.stop()


@pytest.mark.parametrize("name", ["config.json.good", "config.json.update"])
def test_no_module_may_use_the_files_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"gateway": {"moduleBackupStorage": {"m": str(tmp_path / name)}}}))
    with pytest.raises(ConfigError, match=r"gateway\.moduleBackupStorage\.m.*same file"):
        Gateway(str(path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_ends_nothing(tmp_path: Path) -> None:
    updated = updated_and_killed(tmp_path)
    before = files(updated.path)
    child = os.fork()
    if child == 0:
        updated.gateway._config.trial.ended(clean=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert files(updated.path) == before
    updated.gateway.stop()
    assert files(updated.path) != before
    assert COMMAND in updated.uuapp.asked
