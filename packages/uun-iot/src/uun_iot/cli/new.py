"""Make a project: a module, its configuration, a test, a unit for systemd, a README.

It runs at once: uun-iot new weather && cd weather && uun-iot dev
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import keyword
import re
import shutil
import sys
from pathlib import Path
from typing import Dict, Set

from .errors import Failed, Misused
from .text import say
from .unit import unit_text

__all__ = ["add_arguments", "main"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_TEMPLATES = Path(__file__).parent / "scaffold"
#: keys of ``gateway`` that mean something, so that no module can have its own part there
_SETTINGS = {"moduleBackupStorage", "moduleTimers", "nondecrementalUpdate", "socket"}
_SETTINGS |= {"timerSpread", "watchdog"}
#: longest name: of a file that begins with it
_LONGEST = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "name", metavar="NAME", help="of the project, its folder and its module: weather, roof-pump"
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    name = options.name
    _check(name)
    folder = Path(name)
    try:
        folder.mkdir()
    except FileExistsError:
        raise Failed(f"{name} is there already; choose another name, or remove it") from None
    except OSError as exc:
        raise Failed(f"{name}: cannot be made ({exc.strerror})") from None
    try:
        for path, text in _files(name).items():
            (folder / path).parent.mkdir(exist_ok=True)
            with open(folder / path, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise Failed(f"{name}: cannot be written ({exc.strerror})") from None
    module = _words(name)["module"]
    say(f"{name}/ is made. Next:")
    say(f"  cd {name}")
    say("  uun-iot dev          # run it against a uuApp on this machine")
    say("  python -m pytest     # its tests")
    say(f"Then put your own sensor into {module}.py.")
    return 0


def _check(name: str) -> None:
    """Refuse what can be no name of a project, or would hide another module.

    Raises:
        Misused: it cannot be used.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise Misused(
            f"expected a name of lower-case letters and digits, with - or _ between, "
            f"{_LONGEST} at most, got {name!r}"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or keyword.iskeyword(module.replace("_", "")):
        raise Misused(f"{name} is a word of Python; choose another name")
    if _is_taken(module):
        raise Misused(f"there is a module {module} already, which this would hide")
    module_id = _words(name)["id"]
    if module_id in _library_ids():
        raise Misused(
            f"each gateway has a module with the id {module_id} already; choose another name"
        )
    if module_id in _SETTINGS:
        raise Misused(
            f"gateway.{module_id} is a setting of each gateway, where the module's own part would "
            "be; choose another name"
        )
    class_name = _words(name)["class"]
    if class_name in _imported(_files(name)[f"{module}.py"]):
        raise Misused(
            f"its class would be {class_name}, a name that the module imports; choose another name"
        )


def _imported(source: str) -> Set[str]:
    found = (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ImportFrom))
    return {alias.name for one in found for alias in one.names}


def _library_ids() -> Set[str]:
    from uun_iot.modules import Heartbeat
    from uun_iot_core import Config

    return {Config.id, Heartbeat.id}


def _is_taken(module: str) -> bool:
    if module in ("test", "tests", "conftest", *sys.builtin_module_names):
        return True
    path, sys.path = sys.path, [one for one in sys.path if one not in ("", str(Path.cwd()))]
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return True
    finally:
        sys.path = path


def _words(name: str) -> Dict[str, str]:
    """Return the forms of a name: roof-pump, roof_pump, RoofPump, roofPump, Roof pump."""
    from uun_iot.utils import module_id_from_str
    from uun_iot_core._version import __version__

    parts = re.split("[-_]", name)
    class_name = "".join(part.capitalize() for part in parts)
    return {
        "name": name,
        "module": name.replace("-", "_"),
        "class": class_name,
        "id": module_id_from_str(class_name),
        "title": " ".join(parts).capitalize(),
        "version": __version__,
    }


def _files(name: str) -> Dict[str, str]:
    """Return the texts of a project's files by path."""
    words = _words(name)
    module = words["module"]
    command = ["%h/" + f"{name}/.venv/bin/uun-iot", "run", f"{module}:init", "-c", "config.json"]
    return {
        f"{module}.py": _filled("module.py", words),
        "config.json": _filled("config.json", words),
        "pyproject.toml": _filled("pyproject.toml", words),
        "README.md": _filled("README.md", words),
        ".gitignore": _filled("gitignore", words),
        f"tests/test_{module}.py": _filled("test.py", words),
        f"{name}.service": unit_text(f"{words['title']} (uun-iot gateway)", f"%h/{name}", command),
    }


def _filled(template: str, words: Dict[str, str]) -> str:
    text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words[found[1]], text)
