"""The queue of what is due: order, and what is left of what was withdrawn."""

from __future__ import annotations

import random
from math import inf
from typing import List

import pytest

from uun_iot_core.due_queue import FEW, DueQueue
from uun_iot_core.series import Series, Slot


def series(name: str = "timer") -> Series:
    return Series(Slot(), lambda: None, 1.0, name)


def test_what_is_due_first_comes_first_and_of_one_moment_what_was_queued_first() -> None:
    queue = DueQueue()
    assert queue.next_due() == inf
    for name, due in (("c", 2.0), ("d", 2.0), ("a", 1.0), ("e", 3.0), ("b", 1.0)):
        queue.push(series(name), due)
    taken = []
    while queue.next_due() < inf:
        taken.append(str(getattr(queue.pop(), "name", None)))
    assert taken == ["a", "b", "c", "d", "e"]


def test_it_is_told_which_one_is_the_next() -> None:
    queue = DueQueue()
    assert [queue.push(series(), due) for due in (5.0, 6.0, 5.0, 4.0)] == [True, False, False, True]


def test_what_was_withdrawn_does_not_come_and_may_be_queued_again() -> None:
    queue = DueQueue()
    gone, stays = series("gone"), series("stays")
    queue.withdraw(gone)  # it is not queued
    queue.push(gone, 1.0)
    queue.push(stays, 3.0)
    queue.withdraw(gone)
    queue.withdraw(gone)
    assert queue.next_due() == 3.0
    queue.push(gone, 4.0)
    queue.next_due()
    assert queue.pop() is stays
    assert queue.next_due() == 4.0
    assert queue.pop() is gone
    assert queue.next_due() == inf


@pytest.mark.parametrize(
    ("period", "dues", "wake"),
    [
        (1.0, [5.0], 5.0),
        (1.0, [5.0, 5.001], 5.001),
        (1.0, [5.0, 9.0, 5.001], 5.001),
        (1.0, [5.0, 5.001, 5.0015], 5.001),  # never for more than the next one
        (1.0, [5.0, 5.002], 5.0),
        (0.5, [5.0, 5.00101], 5.0),  # a short period is kept more exactly
        (0.5, [5.0, 5.00099], 5.00099),
        (0.001, [5.0, 5.00001], 5.0),
    ],
)
def test_two_that_are_due_together_share_a_wake_up(
    period: float, dues: List[float], wake: float
) -> None:
    queue = DueQueue()
    for due in dues:
        queue.push(Series(Slot(), lambda: None, period, "timer"), due)
    assert queue.next_due() == 5.0
    assert queue.wake_at() == wake


@pytest.mark.parametrize(
    ("period", "dues", "needed"),
    [
        (1.0, [5.0], 6.0),  # when it should come up again
        (1.0, [5.0, 5.25], 5.25),
        (1.0, [5.0, 9.0, 5.25], 5.25),
        (1.0, [5.0, 9.0, 8.0], 6.0),
        (1.0, [5.0, 6.001], 6.001),  # both then, at one wake-up
        (1.0, [5.0, 5.999], 6.0),
        (1.0, [5.0, 5.0], 5.0),
    ],
)
def test_it_is_told_when_somebody_is_needed_if_the_next_call_never_ends(
    period: float, dues: List[float], needed: float
) -> None:
    queue = DueQueue()
    for due in dues:
        queue.push(Series(Slot(), lambda: None, period, "timer"), due)
    assert queue.next_due() == 5.0
    assert queue.due_if_stuck() == needed


def test_what_was_withdrawn_does_not_pile_up() -> None:
    queue = DueQueue()
    steady = [series() for _ in range(50)]
    for number, one in enumerate(steady):
        queue.push(one, number)
    restless = series("restless")
    for _ in range(10_000):  # a storm of restarts, of a timer that is due last
        queue.push(restless, random.uniform(1e6, 2e6))
        queue.withdraw(restless)
        assert len(queue._heap) <= 2 * (len(steady) + FEW)
    for one in steady:
        queue.next_due()
        assert queue.pop() is one
    assert queue.next_due() == inf
    assert queue._stale == 0
