"""The entries that are stored: measurements of 207 bytes of JSON each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

Entry = Dict[str, Any]

SIZE = 207


def entry(index: int) -> Entry:
    """Return one entry; each differs from the others, and all have one size."""
    minutes, seconds = divmod(index % 86_400, 60)
    hours, minutes = divmod(minutes, 60)
    return {
        "id": f"{index:012d}",
        "timestamp": f"2026-11-22T{hours:02d}:{minutes:02d}:{seconds:02d}.000Z",
        "temperature": 100 + index % 900 + 0.25,
        "humidity": 10 + index % 90,
        "windSpeed": 10 + index % 17 + 0.5,
        "location": "weather station, roof of the east hall 2",
        "valid": True,
        "state": "ok",
    }


def entries(first: int, count: int) -> List[Entry]:
    """Return some entries, by their numbers."""
    return [entry(index) for index in range(first, first + count)]


def write_list(path: Path, count: int) -> None:
    """Write the first entries as a JSON list, without holding them all in memory."""
    with path.open("w", encoding="ascii") as file:
        file.write("[")
        for index in range(count):
            file.write((", " if index else "") + json.dumps(entry(index)))
        file.write("]")
