"""Count the lines of code that only the newer two generations of applications need.

python scripts/generations.py          print them; exit 1 if there are too many

A line counts if it holds code: no blank one, no comment, no docstring. The functions named below
count whole, also where the documented style needs a part of them; single lines in others (a branch
of the gateway's, a parameter, an export) do not count. What the documented style uses as well
stands apart: the command socket, which ``@on("external", ...)`` listens on, and the status that is
asked by it.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path
from typing import Dict, Iterator, Mapping, Sequence, Set, Tuple, Union

PACKAGES = Path(__file__).resolve().parent.parent / "packages"
CORE = "uun-iot-core/src/uun_iot_core"
STORAGE = "uun-iot-storage/src/uun_iot_storage"
WHOLE = "uun-iot/src/uun_iot"
MOST = 400

#: file -> the names in it; none for the whole file
STYLES: Dict[str, Sequence[str]] = {
    f"{CORE}/class_property.py": (),
    f"{CORE}/events/attach.py": (),
    f"{CORE}/events/base.py": (
        *("Register", "mark_submodule", "_of_instance", "_submodules", "parts_of"),
        *("Event.__init__", "Event._register", "Event.number_of_handlers"),
        *("Event.__enter__", "Event.__exit__"),
    ),
    f"{CORE}/events/decorators.py": ("EventRegister",),
    f"{CORE}/events/external.py": ("EvExternal.subscribe_command",),
    f"{CORE}/events/start.py": (
        *("EvStart.subscribe", "EvStart.subscribe_blocking", "EvStart.is_waited_for"),
        "EvStart.start",
    ),
    f"{CORE}/events/stop.py": ("EvStop.subscribe",),
    f"{CORE}/events/tick.py": (
        *("EvTick.subscribe", "EvTick.subscribe_timer", "EvTick.add_handlers", "EvTick.start"),
    ),
    f"{CORE}/events/update.py": (
        *("EvConfUpdate.subscribe", "EvConfUpdate.subscribe_first", "EvConfUpdate._arguments"),
        "_rank",
    ),
    f"{CORE}/modules.py": ("Modules.parts", "call_init", "events_in", "owners_in"),
    f"{CORE}/sources.py": ("Sources._source",),
    f"{STORAGE}/module.py": (
        *("Module._gateway_updated", "Module._update_config", "_takes"),
        *("Module._set_config_manager_base", "Module._config_manager"),
    ),
    f"{WHOLE}/events.py": (),
    f"{WHOLE}/modules/library.py": ("ConfigUpdates", "init_library_module_events"),
}
COMMANDS: Dict[str, Sequence[str]] = {
    f"{CORE}/events/external.py": (),
    f"{CORE}/socket_server.py": (),
    f"{CORE}/status.py": (),
}


def _docstrings(tree: ast.AST) -> Iterator[int]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            first = node.body[0]
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _code(text: str) -> Set[int]:
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT}
    nothing |= {tokenize.DEDENT, tokenize.ENDMARKER}
    return {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in nothing
        for line in range(token.start[0], token.end[0] + 1)
    }


def _extent(tree: ast.Module, name: str) -> range:
    """Return the lines of a class or function, with its decorators.

    Raises:
        LookupError: there is none of that name.
    """
    body: Sequence[ast.stmt] = tree.body
    found: Union[ast.ClassDef, ast.FunctionDef, None] = None
    for part in name.split("."):
        kinds = (ast.ClassDef, ast.FunctionDef)
        found = next((one for one in body if isinstance(one, kinds) and one.name == part), None)
        if found is None:
            raise LookupError(f"there is no {name}")
        body = found.body
    assert found is not None  # a name has a part
    first = min(one.lineno for one in (found, *found.decorator_list))
    return range(first, (found.end_lineno or first) + 1)


def lines_of(path: Path, names: Sequence[str]) -> int:
    """Return how many lines of code a file, or what is named in it, has."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    code = _code(text) - set(_docstrings(tree))
    if names:
        code &= {line for name in names for line in _extent(tree, name)}
    return len(code)


def counted(parts: Mapping[str, Sequence[str]]) -> Iterator[Tuple[str, int]]:
    """Yield for each file how many of its lines count."""
    for file, names in parts.items():
        yield file.rpartition("/src/")[2], lines_of(PACKAGES / file, names)


def main() -> int:
    """Print the count."""
    totals = []
    for title, parts in (("registration and events", STYLES), ("commands and status", COMMANDS)):
        print(title)
        found = list(counted(parts))
        for file, lines in found:
            print(f"{lines:6}  {file}")
        totals.append(sum(lines for _, lines in found))
        print(f"{totals[-1]:6}  in all\n")
    print(f"only for the newer generations: {totals[0]} lines, of at most {MOST - 1}")
    return 0 if totals[0] < MOST else 1


if __name__ == "__main__":
    sys.exit(main())
