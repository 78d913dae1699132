"""Look into a storage's backup file, its journal and its dead letters.

`show` and `export` only read: they may be used while a gateway runs. `requeue` needs the file
for itself, so the gateway must be stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from .arguments import path as path_argument
from .errors import Failed
from .text import one_line, say, size, table

if TYPE_CHECKING:
    from uun_iot_storage.inspection import Backup

__all__ = ["add_arguments", "main"]

#: levels of objects that get columns of their own
_DEEPEST = 16

_EPILOG = """\
examples:
  uun-iot storage show backup/weather.json
  uun-iot storage export backup/weather.json --csv -o weather.csv
  uun-iot storage requeue backup/weather.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    what = parser.add_subparsers(dest="what", metavar="{show,export,requeue}", required=True)
    show = what.add_parser("show", help="say what is stored, and in which files")
    show.add_argument("--json", action="store_true", help="print a JSON object")
    export = what.add_parser("export", help="print the entries, one a line")
    export.add_argument("--dead", action="store_true", help="the dead letters instead")
    export.add_argument(
        "--csv",
        action="store_true",
        help="print a table with a column for each key, instead of JSON",
    )
    export.add_argument(
        "-o",
        "--output",
        type=path_argument,
        metavar="FILE",
        help="write to a file that is not there",
    )
    requeue = what.add_parser(
        "requeue",
        help="put the dead letters back into the storage, in front, to be sent again",
    )
    for each in (show, export, requeue):
        each.add_argument(
            "file", type=path_argument, metavar="FILE", help="the backup file, as configured"
        )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from uun_iot_storage import StorageError
    from uun_iot_storage.inspection import look_into, requeue

    try:
        if options.what == "requeue":
            count = requeue(options.file)
            say(f"{count} dead letters are stored again" if count else "there are no dead letters")
            return 0
        backup = look_into(options.file)
    except (StorageError, ValueError) as exc:
        raise Failed(one_line(str(exc))) from None
    if options.what == "export":
        _export(backup, options)
    elif options.json:
        say(json.dumps(_summary(backup), indent=2))
    else:
        for line in table(_rows(backup)):
            say(line)
    return 0


def _summary(backup: Backup) -> Dict[str, Any]:
    return {
        "path": backup.path,
        "entries": len(backup.entries),
        "bytes": _bytes(backup.entries),
        "damage": backup.damage,
        "inFile": backup.in_file,
        "journalBytes": backup.journal,
        "journalBackups": backup.backups,
        "journalDamage": backup.journal_damage,
        "deadLetters": len(backup.dead),
        "deadLettersDamaged": backup.dead_damage,
        "setAside": backup.aside,
    }


def _bytes(entries: List[Any]) -> int:
    return sum(len(json.dumps(entry)) + 2 for entry in entries)


def _rows(backup: Backup) -> List[List[str]]:
    rows = [
        ["file", one_line(backup.path)],
        ["entries", f"{len(backup.entries)} ({size(_bytes(backup.entries))})"],
    ]
    if backup.damage is not None:
        rows.append(["damage", one_line(f"{backup.damage}; it will be set aside at the start")])
    if backup.journal is not None:
        rows.append(["journal", f"{backup.backups} backups ({size(backup.journal)})"])
    if backup.journal_damage is not None:
        rows.append(["", one_line(backup.journal_damage)])
    dead = f"{len(backup.dead)}"
    if backup.dead:
        dead += f", the last of {backup.dead[-1].time}; see: uun-iot storage export --dead"
    if backup.dead_damage:
        dead += f"; {backup.dead_damage} lines cannot be read"
    rows.append(["dead letters", one_line(dead)])
    rows += [["set aside", one_line(path)] for path in backup.aside]
    return rows


# -- export ------------------------------------------------------------------------------------


def _export(backup: Backup, options: argparse.Namespace) -> None:
    """Print the entries.

    Raises:
        Failed: not all of them could be read; whoever keeps the output must know.
    """
    entries: List[Any] = backup.entries
    if options.dead:
        entries = [letter._asdict() for letter in backup.dead]
    elif backup.damage is not None:
        raise Failed(one_line(f"{backup.path}: cannot be read: {backup.damage}"))
    with _output(options.output) as file:
        if options.csv:
            _write_csv(file, entries)
        else:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)
    missing = _not_read(backup, options.dead)
    if missing is not None:
        sys.stdout.flush()
        raise Failed(one_line(f"{backup.path}: {missing}; the rest is exported"))


def _not_read(backup: Backup, dead: bool) -> Optional[str]:
    """Return what could not be read; None where all was."""
    if not dead:
        return backup.journal_damage and f"journal: {backup.journal_damage}"
    return f"{backup.dead_damage} dead letters cannot be read" if backup.dead_damage else None


@contextlib.contextmanager
def _output(path: Optional[str]) -> Iterator[IO[str]]:
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # the terminal may know fewer characters
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    try:
        # readable by its owner alone, as the backup file is
        with open(
            path, "x", encoding="utf-8", errors="backslashreplace", newline="", opener=_private
        ) as file:
            yield file
    except OSError as exc:
        raise Failed(f"{path}: cannot be written ({exc.strerror})") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_csv(file: IO[str], entries: List[Any]) -> None:
    """Write a row an entry; what is no object goes to the column ``value``."""
    rows = [_flat(entry) for entry in entries]
    columns: Dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    writer = csv.DictWriter(file, list(columns) or ["value"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _flat(entry: Any, prefix: str = "", depth: int = 0) -> Dict[str, Any]:
    """Return the values of an entry by key, those of objects within it as ``outer.inner``."""
    if not isinstance(entry, dict) or depth == _DEEPEST:
        return {prefix or "value": _cell(entry)}
    if prefix and not entry:
        return {prefix: "{}"}
    found: Dict[str, Any] = {}
    for key, value in entry.items():
        found.update(_flat(value, f"{prefix}.{key}" if prefix else key, depth + 1))
    return found


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return (
        value
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
        else (json.dumps(value))
    )
