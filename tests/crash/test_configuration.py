"""Updates of the configuration: every state that a kill or a power cut may leave can be started."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import pytest

from tests.core.helpers import Updated
from uun_iot_core import Gateway, ManualClock

from .disk import BRIEF, LONG, Disk, Effort
from .operations import Mark, Operation
from .recorder import Recorder

PLACES = ["cellar", "attic", "roof"]


class Updates(NamedTuple):
    """What a gateway did to its disk while it took updates.

    Args:
        start: the disk before.
        log: what happened to it.
        texts: the file before, and after each update.
    """

    start: Disk
    log: Sequence[Operation]
    texts: List[bytes]


@pytest.fixture
def updates(scratch: Path) -> Updates:
    home = scratch / "home"
    home.mkdir()
    updated = Updated(home, {"place": PLACES[0]})
    texts = [updated.path.read_bytes()]
    with Recorder(home) as recorder, updated:
        for number, place in enumerate(PLACES[1:], 1):
            recorder.mark(number, number - 1)
            # larger than a block, so that a part of it may be on the disk
            updated.ask({"place": place, "notes": [place] * 2000})
            recorder.mark(number, number)
            texts.append(updated.path.read_bytes())
    return Updates(recorder.start, recorder.log, texts)


def violations(
    updates: Updates, scratch: Path, effort: Effort, syncs: bool = True, directories: bool = True
) -> List[str]:
    """Return what is wrong in the states of all moments; the first one ends the search."""
    disk, begun, returned = updates.start.copy(), 0, 0
    seen = set()
    for operation in updates.log:
        disk.apply(operation, syncs, directories)
        if isinstance(operation, Mark):
            begun, returned = operation
        for state in disk.states(effort):
            if (state.key, returned) in seen:
                continue
            seen.add((state.key, returned))
            place = scratch / "state"
            place.mkdir()
            try:
                state.materialise(place)
                problem = damage(place / "config.json", updates.texts[returned : begun + 1])
            finally:
                shutil.rmtree(place)
            if problem is not None:
                return [f"after {operation}: {problem}"]
    assert len(seen) > 20
    return []


def damage(path: Path, allowed: List[bytes]) -> Any:
    """Return what is wrong with a configuration and with what is kept of it; None if nothing."""
    if not path.exists():
        return "the file is gone"
    if path.read_bytes() not in allowed:
        return f"the file holds {path.read_bytes()[:60]!r}"
    good = path.with_name("config.json.good")
    if good.exists():
        try:
            kept: Dict[str, Any] = json.loads(good.read_bytes())
        except ValueError:
            return "what is kept is damaged"
        if kept["gateway"]["place"] not in PLACES:
            return f"kept is {kept!r:.60}"
    gateway = Gateway(str(path), clock=ManualClock())
    place = gateway.config["gateway"]["place"]
    if place not in [json.loads(text)["gateway"]["place"] for text in allowed]:
        return f"the gateway has loaded {place}"
    gateway.start()
    gateway.stop()
    return None


@pytest.fixture(autouse=True)
def quiet() -> Any:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_whatever_a_crash_leaves_of_an_update_is_whole_and_starts(
    updates: Updates, scratch: Path
) -> None:
    assert violations(updates, scratch, BRIEF) == []


@pytest.mark.long
def test_whatever_a_crash_leaves_of_an_update_is_whole_and_starts_in_many_more_states(
    updates: Updates, scratch: Path
) -> None:
    assert violations(updates, scratch, LONG) == []


def test_without_syncs_it_would_not_be(updates: Updates, scratch: Path) -> None:
    assert violations(updates, scratch, BRIEF, syncs=False)
    assert violations(updates, scratch, BRIEF, directories=False)
