"""A fast place for many small files."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from .checker import scratch_directory


@pytest.fixture
def scratch() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
