"""Reading a backup file and its journal, independently of the library."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any


def on_disk(path: Path) -> Any:
    """Return what a backup file and its journal say, read here by the rules of their format."""
    content = path.read_bytes()
    entries = json.loads(content)
    journal = path.with_name(path.name + ".journal")
    try:
        lines = journal.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return entries
    crc = 0
    for number, line in enumerate(lines):
        payload = line[9:]
        crc = zlib.crc32(payload, crc)
        if line[:9] != b"%08x " % crc:
            break
        said = json.loads(payload)
        if number == 0:
            blanks = content.split(b"\n")[1].replace(b" ", b"0").replace(b"\t", b"1")
            if int(said["snapshot"], 16) != int(blanks, 2):
                break
            continue
        for kind, argument in said:
            if kind == "a":
                entries += argument
            elif kind == "f":
                entries = argument + entries
            elif kind == "d":
                entries = entries[argument:]
            else:
                assert kind == "r"
                place = 0
                for start, count in argument:
                    place += start
                    entries = entries[:place] + entries[place + count :]
    return entries
