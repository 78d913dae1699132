"""`uun-iot run`: applications and configurations, and what is said of those it cannot run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

import pytest

from tests.iot.command import TIMERS, WEATHER, child, refused, run, ticks


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "weather.py").write_text(WEATHER)
    (tmp_path / "config.json").write_text(json.dumps(TIMERS))
    return tmp_path


@pytest.mark.parametrize("reference", ["weather:init", "weather", "weather:several",
                                       "weather:factory.make", "weather:registering"])  # fmt: skip
def test_any_form_of_init_runs(project: Path, reference: str) -> None:
    done = run("run", reference, "--once", cwd=project)
    assert done.returncode == 0, done.stderr
    assert ticks(done) == ["measure", "send", "stop"]


def test_an_event_init_runs_where_it_is_said_to_be_one(project: Path) -> None:
    done = run("run", "weather:events", "--events", "--once", cwd=project)
    assert done.returncode == 0, done.stderr
    assert ticks(done) == ["measure", "send", "stop"]
    checked = run("check", "--app", "weather:events", "--events", cwd=project)
    assert (checked.returncode, checked.stdout) == (0, "config.json: nothing is wrong\n")
    unit = run("install-service", "weather:events", "--events", "--dry-run", cwd=project)
    assert "run weather:events --events -c" in unit.stdout


def test_the_application_may_stand_in_a_package_or_in_pyproject(project: Path) -> None:
    package = project / "app" / "station"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from weather import init as make\n")
    assert run("run", "app.station:make", "--once", cwd=project).returncode == 0
    (project / "pyproject.toml").write_text('[tool.uun-iot]\napp = "app.station:make"\n')
    assert run("run", "--once", cwd=project).returncode == 0


@pytest.mark.parametrize(
    "reference, said",
    [
        ("wether:init", "there is no module wether, neither in"),
        ("app.weather:init", "there is no module app, neither in"),
        ("weather:int", "weather has no `int`; it has the functions say, init, several"),
        ("weather:factory.mak", "weather has no `factory.mak`"),
        ("weather:not_a_function", "weather:not_a_function is no function but int"),
        ("weather.py:init", "expected a module, not a file: weather"),
        ("./weather.py", "expected a module, not a file"),
        ("weather:", "expected MODULE:INIT, for example weather:init, got 'weather:'"),
        ("", "expected MODULE:INIT"),
        ("a b:c", "expected MODULE:INIT"),
    ],
)
def test_a_wrong_application_is_one_line_and_status_2(
    project: Path, reference: str, said: str
) -> None:
    line = refused(run("run", reference, cwd=project), 2)
    assert line.startswith("uun-iot run: ") and said in line


@pytest.mark.parametrize(
    "pyproject, said",
    [
        (None, "which application? Give MODULE:INIT"),
        ("[tool]\n", "which application?"),
        ("tool = 5\n", "which application?"),
        ("[tool.uun-iot]\napp = 5\n", "tool.uun-iot.app: expected a string"),
        ("[tool\n", "pyproject.toml: not valid TOML"),
    ],
)
def test_a_project_that_names_no_application_says_so(
    project: Path, pyproject: Any, said: str
) -> None:
    if pyproject is not None:
        (project / "pyproject.toml").write_text(pyproject)
    assert said in refused(run("run", cwd=project), 2)


def test_what_the_application_raises_is_logged_with_its_stack(project: Path) -> None:
    done = run("run", "weather:broken", cwd=project)
    assert done.returncode == 1
    assert "weather.py" in done.stderr and "Traceback" in done.stderr
    assert done.stderr.count('  File "') == 1  # the application's, not how it was called
    last = done.stderr.splitlines()[-1]
    assert last == "uun-iot run: the gateway cannot be built: LookupError: no such sensor"
    (project / "syntax.py").write_text("def init(:\n")
    done = run("run", "syntax", cwd=project)
    assert done.returncode == 1 and "importing syntax failed: SyntaxError" in done.stderr
    (project / "needs.py").write_text("import a_library_that_is_not_there\n")
    done = run("run", "needs", cwd=project)
    assert done.returncode == 1
    assert "No module named 'a_library_that_is_not_there'" in done.stderr.splitlines()[-1]


LEAVING = """
import sys

def with_status(config, uuclient):
    sys.exit(7)

def with_text(config, uuclient):
    sys.exit("no such sensor")

def as_if_well(config, uuclient):
    sys.exit()

def beyond(config, uuclient):
    sys.exit(256)
