"""Polls of a server that fails: which are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from tests.core.helpers import Updated
from uun_iot_core.polls import Polls

DOWN = ConnectionError("no route to host")


def moments(updated: Updated, seconds: float) -> List[float]:
    """Return at which seconds from now on the uuApp is asked."""
    begin = updated.clock.monotonic()
    found: List[float] = []
    while updated.clock.monotonic() < begin + seconds:
        asked = len(updated.uuapp.asked)
        updated.clock.advance(10)
        found += [updated.clock.monotonic() - begin] * (len(updated.uuapp.asked) - asked)
    return found


def test_polls_are_skipped_in_growing_runs_until_the_server_answers(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.uuapp.reply = DOWN
        assert moments(updated, 400) == [10, 30, 70, 150, 310]  # 1, 3, 7 and 15 between them
        updated.uuapp.reply = {}
        assert moments(updated, 300) == [230, *range(240, 301, 10)]
        updated.uuapp.reply = DOWN
        assert moments(updated, 70) == [10, 30, 70]  # from the beginning again


def test_the_server_is_asked_once_an_hour_however_long_it_fails(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.uuapp.reply = DOWN
        asked = moments(updated, 86_400)
    apart = [later - sooner for sooner, later in zip(asked, asked[1:])]
    assert max(apart) == 3600
    assert apart[-10:] == [3600] * 10


@pytest.mark.parametrize("period", [1800.1, 3600, 86_400.0, float("inf")])
def test_polls_as_rare_as_that_are_not_skipped(period: float) -> None:
    polls = Polls()
    for _ in range(5):
        polls.failed(period)
        assert not polls.skip(period)


def test_a_period_that_grows_meanwhile_makes_no_longer_pause() -> None:
    polls = Polls()
    for _ in range(20):
        polls.failed(10)
    assert [polls.skip(600) for _ in range(6)] == [True] * 5 + [False]


def test_a_call_by_hand_asks_always(tmp_path: Path) -> None:
    with Updated(tmp_path, {}) as updated:
        updated.ask(DOWN)
        asked = len(updated.uuapp.asked)
        updated.gateway._config.on_tick()
        assert len(updated.uuapp.asked) == asked + 1


@pytest.mark.parametrize("period", [5e-324, 1e-306, 1e-6])
def test_polls_of_any_period_go_on_when_they_fail(period: float) -> None:
    polls = Polls()
    assert not polls.skip(period)
    for _ in range(100):
        polls.failed(period)
    assert polls.skip(period)
    polls.succeeded()
    assert not polls.skip(period)
