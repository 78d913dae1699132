"""A signal's handler may raise between any two steps of a backup: the next one works."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, List, Optional

import pytest

import uun_iot_storage.journal as journal
from uun_iot_storage import Storage, StorageError

from .support import on_disk

#: what a backup does while it has its turn
PARTS = ("_save", "_add_line", "_write_snapshot")
#: an instruction; Python 3.12 tells of lines only, where tracing begins in the middle
STEP = "line" if sys.version_info[:2] == (3, 12) else "opcode"


class Alarm(Exception):
    """What the handler raises."""


class Interruption:
    """Raises once, before one of the steps of a backup.

    Args:
        at: number of the step.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self._seen = 0
        self.came = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Optional[Any]:
        if frame.f_code.co_filename != journal.__file__ or frame.f_code.co_name not in PARTS:
            return None
        frame.f_trace_opcodes = STEP == "opcode"
        if event == STEP:
            self._seen += 1
            if self._seen == self._at:
                self.came = True
                raise Alarm
        return self


def interrupted(storage: Storage, at: int) -> bool:
    """Append, interrupted before a step; return False where there are fewer."""
    interruption = Interruption(at)
    before = sys.gettrace()
    sys.settrace(interruption)
    try:
        storage.append("interrupted", backup=True)
    except (Alarm, StorageError):
        pass
    finally:
        sys.settrace(before)
    return interruption.came


# a new file that was just opened is then closed by the garbage collection
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("whole", [False, True], ids=["a line", "a new file"])
def test_an_interruption_anywhere_in_a_backup_leaves_the_next_one_unharmed(
    tmp_path: Path, whole: bool
) -> None:
    at = 0
    came = True
    while came:
        at += 1
        path = tmp_path / f"{at}.json"
        with Storage("s", str(path)) as storage:
            storage.append(0, backup=True)
            if whole:
                storage.data = [0]
            came = interrupted(storage, at)
            storage.append("last", backup=True)
            expected: List[Any] = [0, "interrupted", "last"]
            assert storage.data == expected
            assert on_disk(path) == expected
    assert at > 20, "the steps were not seen"