"""


@pytest.mark.parametrize("more", [[], ["--once"]])
@pytest.mark.parametrize(
    "name, status, said",
    [
        ("with_status", 7, "sys.exit(7) in {}, line 5"),
        ("with_text", 1, "sys.exit('no such sensor') in {}, line 8"),
        ("as_if_well", 1, "sys.exit() in {}, line 11"),  # 0 would mean that it had run
        ("beyond", 1, "sys.exit(256) in {}, line 14"),
    ],
)
def test_an_application_that_ends_the_process_is_one_line_with_its_status(
    project: Path, name: str, status: int, said: str, more: List[str]
) -> None:
    file = project / "leaving.py"
    file.write_text(LEAVING)
    line = refused(run("run", f"leaving:{name}", *more, "--log", "error", cwd=project), status)
    assert line == f"uun-iot run: the gateway cannot be built: {said.format(file)}"


def test_a_module_that_ends_the_process_while_it_is_imported_is_one_line(project: Path) -> None:
    file = project / "leaving.py"
    file.write_text("import sys\nsys.exit(4)\n")
    line = refused(run("run", "leaving", cwd=project), 4)
    assert line == f"uun-iot run: importing leaving failed: sys.exit(4) in {file}, line 2"
    file.write_text("import sys\nsys.exit()\n")
    for command in (["run"], ["install-service", "--dry-run"]):
        refused(run(*command, "leaving", cwd=project), 1)
    assert "sys.exit()" in refused(run("check", "--app", "leaving", cwd=project), 1)


@pytest.mark.parametrize(
    "name, what",
    [
        ("init", "is an `async def`"),
        ("several", "is an `async def`"),
        ("Instance", "is an `async def`"),
        ("returning", "returned what `async def` returns"),
    ],
)
def test_an_init_that_must_be_awaited_is_one_line_with_the_remedy(
    project: Path, name: str, what: str
) -> None:
    (project / "waiting.py").write_text(
        "async def init(config, uuclient):\n    return []\n"
        "async def several(config, uuclient):\n    yield None\n"
        "def returning(config, uuclient):\n    return init(config, uuclient)\n"
        "class Callable:\n    async def __call__(self, config, uuclient):\n        return []\n"
        "Instance = Callable()\n"
    )
    said = f"waiting:{name} {what}, which a gateway does not await; make it a plain `def`"
    for command in (["run"], ["run", "--once"], ["dev", "--no-console"], ["check", "--app"]):
        done = run(*command, f"waiting:{name}", cwd=project)
        line = f"uun-iot {command[0]}: {said}"
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith(line), done.stderr


@pytest.mark.parametrize("made", ["Pump", "[Pump]"])
def test_an_init_that_returns_a_class_is_one_line_with_the_remedy(project: Path, made: str) -> None:
    (project / "pump.py").write_text(
        "from uun_iot import Module\nclass Pump(Module):\n    pass\n"
        f"def init(config, uuclient):\n    return {made}\n"
    )
    said = "pump:init returned the class Pump, not a module; return Pump(…)"
    assert refused(run("run", "pump", cwd=project), 2) == f"uun-iot run: {said}"
    assert refused(run("check", "--app", "pump", cwd=project), 2) == f"uun-iot check: {said}"


def test_an_init_that_returns_nothing_is_warned_of(project: Path) -> None:
    (project / "pump.py").write_text("def init(config, uuclient):\n    pass\n")
    done = run("run", "pump", "--once", cwd=project)
    assert done.returncode == 0
    assert "pump:init returned no module; is a `return` missing?" in done.stderr


@pytest.mark.parametrize(
    "path, said",
    [
        ("aaa/" * 100 + "c.json", "uun-iot run: aaa/"),
        ("there\nis\x1b[31m", "uun-iot run: there\\nis\\x1b[31m: the configuration file cannot be"),
    ],
)
def test_a_path_of_any_length_is_one_line_that_can_be_read(
    project: Path, path: str, said: str
) -> None:
    line = refused(run("run", "weather", "-c", path, cwd=project), 2)
    assert line.startswith(said) and "the configuration file cannot be read (" in line
    assert line.endswith("give the path of a JSON file (its minimum is {})") and len(line) < 350


def test_a_configuration_with_many_mistakes_is_one_line_that_can_be_read(project: Path) -> None:
    timers = {f"module{number}": "x" for number in range(1000)}
    (project / "config.json").write_text(json.dumps({"gateway": {"moduleTimers": timers}}))
    line = refused(run("run", "weather", cwd=project), 2)
    assert line.startswith("uun-iot run: config.json: gateway.moduleTimers.module0: expected")
    assert len(line) < 900 and line.endswith("…; `uun-iot check` says all of it")


@pytest.mark.parametrize(
    "path, said", [("", "expected a path, got ''"), ("a" * 300, "…: File name too long")]
)
def test_what_can_be_no_path_is_refused(project: Path, path: str, said: str) -> None:
    line = refused(run("run", "weather", "-c", path, cwd=project), 2)
    assert line.startswith("uun-iot run: argument -c/--config: ")
    assert line.endswith(f"{said}; see uun-iot run --help")


@pytest.mark.parametrize(
    "content, status, said",
    [
        (None, 2, "config.json: the configuration file cannot be read"),
        ("{", 2, "config.json: line 1, column 2: not valid JSON"),
        ('{"gateway": {"moduleTimers": {"weather": 5}}}', 2, "gateway.moduleTimers.weather"),
        ('{"uuApp": {"network": {"deadline": 0}}}', 2, "uuApp.network.deadline"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_status_2(
    project: Path, content: Any, status: int, said: str
) -> None:
    (project / "config.json").unlink()
    if content is not None:
        (project / "config.json").write_text(content)
    done = run("run", "weather", "--log", "error", cwd=project)
    assert said in refused(done, status)


def test_a_backup_file_of_another_process_is_one_line_and_status_1(project: Path) -> None:
    config = json.loads(json.dumps(TIMERS))
    config["gateway"]["moduleBackupStorage"] = {"weather": "s.json"}
    (project / "config.json").write_text(json.dumps(config))
    with child("run", "weather", cwd=project) as first:
        first.wait_for_line("measure")
        done = run("run", "weather", "--log", "error", cwd=project)
        assert "another process has it open" in refused(done, 1)
