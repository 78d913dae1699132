"""`uun-iot storage`: what it prints, and that it harms no running gateway."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.iot.command import TIMERS, WEATHER, child, refused, run
from tests.support.backup import on_disk
from uun_iot import Storage
from uun_iot_storage.deadletters import add_dead_letters

ENTRIES = [
    {"id": "a-1", "temperature": 20.5, "place": {"roof": True, "name": "ž, ž"}},
    {"id": "a-2", "temperature": None, "list": [1, 2], "nothing": {}},
    5,
]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    path = tmp_path / "weather.json"
    with Storage("weather", str(path)) as storage:
        storage.merge(ENTRIES)
    return path


def test_show_says_what_there_is(backup: Path, tmp_path: Path) -> None:
    done = run("storage", "show", "weather.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    size = sum(len(json.dumps(entry)) + 2 for entry in ENTRIES)
    assert done.stdout.splitlines() == [
        f"file          {backup}",
        f"entries       3 ({size} B)",
        "dead letters  0",
    ]
    add_dead_letters(f"{backup}.dead", [("x", 3)])
    backup.with_name("weather.json.bad").write_text("")
    found = json.loads(run("storage", "show", "--json", "weather.json", cwd=tmp_path).stdout)
    assert found == {
        "path": str(backup),
        "entries": 3,
        "bytes": size,
        "damage": None,
        "inFile": 3,
        "journalBytes": None,
        "journalBackups": 0,
        "journalDamage": None,
        "deadLetters": 1,
        "deadLettersDamaged": 0,
        "setAside": [f"{backup}.bad"],
    }
    lines = run("storage", "show", "weather.json", cwd=tmp_path).stdout.splitlines()
    assert lines[2].startswith("dead letters  1, the last of 20")
    assert lines[3] == f"set aside     {backup}.bad"


def test_export_prints_json_lines_or_a_table(backup: Path, tmp_path: Path) -> None:
    done = run("storage", "export", "weather.json", cwd=tmp_path)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ENTRIES
    done = run("storage", "export", "weather.json", "--csv", "-o", "out.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert list(csv.reader(io.StringIO(text))) == [
        ["id", "temperature", "place.roof", "place.name", "list", "nothing", "value"],
        ["a-1", "20.5", "true", "ž, ž", "", "", ""],
        ["a-2", "", "", "", "[1, 2]", "{}", ""],
        ["", "", "", "", "", "", "5"],
    ]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600
    done = run("storage", "export", "weather.json", "-o", "out.csv", cwd=tmp_path)
    assert "out.csv: cannot be written (File exists)" in refused(done, 1)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == text


def test_export_of_dead_letters_says_when_and_how_often(backup: Path, tmp_path: Path) -> None:
    add_dead_letters(f"{backup}.dead", [({"n": 1}, 3)])
    done = run("storage", "export", "weather.json", "--dead", cwd=tmp_path)
    (letter,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (letter["attempts"], letter["entry"]) == (3, {"n": 1})
    done = run("storage", "export", "weather.json", "--dead", "--csv", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "time,attempts,entry.n"


def test_an_export_of_what_is_damaged_is_a_failure(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_text()
    with Storage("weather", str(backup)) as storage:
        for number in range(3):
            storage.append(number, backup=True)
        journal = Path(f"{backup}.journal").read_bytes()
    backup.write_text(whole)
    lines = journal.splitlines(keepends=True)
    damaged = [*lines[:-1], lines[-1].replace(b"2", b"7")]
    Path(f"{backup}.journal").write_bytes(b"".join(damaged))
    done = run("storage", "export", "weather.json", cwd=tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, len(ENTRIES) + 2)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"uun-iot storage: {backup}: journal: ")
    assert done.stderr.endswith("cannot be read; the rest is exported\n")

    Path(f"{backup}.dead").write_text("nonsense\n")
    add_dead_letters(f"{backup}.dead", [("x", 3)])
    done = run("storage", "export", "--dead", "weather.json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["entry"]) == (1, "x")
    assert done.stderr.endswith(": 1 dead letters cannot be read; the rest is exported\n")

    backup.write_text(whole[: len(whole) // 2])
    for arguments in ([], ["--csv"], ["-o", "out"]):
        line = refused(run("storage", "export", "weather.json", *arguments, cwd=tmp_path), 1)
        assert f"{backup}: cannot be read: no JSON" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["show", "export", "requeue"])
def test_what_has_no_end_is_not_read(tmp_path: Path, what: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("pipe", "/dev/zero"):
        line = refused(run("storage", what, path, cwd=tmp_path), 1)
        place = os.path.realpath(tmp_path / path)
        said = f"uun-iot storage: backup file {place}: it is a device, a pipe or a socket;"
        assert line.startswith(said)


def test_a_terminal_that_knows_few_characters_gets_escapes(backup: Path, tmp_path: Path) -> None:
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = run("storage", "export", "weather.json", "--csv", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"\\u017e, \\u017e"' in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    import subprocess

    from tests.iot.command import UUN_IOT

    with Storage("big", str(tmp_path / "big.json")) as storage:
        storage.merge([{"text": "x" * 1000}] * 2000)
    process = subprocess.Popen(
        [*UUN_IOT, "storage", "export", "big.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def test_requeue_puts_dead_letters_back(backup: Path, tmp_path: Path) -> None:
    assert run("storage", "requeue", "weather.json", cwd=tmp_path).stdout == (
        "there are no dead letters\n"
    )
    add_dead_letters(f"{backup}.dead", [("x", 3), ("y", 3)])
    done = run("storage", "requeue", "weather.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "2 dead letters are stored again\n")
    assert on_disk(backup) == ["x", "y", *ENTRIES]
    assert not Path(f"{backup}.dead").exists()


def test_a_running_gateway_is_looked_at_and_left_alone(backup: Path, tmp_path: Path) -> None:
    config: Any = json.loads(json.dumps(TIMERS))
    config["gateway"]["moduleBackupStorage"] = {"weather": "weather.json"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "weather.py").write_text(WEATHER)
    add_dead_letters(f"{backup}.dead", [("x", 3)])
    with child("run", "weather", cwd=tmp_path) as gateway:
        gateway.wait_for_line("^measure$")
        shown = json.loads(run("storage", "show", "--json", "weather.json", cwd=tmp_path).stdout)
        assert shown["entries"] >= 4 and shown["journalBackups"] >= 1
        exported = run("storage", "export", "weather.json", cwd=tmp_path).stdout.splitlines()
        assert len(exported) >= 4
        line = refused(run("storage", "requeue", "weather.json", cwd=tmp_path), 1)
        assert "another process has it open; stop that process" in line
        assert Path(f"{backup}.dead").exists()
        gateway.terminate()
        assert gateway.wait() == 0
        # nothing of the storage; that a tick is late is the machine's affair
        said = [one for one in gateway.errors if "uun_iot.storage" in one]
        assert not any("ERROR" in one or "WARNING" in one for one in said), said


@pytest.mark.parametrize("what", ["show", "export", "requeue"])
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, what: str) -> None:
    line = refused(run("storage", what, "nothing.json", cwd=tmp_path), 1)
    assert line == (
        f"uun-iot storage: backup file {tmp_path / 'nothing.json'}: does not exist; give the path "
        "of a storage's backup file"
    )
    assert list(tmp_path.iterdir()) == []
