"""The user's application: finding its ``init``, and building a gateway of it."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import inspect
import logging
import os
import sys
import traceback
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional

from uun_iot_core.values import shown

from .arguments import path as path_argument
from .errors import Failed, Misused
from .text import fitted

__all__ = [
    "add_application",
    "add_config",
    "add_events",
    "application_of",
    "arguments_of",
    "building",
    "load",
]

logger = logging.getLogger("uun_iot.cli")

_PYPROJECT = "pyproject.toml"


def add_application(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument that names an application.

    Args:
        parser: of a command.
        optional: it may be left out; pyproject.toml then says it.
    """
    parser.add_argument(
        "application",
        metavar="MODULE:INIT",
        nargs="?" if optional else None,
        help="where the function is that makes the modules, for example weather:init; "
        "without :INIT it is `init`"
        + ("; by default what [tool.uun-iot] in pyproject.toml says" if optional else ""),
    )
    add_events(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the configuration."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=path_argument,
        default="config.json",
        help="the configuration; config.json by default",
    )


def add_events(parser: argparse.ArgumentParser) -> None:
    """Add the option that says of which generation INIT is.

    Args:
        parser: of a command.
    """
    parser.add_argument(
        "--events",
        action="store_true",
        help="INIT is an event_init(config_file, config, uuclient), which makes event sources",
    )


def application_of(options: argparse.Namespace) -> str:
    """Return the application that is asked for, or the one that the project names.

    Raises:
        Misused: neither does.
    """
    if options.application is not None:
        return str(options.application)
    named = _project_setting("app")
    if named is None:
        raise Misused(
            f"which application? Give MODULE:INIT, or run it where {_PYPROJECT} has "
            '[tool.uun-iot] with app = "weather:init"'
        )
    return named


def _project_setting(key: str) -> Optional[str]:
    try:
        with open(_PYPROJECT, "rb") as file:
            content = file.read().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise Misused(f"{_PYPROJECT} cannot be read ({exc})") from None
    found: Any = _parse_toml(content)
    for part in ("tool", "uun-iot", key):
        found = found.get(part) if isinstance(found, dict) else None
    if found is not None and not isinstance(found, str):
        raise Misused(f"{_PYPROJECT}: tool.uun-iot.{key}: expected a string")
    return found


def _parse_toml(content: str) -> Dict[str, Any]:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        toml = importlib.import_module(name)
    except ModuleNotFoundError:
        raise Misused(
            f"{_PYPROJECT} cannot be read without tomli; give MODULE:INIT, or install tomli"
        ) from None
    try:
        parsed: Dict[str, Any] = toml.loads(content)
    except ValueError as exc:
        raise Misused(f"{_PYPROJECT}: not valid TOML ({exc})") from None
    return parsed


