"""Show or move the one version of the four distributions.

python scripts/version.py          print it; exit 1 if two places disagree
python scripts/version.py 1.2.3    write it everywhere
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

# PEP 440 in its normal form: a final release or a pre-release. A post or development
# release, a local label or an epoch is nothing that this project publishes.
VERSION = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*(?:(?:a|b|rc)(?:0|[1-9]\d*))?")

PIN = re.compile(r'"uun-iot[a-z-]*(?:\[[a-z,-]*\])?==(?P<version>[^"]*)"')
IN_PYPROJECT = (re.compile(r'^version = "(?P<version>[^"]*)"', re.MULTILINE), PIN)
IN_MODULE = (re.compile(r'^__version__ = "(?P<version>[^"]*)"', re.MULTILINE),)


class Place(NamedTuple):
    """One place in a file where the version stands."""

    path: Path
    line: int
    start: int
    end: int
    version: str


def files(root: Path) -> List[Tuple[Path, Tuple["re.Pattern[str]", ...]]]:
    """Return the files that hold the version, each with what to look for in it."""
    projects = sorted(root.glob("packages/*/pyproject.toml"))
    module = root / "packages/uun-iot-core/src/uun_iot_core/_version.py"
    return [*((project, IN_PYPROJECT) for project in projects), (module, IN_MODULE)]


def places(root: Path) -> Iterator[Place]:
    """Yield every place where the version stands.

    Raises:
        LookupError: a file does not state the version at all.
    """
    for path, patterns in files(root):
        text = path.read_text(encoding="utf-8")
        if patterns[0].search(text) is None:
            raise LookupError(f"{path.relative_to(root)}: no line {patterns[0].pattern}")
        for pattern in patterns:
            for match in pattern.finditer(text):
                start, end = match.span("version")
                line = text.count("\n", 0, start) + 1
                yield Place(path, line, start, end, match["version"])


def move(root: Path, version: str) -> List[Path]:
    """Write `version` everywhere; return the files that changed."""
    found = list(places(root))  # all of them, before the first file is touched
    changed = []
    for path, _ in files(root):
        old = text = path.read_text(encoding="utf-8")
        here = [place for place in found if place.path == path]
        for place in sorted(here, key=lambda place: place.start, reverse=True):
            text = text[: place.start] + version + text[place.end :]
        if text != old:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def show(root: Path) -> int:
    """Print the version, or the places that do not have the one that most places have."""
    found = list(places(root))
    versions = [place.version for place in found]
    version = max(sorted(set(versions)), key=versions.count)
    differing = [place for place in found if place.version != version]
    for place in differing:
        where = f"{place.path.relative_to(root).as_posix()}:{place.line}"
        print(f"{where}: {place.version}, elsewhere {version}", file=sys.stderr)
    if differing:
        print("write one version everywhere: python scripts/version.py VERSION", file=sys.stderr)
        return 1
    print(version)
    return 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Show or move the version of all distributions.")
    parser.add_argument("version", nargs="?", help="the new version, for example 1.2.3 or 1.3.0rc1")
    version: Optional[str] = parser.parse_args(arguments).version
    root = Path(__file__).resolve().parent.parent
    if version is None:
        return show(root)
    if VERSION.fullmatch(version) is None:
        parser.error(f"{version!r} is no final or pre-release version, such as 1.2.3 or 1.3.0rc1")
    for path in move(root, version):
        print(f"{path.relative_to(root).as_posix()}: {version}")
    print("now, since environments do not notice a new version: hatch env remove default")
    return 0


if __name__ == "__main__":
    sys.exit(main())
