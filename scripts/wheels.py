"""Build the four distributions into dist/, and try each alone as a user would install it.

For each: a fresh environment, its wheel with those of its siblings (by path, so that nothing
of ours comes from the index), imported, looked over for what should not be there, and its
part of the tests (without those marked slow) run against it. Needs uv, which
`hatch run wheels` provides.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
TEST_TOOLS = ("pytest>=8", "pytest-xdist", "hypothesis", "trustme")


class Distribution(NamedTuple):
    """One distribution, and what holds when it is installed alone.

    Args:
        name: its name on the index.
        siblings: those of ours that it needs.
        tests: its part of the tests.
        test_tools: what these need beyond `TEST_TOOLS`.
        third_party: whether it may bring distributions that are not ours.
    """

    name: str
    siblings: Tuple[str, ...]
    tests: str
    test_tools: Tuple[str, ...] = ()
    third_party: bool = False

    @property
    def module(self) -> str:
        """The name to import."""
        return self.name.replace("-", "_")


DISTRIBUTIONS = (
    Distribution("uun-iot-core", (), "tests/core"),
    Distribution("uun-iot-storage", ("uun-iot-core",), "tests/storage"),
    Distribution("uun-iot-client", ("uun-iot-core",), "tests/client", third_party=True),
    Distribution(
        "uun-iot",
        ("uun-iot-core", "uun-iot-client", "uun-iot-storage"),
        "tests/iot",
        # what the extras bring, and a driver for the browser that looks at the console
        test_tools=("psutil", "starlette", "uvicorn", "selenium", "tomli"),
        third_party=True,
    ),
)

# Runs in the environment under test: what is imported is the wheel, typed, and lean.
LOOK = """
import importlib.metadata, pathlib, sys, threading
name, module, prefix = sys.argv[1:]
imported = __import__(module)
place = pathlib.Path(imported.__file__).resolve()
assert pathlib.Path(prefix).resolve() in place.parents, f"imported from elsewhere: {place}"
assert (place.parent / "py.typed").is_file(), f"no py.typed beside {place}"
assert not {"requests", "urllib3"} & set(sys.modules), f"import {module} imports requests"
assert threading.active_count() == 1, f"import {module} starts threads: {threading.enumerate()}"
files = [file.name for file in importlib.metadata.files(name)]
assert "LICENSE" in files, f"the wheel of {name} has no LICENSE"
version = __import__("uun_iot_core._version")._version.__version__
assert version == importlib.metadata.version(name), f"{name} is not of version {version}"
"""


class Failure(Exception):
    """Something that was tried did not hold."""


def run(
    what: str, *command: str, env: Optional[dict[str, str]] = None, capture: bool = False
) -> str:
    """Run a command from the root; return its output where asked to."""
    result = subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE if capture else None, text=True
    )
    if result.returncode != 0:
        raise Failure(f"{what} failed (exit status {result.returncode})")
    return result.stdout or ""


def build(uv: str) -> None:
    """Build sdist and wheel of each; the wheel from the sdist, which so proves complete."""
    shutil.rmtree(DIST, ignore_errors=True)
    for distribution in DISTRIBUTIONS:
        folder = str(ROOT / "packages" / distribution.name)
        run(f"building {distribution.name}", uv, "build", "--quiet", "--out-dir", str(DIST), folder)
    (DIST / ".gitignore").unlink(missing_ok=True)  # uv's own
    for path in sorted(DIST.iterdir()):
        print(f"  {path.relative_to(ROOT).as_posix()}  {path.stat().st_size:,} bytes")


def wheel(name: str) -> str:
    """Return the path of the wheel that was built."""
    found = list(DIST.glob(f"{name.replace('-', '_')}-*.whl"))
    if len(found) != 1:
        raise Failure(f"expected one wheel of {name} in {DIST.name}/, found {len(found)}")
    return str(found[0])


def try_alone(uv: str, interpreter: str, distribution: Distribution, folder: Path) -> None:
    """Install one distribution in a fresh environment, look it over, run its tests."""
    name = distribution.name
    # what the machine puts on the path of Python must not stand in for a missing dependency
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env["VIRTUAL_ENV"] = str(folder)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    run("making an environment", uv, "venv", "--quiet", "--python", interpreter, str(folder))

    pip = (uv, "pip", "install", "--quiet", "--python", python)
    index = () if distribution.third_party else ("--no-index",)
    wheels = [wheel(each) for each in (name, *distribution.siblings)]
    run(f"installing {name}", *pip, *index, *wheels)
    look = (python, "-W", "error", "-c", LOOK, name, distribution.module, str(folder))
    run(f"looking over {name}", *look, env=env)
    installed = frozen(uv, python)
    print(f"  installed: {', '.join(installed)}", flush=True)
    ours = {name, *distribution.siblings}
    if not distribution.third_party and set(installed) != ours:
        raise Failure(f"{name} brings more than {', '.join(sorted(ours))}")
    if {each for each in installed if each.startswith("uun-iot")} != ours:
        raise Failure(f"{name} is not alone with {', '.join(distribution.siblings) or 'itself'}")

    run("installing test tools", *pip, *TEST_TOOLS, *distribution.test_tools)
    if not distribution.third_party and "requests" in frozen(uv, python):
        raise Failure(f"requests is installed beside {name}: its tests would not miss it")
    run(f"{distribution.tests} against the wheel of {name}", python, "-m", "pytest", "-q",
        "-n", "4", "-p", "no:cacheprovider", "-m", "not slow and not long",
        distribution.tests, env=env)  # fmt: skip


def frozen(uv: str, python: str) -> List[str]:
    """Return the names of the distributions in an environment."""
    lines = run(
        "listing", uv, "pip", "list", "--quiet", "--format=freeze", "--python", python, capture=True
    )
    return [line.partition("==")[0] for line in lines.splitlines()]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Build all distributions and try each alone.")
    parser.add_argument("--build-only", action="store_true", help="leave the wheels untried")
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="try them on this interpreter"
    )
    options = parser.parse_args(arguments)
    uv = os.environ.get("HATCH_UV") or shutil.which("uv")
    if uv is None:
        parser.error("uv is not there; run this as: hatch run wheels")
    failures = []
    try:
        print("building", flush=True)
        build(uv)
    except Failure as failure:
        print(f"wheels: {failure}", file=sys.stderr)
        return 1
    for distribution in () if options.build_only else DISTRIBUTIONS:
        print(f"\n{distribution.name} alone", flush=True)
        with tempfile.TemporaryDirectory(prefix="uun-iot-wheels-") as folder:
            try:
                try_alone(uv, options.python, distribution, Path(folder) / "env")
            except Failure as failure:
                failures.append(str(failure))
    print()
    for message in failures:
        print(f"wheels: {message}", file=sys.stderr)
    if not failures:
        found = "none tried" if options.build_only else "each works alone"
        print(f"wheels: {len(DISTRIBUTIONS)} distributions built in {DIST.name}/, {found}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
