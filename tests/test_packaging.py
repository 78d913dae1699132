"""The lines between the distributions, and what each must carry."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

SIBLINGS = {
    "uun-iot-core": [],
    "uun-iot-storage": ["uun-iot-core"],
    "uun-iot-client": ["uun-iot-core"],
    "uun-iot": ["uun-iot-core", "uun-iot-client", "uun-iot-storage"],
}
# what each may import beyond the standard library; of uun-iot, the extras too
REQUESTS = {"requests", "requests_toolbelt", "urllib3"}
THIRD_PARTY: Dict[str, Set[str]] = {
    "uun-iot-core": set(),
    "uun-iot-storage": set(),
    "uun-iot-client": REQUESTS,
    "uun-iot": REQUESTS
    | {"anyio", "cryptography", "psutil", "pytest", "starlette", "tomli", "trustme", "uvicorn"},
}
distributions = pytest.mark.parametrize("distribution", SIBLINGS)


def module_name(distribution: str) -> str:
    return distribution.replace("-", "_")


def source_files(distribution: str) -> List[Path]:
    source = ROOT / "packages" / distribution / "src" / module_name(distribution)
    found = sorted(source.rglob("*.py"))
    assert found, f"no modules in {source}"
    return found


def imported_by(tree: ast.AST, *, into_functions: bool) -> Iterator[Tuple[int, str]]:
    """Yield line and top-level name of each absolute import; not those for type checkers."""
    pending = list(ast.iter_child_nodes(tree))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield node.lineno, str(node.module).partition(".")[0]
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            pending.extend(node.orelse)
        elif into_functions or not isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        ):
            pending.extend(ast.iter_child_nodes(node))


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_of(distribution: str, *, into_functions: bool) -> Iterator[Tuple[str, str]]:
    """Yield `file:line` and imported name over all modules of a distribution."""
    for path in source_files(distribution):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for line, name in imported_by(tree, into_functions=into_functions):
            yield f"{path.relative_to(ROOT)}:{line}", name


def standard_library() -> Set[str]:
    names = getattr(sys, "stdlib_module_names", None)
    if names is None:  # Python 3.9 does not tell: what stands in its own folder, then
        folder = Path(sysconfig.get_path("stdlib"))
        files = [*folder.iterdir(), *(folder / "lib-dynload").iterdir()]
        names = {file.name.partition(".")[0] for file in files} | set(sys.builtin_module_names)
    return {*names, "tomllib"}  # the latter since Python 3.11: imported only there


@distributions
def test_arrows_between_distributions_only_go_down(distribution: str) -> None:
    allowed = {module_name(each) for each in [distribution, *SIBLINGS[distribution]]}
    allowed |= THIRD_PARTY[distribution] | standard_library()
    found = list(imports_of(distribution, into_functions=True))
    assert [f"{place} imports {name}" for place, name in found if name not in allowed] == []


@distributions
def test_requests_is_imported_only_where_it_is_needed(distribution: str) -> None:
    found = imports_of(distribution, into_functions=False)
    assert [f"{place} imports {name} at the top" for place, name in found if name in REQUESTS] == []


def test_imports_are_found_in_functions_and_not_in_blocks_for_type_checkers() -> None:
    tree = ast.parse(
        "import os.path\n"
        "from . import sibling\n"
        "if TYPE_CHECKING:\n    import requests\nelse:\n    import json\n"
        "class A:\n    import abc\n    def f(self):\n        from psutil import cpu_percent\n"
        "try:\n    import trustme\nexcept ImportError:\n    import ssl\n"
    )
    top = {(1, "os"), (6, "json"), (8, "abc"), (12, "trustme"), (14, "ssl")}
    assert set(imported_by(tree, into_functions=False)) == top
    assert set(imported_by(tree, into_functions=True)) == top | {(10, "psutil")}


def test_the_plugin_of_pytest_imports_pytest_and_nothing_else_until_it_is_used() -> None:
    folder = ROOT / "packages/uun-iot/src/uun_iot_pytest"
    assert (folder / "py.typed").is_file()
    (path,) = folder.rglob("*.py")
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    at_the_top = {name for _, name in imported_by(tree, into_functions=False)}
    assert at_the_top == {"__future__", "pathlib", "pytest", "typing"}
    everywhere = {name for _, name in imported_by(tree, into_functions=True)}
    assert everywhere == at_the_top | {"uun_iot"}


@distributions
def test_importing_has_no_side_effects(distribution: str, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, threading\n"
        "before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        f"import {module_name(distribution)}\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "late = {'requests', 'requests_toolbelt', 'urllib3', 'cryptography', 'trustme'}\n"
        "late |= {'ssl', '_hashlib', 'email.utils', 'asyncio', 'multiprocessing'}\n"
        "assert not late & set(sys.modules), late & set(sys.modules)\n"
        "import logging\n"
        "assert not logging.root.handlers and not logging.getLogger('uun_iot').handlers\n"
        "assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        "assert os.listdir() == [], os.listdir()\n"
    )
    result = run(sys.executable, "-W", "error", "-c", script, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@distributions
def test_each_distribution_is_typed_described_and_licensed(distribution: str) -> None:
    folder = ROOT / "packages" / distribution
    assert (folder / "src" / module_name(distribution) / "py.typed").is_file()
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {distribution}\n")
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert license_text.startswith("MIT License")
    assert (folder / "LICENSE").read_text(encoding="utf-8") == license_text


@distributions
def test_each_distribution_pins_exactly_its_siblings(distribution: str) -> None:
    text = (ROOT / "packages" / distribution / "pyproject.toml").read_text(encoding="utf-8")
    version = run(sys.executable, str(ROOT / "scripts/version.py"), cwd=ROOT).stdout.strip()
    pinned = re.findall(r'"(uun-iot[a-z-]*)==([^"]+)"', text)
    assert sorted(pinned) == sorted((each, version) for each in SIBLINGS[distribution])
    assert 'requires-python = ">=3.9"' in text


def readme_example(distribution: str) -> str:
    text = (ROOT / "packages" / distribution / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 1
    return str(examples[0])


@pytest.mark.parametrize(
    "distribution, said",
    [("uun-iot-core", "tick"), ("uun-iot-storage", "2 unsent"), ("uun-iot", "1 unsent")],
)
def test_readme_example_runs_as_pasted(distribution: str, said: str, tmp_path: Path) -> None:
    result = run(sys.executable, "-W", "error", "-c", readme_example(distribution), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert said in result.stdout


def test_readme_example_of_the_client_names_what_there_is(tmp_path: Path) -> None:
    # it wants a uuApp, so only its imports and the names that it uses of them are looked at
    tree = ast.parse(readme_example("uun-iot-client"))
    imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    script = "\n".join(ast.unparse(node) for node in imports)
    calls = {n.func.attr for n in ast.walk(tree)
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
             and ast.unparse(n.func.value) == "client"}  # fmt: skip
    assert calls
    script += f"\nassert {sorted(calls)!r} == sorted({{*{calls!r}}} & set(dir(UuAppClient)))"
    result = run(sys.executable, "-W", "error", "-c", script, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


class TestVersionScript:
    """`scripts/version.py`, on a copy of what it reads and writes."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        for path in [
            *ROOT.glob("packages/*/pyproject.toml"),
            ROOT / "packages/uun-iot-core/src/uun_iot_core/_version.py",
            ROOT / "scripts/version.py",
        ]:
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        return tmp_path

    def version(self, tree: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run(sys.executable, "-W", "error", "scripts/version.py", *arguments, cwd=tree)

    def test_prints_the_one_version_of_this_tree(self) -> None:
        from uun_iot_core._version import __version__

        result = self.version(ROOT)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{__version__}\n", "")

    @pytest.mark.parametrize("new", ["71.2.3", "72.0", "73.0.0rc1", "74.10.0a2"])
    def test_moves_every_place_and_nothing_else(self, tree: Path, new: str) -> None:
        old = self.version(tree).stdout.strip()
        before = {path: path.read_text() for path in tree.rglob("*.*") if path.is_file()}
        result = self.version(tree, new)
        assert result.returncode == 0
        assert "hatch env remove default" in result.stdout
        assert self.version(tree).stdout == f"{new}\n"
        changed = 0
        for path, text in before.items():
            now = path.read_text()
            lines = list(zip(text.splitlines(), now.splitlines()))
            assert now.count("\n") == text.count("\n")
            different = [(was, is_) for was, is_ in lines if was != is_]
            assert [is_ for _, is_ in different] == [was.replace(old, new) for was, _ in different]
            changed += len(different)
        # four versions, the module's, and the pins
        assert changed == 5 + sum(len(each) for each in SIBLINGS.values())

    @pytest.mark.parametrize(
        "path, line",
        [
            ("packages/uun-iot-client/pyproject.toml", 'version = "{}"'),
            ("packages/uun-iot/pyproject.toml", "uun-iot-storage=={}"),
            ("packages/uun-iot-core/src/uun_iot_core/_version.py", '__version__ = "{}"'),
        ],
    )
    def test_names_the_place_that_differs(self, tree: Path, path: str, line: str) -> None:
        version = self.version(tree).stdout.strip()
        text = (tree / path).read_text()
        assert text.count(line.format(version)) == 1
        (tree / path).write_text(text.replace(line.format(version), line.format("9.9.9")))
        result = self.version(tree)
        assert (result.returncode, result.stdout) == (1, "")
        number = text[: text.index(line.format(version))].count("\n") + 1
        assert result.stderr.startswith(f"{path}:{number}: 9.9.9, elsewhere {version}\n")
        assert result.stderr.count("elsewhere") == 1

    @pytest.mark.parametrize(
        "bad", ["", "v1.0", "1.0.0.post1", "1.0.dev3", "1!1.0", "1.0+local", "1.0-rc1", "01.0", "x"]
    )
    def test_refuses_what_is_no_version_and_changes_nothing(self, tree: Path, bad: str) -> None:
        before = self.version(tree).stdout
        result = self.version(tree, bad)
        assert result.returncode == 2
        assert repr(bad) in result.stderr
        assert self.version(tree).stdout == before


def run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_the_lines_that_the_newer_generations_cost_are_counted(tmp_path: Path) -> None:
    script = ROOT / "scripts/generations.py"
    counted = run(sys.executable, str(script), cwd=ROOT)
    assert counted.returncode == 0, counted.stdout + counted.stderr
    # whoever adds to them looks here
    sums = [int(line.split()[0]) for line in counted.stdout.splitlines() if "in all" in line]
    assert sums[0] <= 480 and sums[1] <= 510

    sample = tmp_path / "sample.py"
    sample.write_text(
        '"""A docstring\n\nof three lines."""\n\nx = 1  # counts\n# does not\n\n\n'
        "@some\n@decorators\ndef f():\n    'Docstring.'\n    return (\n        1\n    )\n"
        "class C:\n    def g(self): ...\n"
    )
    lines_of = runpy.run_path(str(script))["lines_of"]
    assert lines_of(sample, ()) == 1 + 6 + 2
    assert lines_of(sample, ("f", "C.g")) == 6 + 1
    assert lines_of(sample, ("f",), r"\bx =") == 6 + 1
    assert lines_of(sample, None, r"class|def g") == 2
    with pytest.raises(LookupError, match="no C.h"):
        lines_of(sample, ("C.h",))
