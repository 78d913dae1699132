"""All states that a kill or a power cut may leave load as what was acknowledged, or more."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator

import pytest

from .checker import Checker, Report
from .disk import BRIEF, LONG, SHORT
from .workloads import WORKLOADS, Workload, random_work

DRAWN = {f"drawn by lot {n}": Workload(random_work(n), maxlen=(0, 0, 5)[n % 3]) for n in range(30)}
ALL = {**WORKLOADS, **DRAWN}


#: the large ones take long, and `grow` is in `grow, bounded`
FEW = [*(name for name in WORKLOADS if name != "grow"), "drawn by lot 0", "drawn by lot 2"]


@pytest.mark.parametrize("name", FEW)
def test_every_crash_state_loads_a_prefix_of_the_history(name: str, scratch: Path) -> None:
    record = ALL[name].record(scratch)
    large = "grow" in name
    report = Checker(scratch).check(record, BRIEF if large else SHORT, 600 if large else 120)
    assert report.distinct > 20
    assert not report.violations, report.smallest()


@pytest.fixture(scope="module")
def tally() -> Iterator[Dict[str, Report]]:
    """Counts by workload; printed as they come, and in all at the end."""
    counts: Dict[str, Report] = {}
    print()
    yield counts
    total = Report()
    for report in counts.values():
        total += report
    print(f"{'in all':56}{total}")


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_many_more_crash_states_do(name: str, scratch: Path, tally: Dict[str, Report]) -> None:
    record = ALL[name].record(scratch)
    report = tally[name] = Checker(scratch).check(record, LONG, recoveries=200)
    print(f"{name:56}{report}")
    assert not report.violations, report.smallest()


@pytest.mark.long
def test_there_are_more_than_twenty_thousand_states(tally: Dict[str, Report]) -> None:
    if len(tally) < len(ALL):
        pytest.skip("only some of the workloads were chosen")
    assert sum(report.distinct for report in tally.values()) > 20_000
