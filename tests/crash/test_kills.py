"""SIGKILL at random moments while several threads store and send: nothing acknowledged is lost.

The short forms with one thread are in `tests.storage.test_processes`; here the file is never
closed or opened by anybody but the processes that are killed, so that what one leaves is
what the next begins with. What is stored is read from a copy.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

import pytest

from uun_iot_storage import Storage

from ..storage.support import start_python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")

# Entries are [thread, number, filler]; the numbers of a thread go up, those of `front` are
# merged before all others. A line is one write, so that a kill tears none.
WORKER = """
import os, random, sys, threading
from uun_iot_storage import Storage

path, seed, *numbers = sys.argv[1:]
chance = random.Random(int(seed))
filler = "x" * chance.choice((0, 40, 40, 3000))
storage = Storage("s", path)

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def store(name, number):
    while True:
        entries = [[name, number + n, filler] for n in range(chance.choice((1, 1, 1, 3)))]
        if name == "front":
            storage.merge(entries[::-1], new_data=False)
        elif len(entries) == 1:
            storage.append(entries[0], backup=True)
        else:
            storage.append(entries[0])
            storage.merge(entries[1:])
        number += len(entries)
        tell("stored", name, number - 1)

def send():
    while True:
        batch = storage.take(chance.randint(1, 40))
        failed = [entry for entry in batch if chance.random() < 0.2]
        sent = [word for entry in batch if entry not in failed for word in entry[:2]]
        tell("sending", *sent)
        storage.acknowledge(batch, failed)
        tell("sent", *sent)

tell("ready")
names = ["one", "two", "front"]
threads = [threading.Thread(target=store, args=(n, int(k))) for n, k in zip(names, numbers)]
threads.append(threading.Thread(target=send))
for thread in threads:
    thread.start()
"""

Entry = Tuple[str, int]


class Ledger:
    """What the killed processes have said, and so what must, may and must not be stored."""

    def __init__(self) -> None:
        self.stored = {"one": -1, "two": -1, "front": -1}
        self.following = {"one": 0, "two": 0, "front": 0}
        self.sending: Set[Entry] = set()
        self.sent: Set[Entry] = set()
        self.acknowledged = 0

    def read(self, line: str) -> None:
        kind, *words = line.split()
        entries = [(name, int(number)) for name, number in zip(words[::2], words[1::2])]
        if kind == "stored":
            self.acknowledged += 1
            self.stored.update(entries)
        elif kind == "sending":
            self.sending.update(entries)
        elif kind == "sent":
            self.sent.update(entries)

    def compare(self, data: List[Any]) -> None:
        found = [(name, number) for name, number, _ in data]
        assert len(set(found)) == len(found), "an entry is there twice"
        assert not self.sent & set(found), "an entry is there that has been sent"
        for name, highest in self.stored.items():
            numbers = [number for each, number in found if each == name]
            ordered = sorted(numbers, reverse=name == "front")
            assert numbers == ordered, f"the entries of {name} are out of order"
            known = {number for each, number in self.sending if each == name}.union(numbers)
            assert known == set(range(len(known))), f"entries of {name} are lost"
            assert len(known) > highest, f"acknowledged entries of {name} are lost"
            self.following[name] = len(known)
        # what was being sent when the process was killed: if it is there, it will be sent
        # again, if not, it must not come back
        self.sending.difference_update(found)
        self.sent |= self.sending


def kill_round(path: Path, ledger: Ledger, chance: random.Random) -> None:
    arguments = [str(path), str(chance.randrange(10**6)), *map(str, ledger.following.values())]
    with start_python(WORKER, *arguments) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 60))]
        time.sleep(chance.random() * 0.005)  # no event: the kill comes at any instruction
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        assert process.stderr.read() == ""
    for line in lines:
        ledger.read(line)
    copy = path.parent.with_name("copy")
    shutil.copytree(path.parent, copy)
    try:
        with Storage("s", str(copy / path.name)) as storage:
            ledger.compare(storage.data)
        assert not list(copy.glob("*.bad*"))
    finally:
        shutil.rmtree(copy)


def kill_again_and_again(directory: Path, rounds: int, seed: int) -> Dict[str, int]:
    path, ledger, chance = directory / "home" / "s.json", Ledger(), random.Random(seed)
    path.parent.mkdir()
    for _ in range(rounds):
        kill_round(path, ledger, chance)
    assert ledger.sent
    return {"rounds": rounds, "acknowledged": ledger.acknowledged, "sent": len(ledger.sent)}


def test_ten_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 10, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_fifty_kills_under_load_lose_nothing(seed: int, tmp_path: Path) -> None:
    counts = kill_again_and_again(tmp_path, 50, seed + 100)
    print("\nkill -9:", *(f"{count} {what}" for what, count in counts.items()), end=" ")
