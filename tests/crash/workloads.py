"""What gateways do with a storage, each a few operations long."""

from __future__ import annotations

import json
import logging
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, NamedTuple, Optional

from .checker import Record
from .recorder import Recorder
from .twin import FILE, Twin

__all__ = ["WORKLOADS", "Workload", "random_work"]


class Workload(NamedTuple):
    """Something to do, and what there is before.

    Args:
        work: does it.
        maxlen: the storage's limit.
        before: content of the backup file; empty for no file.
        file: path of the backup file.
    """

    work: Callable[[Twin], object]
    maxlen: int = 0
    before: bytes = b""
    file: str = FILE

    def record(self, root: Path, faults: Optional[ContextManager[object]] = None) -> Record:
        """Do it in a new directory.

        Args:
            root: where to make that.
            faults: what goes wrong meanwhile, see `tests.crash.faults`.
        """
        root = root / "work"
        root.mkdir()
        if self.before:
            (root / self.file).write_bytes(self.before)
        try:
            states, damaged = [json.loads(self.before or b"[]")[-self.maxlen :]], b""
        except ValueError:
            states, damaged = [[]], self.before
        logging.disable(logging.ERROR)  # of dropped entries, files set aside, faults
        try:
            with faults or nullcontext(), Recorder(root) as recorder:
                twin = Twin(recorder, states, self.maxlen, self.file)
                self.work(twin)
            record = Record.of(recorder, twin, damaged)
            twin.storage.close()
            return record
        finally:
            logging.disable(logging.NOTSET)


def reading(number: int, size: int = 0) -> Dict[str, Any]:
    """Return an entry as a sensor makes them."""
    entry: Dict[str, Any] = {"n": number, "celsius": 20.5 + number}
    return {**entry, "raw": chr(97 + number % 26) * size} if size else entry


def append(twin: Twin) -> None:
    for number in range(6):
        twin.append(reading(number), backup=number not in (1, 2, 5))
    twin.append("ěšč\n\0\u2028")
    twin.append(None)
    twin.close()


def merge(twin: Twin) -> None:
    twin.merge([1, 2, 3])
    twin.merge([-1, 0], new_data=False)
    twin.merge([4], backup=False)
    twin.merge([])
    twin.merge([[], {}, [[]]], new_data=False)
    twin.merge([reading(n) for n in range(40)])  # more than a sector
    twin.merge([reading(n) for n in range(20)], new_data=False)


def empty(twin: Twin) -> None:
    twin.empty()
    for number in range(3):
        twin.append(number)
        twin.append([number], backup=False)
        twin.empty()
    twin.append("last")


def bounded(twin: Twin) -> None:
    for number in range(7):
        twin.append(number, backup=number % 3 != 1)
    twin.merge([10, 11])
    twin.merge([-1, -2], new_data=False)
    twin.merge(list(range(20, 30)))
    twin.send(failed=[0], meanwhile=lambda: twin.append("meanwhile"))
    twin.send(failed=[0, 1, 2], meanwhile=lambda: twin.merge(["a", "b"]))


def send(twin: Twin) -> None:
    twin.merge([reading(n) for n in range(6)])
    twin.send(failed=[4, 1])
    twin.append(7)
    twin.send(failed=[0, 2], copied=True)
    twin.send(failed=[1], foreign=[{"changed": True}, "changed"])
    twin.append(8, backup=False)
    twin.send(failed=[0, 1, 2, 3], meanwhile=lambda: twin.append(9))
    twin.send(limit=2)
    twin.send(limit=2, failed=[1], meanwhile=lambda: twin.merge([10, 11]))
    twin.send()
    twin.send()


def send_equal_entries(twin: Twin) -> None:
    twin.merge([5, 5, 5, [], [], 5])
    twin.send(failed=[1])
    twin.append(5)
    twin.append(5)
    twin.send(limit=1)
    twin.send(limit=2, failed=[1], foreign=[[]])
    twin.send()


def an_outage(twin: Twin) -> None:
    twin.merge([reading(n) for n in range(4)])
    for number in range(4, 7):
        twin.append(reading(number))
        twin.send(failed=range(number + 1))
    twin.send()


