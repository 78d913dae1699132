"""`uun-iot new`, `dev` and `install-service`: from a name to a service of systemd."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.iot.command import TIMERS, UUN_IOT, WEATHER, child, refused, run
from tests.support.backup import on_disk
from tests.support.wait import eventually
from uun_iot.cli.unit import unit_text


def files(folder: Path) -> Dict[str, str]:
    """Return the texts of all files below a folder, without what running them leaves behind."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".pytest_cache"} & set(path.parts)
    }


# -- new ------------------------------------------------------------------------------------------


def slow(*names: str) -> Any:
    return pytest.param(*names, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name, module, class_name, module_id",
    [
        ("weather", "weather", "Weather", "weather"),
        slow("roof-pump2", "roof_pump2", "RoofPump2", "roofPump2"),
        slow("roof_pump", "roof_pump", "RoofPump", "roofPump"),
        # named as the fixtures of its tests
        ("gateway", "gateway", "Gateway", "gateway"),
        slow("clock", "clock", "Clock", "clock"),
        slow("uuapp", "uuapp", "Uuapp", "uuapp"),
        slow(
            "assert-nothing-lost", "assert_nothing_lost", "AssertNothingLost", "assertNothingLost"
        ),
    ],
)
def test_a_new_project_passes_its_own_tests_and_check(
    tmp_path: Path, name: str, module: str, class_name: str, module_id: str
) -> None:
    done = run("new", name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"cd {name}" in done.stdout and "uun-iot dev" in done.stdout
    folder = tmp_path / name
    made = files(folder)
    assert sorted(made) == sorted(
        [f"{module}.py", "config.json", "pyproject.toml", "README.md", ".gitignore",
         f"tests/test_{module}.py", f"{name}.service"]
    )  # fmt: skip
    assert not any("{{" in text or "}}\n" in text for text in made.values())
    assert f"class {class_name}(Module)" in made[f"{module}.py"]
    assert module_id in json.loads(made["config.json"])["gateway"]["moduleTimers"]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert tests.returncode == 0 and "3 passed" in tests.stdout, tests.stdout + tests.stderr
    assert files(folder) == made  # the tests have touched nothing of the project
    checked = run("check", "--app", f"{module}:init", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    once = run("run", "--once", cwd=folder)
    assert once.returncode == 0
    assert json.loads((folder / "backup" / f"{module_id}.json").read_text())[0]["temperature"]


@pytest.mark.slow
def test_the_test_of_a_new_project_fails_where_entries_get_lost(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    module = tmp_path / "weather" / "weather.py"
    text = module.read_text()
    assert text.count("failed.append(entry)") == 1
    module.write_text(text.replace("failed.append(entry)", "pass"))
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "weather",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert tests.returncode == 1
    assert re.search(r"\d+ of \d+ entries are lost: they have neither arrived", tests.stdout)


@pytest.mark.parametrize(
    "name, said",
    [
        ("Weather", "lower-case"),
        ("", "lower-case"),
        ("a/b", "lower-case"),
        ("../weather", "lower-case"),
        ("2nd", "lower-case"),
        ("wetter-für", "lower-case"),
        ("a" * 61, "60 at most"),
        ("a--b", "lower-case"),
        ("class", "a word of Python"),
        ("json", "there is a module json already"),
        ("uun-iot", "there is a module uun_iot already"),
        ("requests", "there is a module requests already"),
        ("tests", "there is a module tests already"),
        ("sys", "there is a module sys already"),
        ("heartbeat", "a module with the id heartbeat already"),
        ("conftest", "there is a module conftest already"),
        ("watchdog", "gateway.watchdog is a setting of each gateway"),
        ("timer-spread", "gateway.timerSpread is a setting of each gateway"),
        ("module-timers", "gateway.moduleTimers is a setting of each gateway"),
        ("config", "a module with the id config already"),
        ("uu-cmd-session", "its class would be UuCmdSession, a name that the module imports"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    done = run("new", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "weather").mkdir()
    (tmp_path / "weather" / "mine").write_text("mine")
    line = refused(run("new", "weather", cwd=tmp_path), 1)
    assert line == ("uun-iot new: weather is there already; choose another name, or remove it")
    assert files(tmp_path) == {"weather/mine": "mine"}


# -- dev ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C of POSIX")
def test_dev_shows_data_arriving_until_ctrl_c_and_touches_nothing(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    folder = tmp_path / "weather"
    before = files(folder)
    with child("dev", cwd=folder) as running:
        running.wait_for_line(r"^uuApp:   https://localhost:\d+$", timeout=30)
        running.wait_for_line(r"^console: http://127\.0\.0\.1:\d+/$", timeout=30)
        running.wait_for_line(r"200  gateway/heartbeat  \{")
        running.wait_for_line(r"200  gateway/getConfiguration")
        running.wait_for_line(r'200  weather/add  \{"id": "\w+-1", ')
        running.wait_for_line(r'200  weather/add  \{"id": "\w+-2", ')
        running.signal(signal.SIGINT)
        assert running.wait(30) == 0
        # a warning is in order: Ctrl-C may come while a tick sends
        assert not any("ERROR" in line or "Traceback" in line for line in running.errors)
    after = files(folder)
    own = {name for name in after if name.startswith(".uun-iot")}
    assert {name: text for name, text in after.items() if name not in own} == before
    assert ".uun-iot/config.json" in own and ".uun-iot/.gitignore" in own
    # all was sent, the last entry by the stop handler
    assert json.loads(after[".uun-iot/backup/weather.json"]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_dev_ends_when_nobody_reads_what_it_says_any_more(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    with subprocess.Popen(
        [*UUN_IOT, "dev", "--no-console"],
        cwd=tmp_path / "weather",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        try:
            while "weather/add" not in running.stdout.readline():
                pass
            running.stdout.close()
            assert running.wait(30) == 0
            errors = running.stderr.read()
            assert "Traceback" not in errors and "ERROR" not in errors
        finally:
            running.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_a_second_dev_in_a_folder_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    folder = tmp_path / "weather"
    with child("dev", "--no-console", cwd=folder) as running:
        running.wait_for_line("Ctrl-C ends it", timeout=30)
        before = (folder / ".uun-iot" / "config.json").read_bytes()
        said = refused(run("dev", "--no-console", cwd=folder), 1)
        assert said.startswith("uun-iot dev: .uun-iot: another `uun-iot dev` uses it; end ")
        assert (folder / ".uun-iot" / "config.json").read_bytes() == before
        running.signal(signal.SIGINT)
        assert running.wait(30) == 0


def test_dev_keeps_what_it_has_stored_and_plays_an_outage(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    folder = tmp_path / "weather"
    (folder / "outage.toml").write_text('[[step]]\nat = "0 s"\noutage = true\nfor = "3 h"\n')
    config = json.loads((folder / "config.json").read_text())
    config["gateway"]["moduleTimers"]["weather"] = {"measure": 0.2, "send": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    with child("dev", "--no-console", cwd=folder) as running:
        running.wait_for_line("weather/add", timeout=30)
        running.signal(signal.SIGINT)
        assert running.wait(30) == 0
    stored = folder / ".uun-iot" / "backup" / "weather.json"
    with child("dev", "--no-console", "--script", "outage.toml", cwd=folder) as running:
        running.wait_for_line("Ctrl-C ends it", timeout=30)
        running.wait_for_line(r"outage\.toml: connections are refused for 3 h$")
        assert eventually(lambda: len(on_disk(stored)) > 3, timeout=20)
        running.signal(signal.SIGINT)
        assert running.wait(30) == 0
        assert not any("weather/add" in line for line in running.lines)
    waiting = [entry["id"] for entry in on_disk(stored)]
    assert len(waiting) > 3
    with child("dev", "--no-console", "--log", "info", cwd=folder) as running:
        for one in waiting:
            running.wait_for_line(f'weather/add  {{"id": "{one}"', timeout=30)
        running.terminate()
        assert running.wait(30) == 0


HANGING = """
import threading
from uun_iot import on

class Pump:
    @on("tick", "press")
    def press(self):
        print("pressing", flush=True)
        threading.Event().wait()

def init(config, uuclient):
    return Pump()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C of POSIX")
def test_dev_says_what_its_end_waits_for_and_how_to_end_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "pump.py").write_text(HANGING)
    (tmp_path / "config.json").write_text('{"gateway": {"moduleTimers": {"pump": {"press": 1}}}}')
    with child("dev", "pump", "--no-console", cwd=tmp_path) as running:
        running.wait_for_line("^pressing$", timeout=30)
        running.signal(signal.SIGINT)
        running.wait_for_line(
            "^stopping waits for tick pump:press; Ctrl-C once more ends it at once", timeout=9
        )
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert running.errors == []


@pytest.mark.parametrize(
    "arguments, config, status, said",
    [
        ([], None, 2, "config.json: the configuration file cannot be read"),
        ([], "{", 2, "config.json: line 1"),
        (["nothing:init"], "{}", 2, "there is no module nothing"),
        (["--script", "nothing.toml"], "{}", 2, "nothing.toml"),
        (["--console-port", "99999999"], "{}", 2, "--console-port: expected 0 to 65535"),
        (["--directory", "config.json"], "{}", 1, "config.json: cannot be made"),
        (["--directory", "."], "{}", 2, "--directory: . is the folder of config.json, which would"),
    ],
)
def test_dev_says_what_it_cannot_do(
    tmp_path: Path, arguments: List[str], config: Any, status: int, said: str
) -> None:
    run("new", "weather", cwd=tmp_path)
    folder = tmp_path / "weather"
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    done = run("dev", *arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    assert done.stderr.startswith("uun-iot dev: ") and said in done.stderr
    assert config is None or (folder / "config.json").read_text() == config


def test_dev_without_the_extra_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: "
        "None if name == 'trustme' else real(name, *more)\n"  # as where it is not installed
        "from uun_iot.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "config.json").write_text("{}")
    done = run("dev", "a:b", cwd=tmp_path, program=[sys.executable, "-c", code])
    assert refused(done, 1) == (
        'uun-iot dev: the sandbox needs trustme; install it with: pip install "uun-iot[sandbox]"'
    )


# -- the unit -------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "my gateway 100% $HOME"  # people have such folders
    folder.mkdir()
    (folder / "weather.py").write_text(WEATHER)
    (folder / "config.json").write_text(json.dumps(TIMERS))
    return folder


def service(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {"XDG_CONFIG_HOME": str(project.parent / "config")}
    return run("install-service", *arguments, cwd=project, env=env)


def test_a_unit_is_written_for_the_user_and_not_twice(project: Path) -> None:
    done = service(project, "weather:init")
    assert (done.returncode, done.stderr) == (0, "")
    path = project.parent / "config" / "systemd" / "user" / "my-gateway-100---HOME.service"
    text = path.read_text()
    assert str(path) in done.stdout
    assert "systemctl --user enable --now my-gateway-100---HOME" in done.stdout
    for line in ("Type=notify", "WatchdogSec=60", "NoNewPrivileges=yes", "Restart=always"):
        assert f"\n{line}\n" in text
    escaped = str(project).replace("%", "%%")
    assert f"\nWorkingDirectory={escaped}\n" in text
    assert f' run weather:init -c "{escaped}/config.json"'.replace("$", "$$") in text
    assert service(project, "weather:init").returncode == 0  # the same again
    line = refused(service(project, "weather:several", "--name", "my-gateway-100---HOME"), 1)
    assert line.endswith("is there and says something else; --force replaces it")
    assert path.read_text() == text
    assert service(project, "weather:several", "--force").returncode == 0
    assert "weather:several" in path.read_text()


def test_a_dry_run_prints_and_writes_nothing(project: Path) -> None:
    done = service(project, "weather:init", "--dry-run", "--system", "--user", "pi")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nUser=pi\n" in done.stdout and "\nProtectSystem=strict\n" in done.stdout
    assert "WantedBy=multi-user.target" in done.stdout
    assert sorted(project.parent.iterdir()) == [project]


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        ([], 2, "which application?"),
        (["weather:nothing"], 2, "weather has no `nothing`"),
        (["weather", "-c", "nothing.json"], 2, "nothing.json: there is no such file"),
        (["weather", "--name", "a b"], 2, "--name: expected letters, digits"),
        (["weather", "--name", ""], 2, "--name: expected letters, digits and :_.@-, got ''"),
        (["weather", "--system", "--user", ""], 2, "--user: expected the name of a user"),
        (["weather", "--name", "a@"], 2, "--name: a@ is a template, which cannot be started"),
        (["weather", "--system", "--user", "a b"], 2, "--user: expected the name of a user"),
        (["weather", "--system", "--user", "%i", "--dry-run"], 2, "--user: expected the name"),
        (["weather", "--system", "--user", "root:root"], 2, "--user: expected the name of a user"),
        (["weather", "--system", "--user", "nobody-here"], 2, "there is no user nobody-here on"),
        (["weather", "-c", "wrong.json"], 2, "wrong.json: gateway.moduleTimers.weather: expected"),
        (["weather", "--name", "../a"], 2, "--name: expected letters, digits"),
        (["weather", "--user", "pi"], 2, "--user goes with --system"),
        (["weather", "--system", "--user", "pi\nExecStart=x", "--dry-run"], 2, "--user: expected"),
    ],
)
def test_a_unit_that_could_not_work_is_refused(
    project: Path, arguments: List[str], status: int, said: str
) -> None:
    (project / "wrong.json").write_text('{"gateway": {"moduleTimers": {"weather": -1}}}')
    line = refused(service(project, *arguments), status)
    assert line.startswith("uun-iot install-service: ") and said in line


def test_a_service_of_the_system_may_write_what_is_configured(project: Path) -> None:
    config = {
        "gateway": {
            "moduleTimers": TIMERS["gateway"]["moduleTimers"],
            "moduleBackupStorage": {
                "weather": "/srv/my data/weather.json",
                "pump": {"path": "backup/pump.json"},
                "hive": "/var/lib/hive/entries.json",
            },
            "socket": {"path": "/run/weather/uun.sock"},
        },
        "oidcGrantToken": {"tokenPath": "../token/oidc-token"},
    }
    (project.parent / "etc").mkdir()
    path = project.parent / "etc" / "config.json"
    path.write_text(json.dumps(config))
    arguments = ["weather", "--dry-run", "-c", str(path)]
    lines = service(project, *arguments, "--system", "--user", "pi").stdout.splitlines()
    escaped = str(project).replace("%", "%%")
    (writable,) = (line for line in lines if line.startswith("ReadWritePaths="))
    assert writable == (
        f'ReadWritePaths="{escaped}" -{project.parent}/etc -{project.parent}/token "-/srv/my data"'
    )
    assert {"RuntimeDirectory=weather", "StateDirectory=hive"} <= set(lines)
    assert "RuntimeDirectoryPreserve=yes" in lines
    own = service(project, *arguments).stdout  # is not restricted in the first place
    assert "ReadWritePaths" not in own and "RuntimeDirectory" not in own


def test_tmp_is_the_service_s_own_unless_its_files_are_there() -> None:
    for folder, own in (("/tmp/gateway", False), ("/home/pi/gateway", True), ("/tmpfs", True)):
        text = unit_text("a gateway", folder, ["/bin/true"], system=True)
        assert ("\nPrivateTmp=yes\n" in text) == own


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", ["plain", 'odd "name" $x 50% \\ done', "a ; b # c 'd'"])
def test_systemd_understands_the_unit(tmp_path: Path, system: bool, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "python"
    program.symlink_to(sys.executable)  # which systemd looks for, by the name that it reads
    text = unit_text(
        f"{name} gateway",
        str(folder),
        [str(program), "-m", "uun_iot", "run", "weather:init", "-c", str(folder / "c.json")],
        system=system,
        user="daemon" if system else None,
        writable=["/srv/my data", f"{folder} 2", "/run/my gateway", "/var/lib/a/b", "/run/b"],
    )
    verified(tmp_path / "gateway.service", text, system)


@needs_systemd
def test_systemd_understands_the_unit_of_a_new_project(tmp_path: Path) -> None:
    run("new", "weather", cwd=tmp_path)
    text = (tmp_path / "weather" / "weather.service").read_text()
    assert "ExecStart=%h/weather/.venv/bin/uun-iot run weather:init -c config.json" in text
    # where it will be is not where it is now
    text = text.replace("%h/weather/.venv/bin/uun-iot", sys.executable)
    verified(tmp_path / "weather.service", text.replace("%h", str(tmp_path)), system=False)


@needs_systemd
@pytest.mark.parametrize(
    "old, new", [("Type=notify", "Type=noticing"), ("/python", "/pythom"), ("UMask=", "UMaks=")]
)
def test_what_systemd_does_not_understand_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    text = unit_text("a gateway", str(tmp_path), [str(tmp_path / "python"), "-m", "uun_iot"])
    verified(tmp_path / "gateway.service", text, system=False)
    with pytest.raises(AssertionError):
        verified(tmp_path / "gateway.service", text.replace(old, new), system=False)


def verified(path: Path, text: str, system: bool) -> None:
    """Let systemd read a unit; all that it finds odd about it is a failure."""
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
         *([] if system else ["--user"]), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "XDG_RUNTIME_DIR": str(path.parent)},
    )  # fmt: skip
    about_it = [line for line in done.stderr.splitlines() if path.name in line or "line" in line]
    assert (done.returncode, about_it) == (0, []), done.stderr