def load(reference: str) -> Callable[..., Any]:
    """Return the function that a reference names; the current directory is importable.

    Args:
        reference: ``package.module:function``; ``init`` where no function is named.

    Raises:
        Misused: there is no such module or function.
        Failed: the module raised while it was imported; its stack trace is logged.
    """
    module_name, colon, name = reference.partition(":")
    name = name if colon else "init"
    if module_name.endswith(".py"):
        raise Misused(f"expected a module, not a file: {module_name[:-3].replace(os.sep, '.')}")
    if not all(part.isidentifier() for part in [*module_name.split("."), *name.split(".")]):
        raise Misused(f"expected MODULE:INIT, for example weather:init, got {reference!r}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{module_name}.".startswith(f"{exc.name}."):
            raise Misused(
                f"there is no module {exc.name}, neither in {here} nor installed"
            ) from None
        raise _raised(f"importing {module_name} failed", exc) from None
    except Exception as exc:
        raise _raised(f"importing {module_name} failed", exc) from None
    except SystemExit as exc:
        raise _exited(f"importing {module_name} failed", exc) from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise Misused(f"{module_name} has no `{name}`{_instead(found, name)}")
        found = getattr(found, part)
    if not callable(found):
        raise Misused(f"{module_name}:{name} is no function but {type(found).__name__}")
    return _plain(found, f"{module_name}:{name}")


def _plain(init: Callable[..., Any], reference: str) -> Callable[..., Any]:
    """Return a function that refuses what can only be awaited, which nobody would.

    Raises:
        Misused: the function says itself that it is such a one.
    """
    remedy = (
        ", which a gateway does not await; make it a plain `def` that returns modules, and have "
        "asyncio.run(...) in it do what must be awaited"
    )
    call = getattr(init, "__call__", None)  # noqa: B004 - of an object, not whether there is one
    for one in (init, call):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise Misused(f"{reference} is an `async def`{remedy}")

    @functools.wraps(init, updated=())  # its signature says how it is called
    def called(*args: Any) -> Any:
        made = init(*args)
        if inspect.isawaitable(made) or inspect.isasyncgen(made):
            if inspect.iscoroutine(made):
                made.close()  # else Python warns, too, that nobody has awaited it
            raise Misused(f"{reference} returned what `async def` returns{remedy}")
        for one in made if isinstance(made, (list, tuple)) else [made]:
            if isinstance(one, type):
                raise Misused(
                    f"{reference} returned the class {one.__name__}, not a module; "
                    f"return {one.__name__}(…)"
                )
        if made is None:
            logger.warning("%s returned no module; is a `return` missing?", reference)
        return made

    return called


def _instead(found: Any, path: str) -> str:
    """Name the functions that may have been meant."""
    own = getattr(found, "__name__", None)
    names: List[str] = (
        [
            name
            for name, value in vars(found).items()
            if callable(value)
            and not isinstance(value, type)
            and not name.startswith("_")
            and getattr(value, "__module__", None) == own
        ]
        if "." not in path
        else []
    )
    return f"; it has the functions {', '.join(names)}" if names else ""


def arguments_of(init: Callable[..., Any], events: bool) -> Dict[str, Any]:
    """Return the arguments by which a gateway takes a function that makes its modules.

    Args:
        init: the function.
        events: it is an ``event_init``.
    """
    return {"event_init" if events else "module_init": init}


@contextlib.contextmanager
def building(what: str) -> Iterator[None]:
    """Turn what building a gateway raises into the command's errors.

    Args:
        what: is being built, for the message.

    Raises:
        Misused: the configuration is wrong, or the modules are.
        Failed: anything else, also `SystemExit`, whose status it has.
    """
    from uun_iot.exceptions import ConfigError, ModuleError, StorageError

    try:
        yield
    except Failed:
        raise
    except SystemExit as exc:
        raise _exited(f"{what} cannot be built", exc) from None
    except (ConfigError, ModuleError) as exc:
        raise Misused(fitted(str(exc), "; `uun-iot check` says all of it")) from None
    except StorageError as exc:
        raise Failed(str(exc)) from None
    except Exception as exc:
        raise _raised(f"{what} cannot be built", exc) from None


def _raised(what: str, exc: BaseException) -> Failed:
    """Log an exception of the application, whose author needs its stack trace."""
    begin = exc.__traceback__
    while begin is not None and _is_ours(begin.tb_frame):  # how it was called says nothing
        begin = begin.tb_next
    logger.error("%s", what, exc_info=exc.with_traceback(begin or exc.__traceback__))
    return Failed(f"{what}: {type(exc).__name__}: {' '.join(str(exc).split())}")


def _exited(what: str, exc: SystemExit) -> Failed:
    """Return what says that an application ended the process before there was a gateway."""
    *_, place = traceback.extract_tb(exc.__traceback__)
    given = "" if exc.code is None else shown(exc.code)
    failed = Failed(f"{what}: sys.exit({given}) in {place.filename}, line {place.lineno}")
    # 0 would say that all is well, and systemd would not start it again
    if isinstance(exc.code, int) and 0 < exc.code < 256:
        failed.status = int(exc.code)
    return failed


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.split(".")[0] in ("uun_iot", "uun_iot_core", "importlib")