def by_hand(twin: Twin) -> None:
    twin.merge([reading(n) for n in range(4)])
    twin.by_hand(lambda entries: entries.insert(1, "inserted"))
    twin.append(5)
    twin.by_hand(lambda entries: entries.pop())
    twin.by_hand(lambda entries: entries.append(["another, of the same length"]))
    twin.merge([])
    twin.by_hand(lambda entries: entries[0].update(celsius=-1), assign=True)
    twin.append(6)
    twin.by_hand(lambda entries: entries.__setitem__(2, "in the middle"))
    twin.send(failed=[1, 2])
    twin.by_hand(lambda entries: entries.clear())
    twin.append(7)
    twin.by_hand(lambda entries: entries.reverse())
    twin.by_hand(lambda entries: entries.append("at the end"))
    twin.close()


def drain(twin: Twin) -> None:
    for number in range(5):
        twin.append(number % 2)  # and so the very same snapshots come back
        twin.send()
    twin.merge([1, 2])
    twin.empty()
    twin.merge([1, 2])
    twin.send()


def grow(twin: Twin) -> None:
    """Enough for a compaction, whose floor is 64 KiB, several times over."""
    for number in range(6):
        twin.append(reading(number, 15_000))
    twin.send(failed=[0, 5], meanwhile=lambda: twin.append(reading(10, 15_000)))
    for number in range(8):
        twin.append(reading(number, 9_000))
        if number % 4 == 3:
            twin.send(failed=[0])


def drain_and_grow(twin: Twin) -> None:
    for _ in range(3):
        for number in range(5):
            twin.append(reading(number, 16_000))
        twin.send()


def reopen(twin: Twin) -> None:
    for number in range(3):
        twin.append(number)
        twin.append([number], backup=False)
        twin.close()
        twin.reopen()
    twin.empty()
    twin.close()
    twin.reopen()
    twin.append("last")


def second(twin: Twin) -> None:
    for number in range(3):
        twin.append(number)
        twin.second()
    twin.send(failed=[1])
    twin.second()
    twin.empty()
    twin.second()
    twin.append("last")


def random_work(seed: int, length: int = 14) -> Callable[[Twin], object]:
    """Return a workload of operations drawn by lot."""

    def work(twin: Twin) -> None:
        chance = random.Random(seed)
        numbers = iter(range(1000))

        def some(most: int) -> List[Any]:
            size = chance.choice((0, 0, 30, 700))
            return [reading(next(numbers), size) for _ in range(chance.randint(0, most))]

        def any_append() -> None:
            twin.append(reading(next(numbers)), backup=chance.random() < 0.8)

        def any_send() -> None:
            limit = chance.choice((None, 1, 3))
            count = min(len(twin.list), limit or len(twin.list))
            failed = [n for n in range(count) if chance.random() < 0.4]
            meanwhile = chance.choice((None, any_append))
            twin.send(failed, chance.choice(((), ("foreign",))), limit, meanwhile)

        def close_and_reopen() -> None:
            twin.close()
            twin.reopen()

        choices: List[Callable[[], object]] = [
            any_append,
            any_append,
            any_append,
            lambda: twin.merge(some(3), chance.random() < 0.5, chance.random() < 0.8),
            any_send,
            any_send,
            twin.empty,
            lambda: twin.by_hand(lambda entries: entries.__setitem__(slice(0, 1), ["by hand"])),
            close_and_reopen,
        ]
        for _ in range(length):
            chance.choice(choices)()

    return work


_PUBLISHED = json.dumps([reading(n) for n in range(3)], indent=4).encode()

WORKLOADS: Dict[str, Workload] = {
    "append": Workload(append),
    "merge": Workload(merge),
    "empty": Workload(empty),
    "bounded": Workload(bounded, maxlen=4),
    "send": Workload(send),
    "send equal entries": Workload(send_equal_entries),
    "an outage": Workload(an_outage),
    "by hand": Workload(by_hand),
    "drain": Workload(drain),
    "grow": Workload(grow),
    "grow, bounded": Workload(grow, maxlen=3),
    "drain and grow": Workload(drain_and_grow),
    "reopen": Workload(reopen),
    "second storage": Workload(second),
    "a published file": Workload(send, before=_PUBLISHED),
    "a published file, longer than the limit": Workload(append, maxlen=2, before=_PUBLISHED),
    "a published file, emptied": Workload(empty, before=b"[1, 2]"),
    "a damaged file": Workload(append, before=b'[{"torn": tr'),
    "in new directories": Workload(merge, file="not/there yet/s.json"),
}
