"""Storage against a plain list: any sequence of operations, with failures and reopening."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from uun_iot_core.clock import ManualClock
from uun_iot_storage import Batch, Storage, StorageError

from .support import on_disk

#: a value with a number of its own, which tells equal values apart
Numbered = Tuple[int, Any]

# few distinct values: equal ones, also those that are one object, are what could be mixed up
entries: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 2), st.builds(list), st.builds(dict, a=st.integers(0, 1))
)


def sent_and_unmatched(
    taken: List[Numbered], failed: List[Any]
) -> Tuple[List[Numbered], List[Any]]:
    """The documented rule, word for word: identity, then equality, left to right, once."""
    sent, others, unmatched = list(taken), [], []
    for value in failed:
        found = [pair for pair in sent if pair[1] is value]
        if found:
            sent.remove(found[0])
        else:
            others.append(value)
    for value in others:
        found = [pair for pair in sent if pair[1] == value]
        if found:
            sent.remove(found[0])
        else:
            unmatched.append(value)
    return sent, unmatched


class StorageMachine(RuleBasedStateMachine):
    """The model is a list of numbered values, and the list that must be on the disk."""

    maxlen = 0

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.home = self.directory / "home"
        self.path = self.home / "s.json"
        self.broken = False
        self.made = 0
        self.model: List[Numbered] = []
        self.on_disk: List[Any] = []
        self.batch: Optional[Tuple[Batch, List[Numbered]]] = None
        self.storage = self.open()

    def teardown(self) -> None:
        self.mend()
        self.storage.close()
        assert json.loads(self.path.read_text()) == self.values()
        shutil.rmtree(self.directory)

    def open(self) -> Storage:
        return Storage("s", str(self.path), self.maxlen, clock=ManualClock())

    def values(self) -> List[Any]:
        return [value for _, value in self.model]

    def number(self, new: List[Any]) -> List[Numbered]:
        self.made += len(new)
        return list(zip(range(self.made - len(new), self.made), new))

    def change(self, model: List[Numbered], call: Callable[[], None], backup: bool = True) -> None:
        self.model = model[-self.maxlen :]
        try:
            call()
        except StorageError:
            assert self.broken and backup
        else:
            if backup:
                assert not self.broken or self.on_disk == self.values()
                self.on_disk = copy.deepcopy(self.values())

    @rule(value=entries, backup=st.booleans())
    def append(self, value: Any, backup: bool) -> None:
        model = self.model + self.number([value])
        self.change(model, lambda: self.storage.append(value, backup), backup)

    @rule(new=st.lists(entries, max_size=4), at_end=st.booleans(), backup=st.booleans())
    def merge(self, new: List[Any], at_end: bool, backup: bool) -> None:
        numbered = self.number(new)
        model = self.model + numbered if at_end else numbered + self.model
        self.change(model, lambda: self.storage.merge(new, at_end, backup), backup)

    @rule()
    def empty(self) -> None:
        self.change([], self.storage.empty)

    @rule(data=st.data())
    def insert_by_hand(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.model)))
        value = ["by hand"]
        with self.storage.write_lock:
            self.storage.data.insert(place, value)
        self.model[place:place] = self.number([value])

    @precondition(lambda self: self.model)
    @rule()
    def remove_the_last_by_hand(self) -> None:
        with self.storage.write_lock:
            self.storage.data = self.storage.data[:-1]
        self.model.pop()

    @precondition(lambda self: any(isinstance(value, dict) for value in self.values()))
    @rule()
    def edit_by_hand(self) -> None:
        for value in self.values():
            if isinstance(value, dict):
                with self.storage.write_lock:
                    value["a"] = 2
                    self.storage.data = self.storage.data  # says that something was changed
                return

    @rule(limit=st.one_of(st.none(), st.integers(1, 5)))
    def take(self, limit: Optional[int]) -> None:
        batch = self.storage.take(limit)
        self.batch = batch, self.model[:limit]
        assert batch.entries == [value for _, value in self.batch[1]]

    @precondition(lambda self: self.batch)
    @rule(
        data=st.data(),
        copied=st.booleans(),
        shuffled=st.booleans(),
        foreign=st.lists(st.sampled_from(["x", "y"]), max_size=1),
    )
    def acknowledge(
        self, data: st.DataObject, copied: bool, shuffled: bool, foreign: List[Any]
    ) -> None:
        assert self.batch is not None
        batch, taken = self.batch
        self.batch = None
        failed = [value for _, value in taken if data.draw(st.booleans())] + foreign
        if copied:
            failed = copy.deepcopy(failed)
        if shuffled:
            failed = data.draw(st.permutations(failed))
        sent, unmatched = sent_and_unmatched(taken, failed)
        numbers = {number for number, _ in sent}
        left = [pair for pair in self.model if pair[0] not in numbers]
        self.model = (self.number(unmatched) + left)[-self.maxlen :]
        self.storage.acknowledge(batch, failed)
        if not self.broken:
            self.on_disk = copy.deepcopy(self.values())

    @precondition(lambda self: not self.broken)
    @rule(in_place=st.booleans())
    def close_and_open_again(self, in_place: bool) -> None:
        self.storage.close()
        self.on_disk = copy.deepcopy(self.values())
        if in_place:
            self.storage.reopen()
        else:
            self.storage = self.open()
            self.model = self.model[-self.maxlen :]
            assert self.storage.data == self.values()
            self.model = self.number(list(self.storage.data))
            self.batch = None

    @precondition(lambda self: not self.broken)
    @rule()
    def crash_and_go_on(self) -> None:
        """As after a kill: what the files hold now is loaded, the rest is gone."""
        crashed = self.directory / f"home after crash {self.made}"
        shutil.copytree(self.home, crashed, ignore=shutil.ignore_patterns("*.lock"))
        self.storage.close()
        shutil.rmtree(self.home)
        os.rename(crashed, self.home)
        self.storage = self.open()
        self.on_disk = self.on_disk[-self.maxlen :]
        assert self.storage.data == self.on_disk
        self.model = self.number(list(self.storage.data))
        self.batch = None
        # the limit counts from the newest, and the file may have more until the next backup
        self.storage.data = self.storage.data
        self.storage.merge([])

    @precondition(lambda self: self.broken)
    @rule()
    def close_in_vain_and_open_again(self) -> None:
        try:
            self.storage.close()
        except StorageError:
            pass
        self.mend()
        self.storage.reopen()

    @precondition(lambda self: not self.broken)
    @rule()
    def break_the_disk(self) -> None:
        os.rename(self.home, self.directory / "away")
        self.home.write_text("no directory")
        self.broken = True

    @rule()
    def mend(self) -> None:
        if self.broken:
            self.home.unlink()
            os.rename(self.directory / "away", self.home)
            self.broken = False

    @invariant()
    def memory_is_the_model(self) -> None:
        assert self.storage.data == self.values()
        assert len(self.storage) == len(self.model)
        assert self.storage.is_empty() == (not self.model)

    @invariant()
    def the_disk_has_what_was_backed_up(self) -> None:
        if not self.broken:
            assert on_disk(self.path) == self.on_disk


class BoundedStorageMachine(StorageMachine):
    """The same with a limit."""

    maxlen = 4


chosen = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestStorage = StorageMachine.TestCase
TestStorage.settings = chosen
TestBoundedStorage = BoundedStorageMachine.TestCase
TestBoundedStorage.settings = chosen
