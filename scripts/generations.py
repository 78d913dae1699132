"""Count the lines of code that only the newer two generations of applications need.

python scripts/generations.py          print them

A line counts if it holds code: no blank one, no comment, no docstring. The functions named in
STYLES count whole, also where the documented style needs a part of them (`attach_handlers` gives
it its handlers, too); of other code the lines that PARTS matches. What ``@on("external", ...)`` of
the documented style uses as well stands apart: the command socket, and the status that is asked by
it.

An estimate, and a low one: to take the newer styles out of the code by hand, with the tests of the
documented style still passing, removed 654 lines, 486 of them neither imports nor lists of exports;
to take out the command socket and the status then, another 579.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Dict, Iterator, Mapping, Optional, Sequence, Set, Tuple, Union

PACKAGES = Path(__file__).resolve().parent.parent / "packages"
CORE = "uun-iot-core/src/uun_iot_core"
STORAGE = "uun-iot-storage/src/uun_iot_storage"
WHOLE = "uun-iot/src/uun_iot"

#: file -> the names in it; none for the whole file
STYLES: Dict[str, Sequence[str]] = {
    f"{CORE}/class_property.py": (),
    f"{CORE}/events/__init__.py": (),
    f"{CORE}/events/attach.py": (
        *("get_event_class", "merge_events", "completed", "extract_event_handlers_from_object"),
        *("registered_event_submodule", "_iterable"),
    ),
    f"{CORE}/events/base.py": (
        *("Register", "mark_submodule", "_of_instance", "_submodules", "parts_of"),
        *("Event.__init__", "Event._register", "Event.number_of_handlers"),
        *("Event.__enter__", "Event.__exit__"),
    ),
    f"{CORE}/events/decorators.py": ("EventRegister",),
    f"{CORE}/events/external.py": ("EvExternal.subscribe_command",),
    f"{CORE}/events/start.py": (
        *("EvStart.subscribe", "EvStart.subscribe_blocking", "EvStart.is_waited_for"),
    ),
    f"{CORE}/events/stop.py": ("EvStop.subscribe",),
    f"{CORE}/events/tick.py": (
        *("EvTick.subscribe", "EvTick.subscribe_timer", "EvTick.add_handlers"),
    ),
    f"{CORE}/events/update.py": (
        *("EvConfUpdate.subscribe", "EvConfUpdate.subscribe_first", "EvConfUpdate._arguments"),
    ),
    f"{CORE}/modules.py": (
        *("Modules.parts", "call_init", "events_in", "owners_in", "_is_registration"),
    ),
    f"{CORE}/sources.py": ("Sources._source",),
    f"{STORAGE}/module.py": (
        *("Module._gateway_updated", "Module._update_config", "_takes"),
        *("Module._set_config_manager_base",),
    ),
    f"{WHOLE}/events.py": (),
    f"{WHOLE}/modules/library.py": ("ConfigUpdates", "init_library_module_events"),
}
#: file -> what single lines of it, in code that all styles need, match
PARTS: Dict[str, str] = {
    f"{CORE}/__init__.py": r"Ev[A-Z]|\bEvent\b|attach_handlers|classproperty",
    f"{CORE}/events/attach.py": r'_iterable|OWNERS|owners|get_ev_class|^    "|T = ',
    f"{CORE}/events/base.py": r"owner\b|OWNERS|_SUBMODULE|_TAKEN|_submodules|_told",
    f"{CORE}/events/decorators.py": r'"bare"|kwargs',
    f"{CORE}/gateway.py": (
        r"event_init|EventRegister|\bgiven\b|owners|_join_gateway|OWNERS|parts_of"
    ),
    f"{CORE}/modules.py": r"parts\(\)|parts_of",
    f"{CORE}/sources.py": r"given|completed|_others|event\.(start|stop)|_at\b|ticks",
    f"{CORE}/events/external.py": r"_join_gateway|gateway\.config",
    f"{CORE}/events/start.py": r"_join_gateway|_own_evs|_evs\[|gateway\.runev|block|join\(WAKE",
    f"{CORE}/events/tick.py": r"_join_gateway|_arms_itself|_all\b|periods_of_all|found\b.*Config",
    f"{CORE}/events/update.py": r"_join_gateway|gateway\.config|_rank",
    f"{STORAGE}/module.py": (
        r"MODULE|BASED|must_exist|__base|__given|__keeps|__copied|storage (is|:)|used|inspect"
    ),
    f"{WHOLE}/__init__.py": r"Ev[A-Z]|\bevents\b|attach_handlers",
    f"{WHOLE}/Gateway.py": r"event_init|EventRegister|ConfigUpdates|polls",
    f"{WHOLE}/modules/__init__.py": r"init_library_module_events",
    f"{WHOLE}/utils.py": r"classproperty",
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


def lines_of(path: Path, names: Optional[Sequence[str]], pattern: Optional[str] = None) -> int:
    """Return how many lines of code a file has, or what is named in it and what matches."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    code = _code(text) - set(_docstrings(tree))
    if names == ():
        return len(code)
    chosen = {line for name in names or () for line in _extent(tree, name)}
    if pattern is not None:
        lines = enumerate(text.splitlines(), 1)
        chosen |= {number for number, line in lines if re.search(pattern, line)}
    return len(code & chosen)


def counted(
    whole: Mapping[str, Sequence[str]], parts: Mapping[str, str]
) -> Iterator[Tuple[str, int]]:
    """Yield for each file how many of its lines count."""
    for file in dict.fromkeys([*whole, *parts]):
        lines = lines_of(PACKAGES / file, whole.get(file), parts.get(file))
        yield file.rpartition("/src/")[2], lines


def main() -> None:
    """Print the counts."""
    for title, whole, parts in (
        ("registration and events", STYLES, PARTS),
        ("commands and status", COMMANDS, {}),
    ):
        print(title)
        found = list(counted(whole, parts))
        for file, lines in found:
            print(f"{lines:6}  {file}")
        print(f"{sum(lines for _, lines in found):6}  in all\n")


if __name__ == "__main__":
    main()
