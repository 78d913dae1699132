"""What a valid configuration is, and how it is read.

`problems` is the one validation: it serves loading, updates and tools alike.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from math import inf
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type, Union

from .exceptions import ConfigError, json_type
from .logs import get_logger
from .socket_server import path_problem
from .timers import period_problem

__all__ = ["canonical", "load_config", "problems", "read_config"]

logger = get_logger(__name__)

Problems = Iterator[Tuple[str, str]]

#: the commands that the library calls itself; the others are the application's
_COMMANDS = ("gatewayGetConfiguration", "gatewayHeartbeat")
_TEXTS = {
    "uuApp": ("gateway", "uuAppName", "awid"),
    "uuThing": ("uuIdentity", "accessCode1", "accessCode2"),
    "oidcGrantToken": (
        "gateway",
        "uuAppName",
        "awid",
        "clientId",
        "clientSecret",
        "uuCmd",
        "tokenPath",
    ),
}

#: of a storage: key -> its types, and what it is
_BACKUP_NUMBERS: Dict[str, Tuple[Tuple[Union[Type[int], Type[float]], ...], str]] = {
    "limit": ((int,), "a number of entries, a whole number of 0 (no limit) or more"),
    "limitBytes": ((int,), "a number of bytes, a whole number of 0 (no limit) or more"),
    "maxAttempts": ((int,), "a whole number of 0 (any number of attempts) or more"),
    "syncInterval": ((int, float), "a number of seconds, 0 (sync each backup) or more"),
}
#: what a storage keeps beside its backup file
_COMPANIONS = (".journal", ".dead", ".lock")
#: what is kept beside the configuration file
_OF_THE_CONFIGURATION = (".good", ".update", ".counters")


def load_config(path: str) -> Dict[str, Any]:
    """Read and validate a configuration file.

    Args:
        path: the JSON file.

    Returns:
        The configuration; its ``gateway`` key is there, ``{}`` where the file has none.

    Raises:
        ConfigError: the file is missing, damaged, or has a value that cannot be used; the
            message names the file and the JSON path.
    """
    twice: List[str] = []
    config = read_config(path, twice)
    found = problems(config, path)
    if found:
        raise ConfigError("; ".join(f"{path}: {problem}" for problem in found))
    for problem in twice:  # such a file has always been taken
        logger.warning("%s: %s", path, problem)
    config.setdefault("gateway", {})
    return dict(config)


def read_config(path: str, twice: Optional[List[str]] = None) -> Any:
    """Return what a configuration file says, whether that can be used or not.

    Args:
        path: the JSON file.
        twice: takes in what is wrong with keys that an object has more than once, as `problems`
            writes it; the last of them counts.

    Raises:
        ConfigError: the file is missing, or is no JSON; the message names it.
    """
    repeated = _Repeated()
    try:
        with open(path, encoding="utf-8-sig") as file:
            config = json.load(file, object_pairs_hook=repeated.take)
        if twice is not None:
            twice += repeated.problems(config)
        return config
    except OSError as exc:
        raise ConfigError(
            f"{path}: the configuration file cannot be read ({exc.strerror}); "
            "give the path of a JSON file (its minimum is {})"
        ) from exc
    except json.JSONDecodeError as exc:
        raise ConfigError(
            f"{path}: line {exc.lineno}, column {exc.colno}: not valid JSON ({exc.msg}); "
            "mend the file (its minimum is {})"
        ) from None  # the decoder's exception holds the whole document
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the configuration file is not UTF-8 text; mend it") from None
    except RecursionError:
        raise ConfigError(f"{path}: the configuration file is nested too deeply") from None
    except ValueError as exc:  # a number of too many digits, or a path that cannot be one
        raise ConfigError(f"{path}: the configuration file cannot be read ({exc})") from None


class _Repeated:
    """Finds keys that an object of a JSON text has more than once."""

    def __init__(self) -> None:
        self._found: Dict[int, Tuple[Dict[str, Any], List[str]]] = {}

    def take(self, pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        """Make an object of its pairs: the `object_pairs_hook` of a decoder."""
        made = dict(pairs)
        if len(made) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            # the object is kept, so that no other one gets its address
            self._found[id(made)] = made, [key for key in made if counts[key] > 1]
        return made

    def problems(self, value: Any, path: str = "") -> Iterator[str]:
        """Yield ``JSON path: what is wrong`` for each such key within a decoded value."""
        if not self._found:
            return
        if isinstance(value, dict):
            for key in self._found.get(id(value), (value, []))[1]:
                yield f"{path}{key}: the key stands there more than once; keep one of them"
            for key, one in value.items():
                yield from self.problems(one, f"{path}{key}.")
        elif isinstance(value, list):
            for number, one in enumerate(value):
                yield from self.problems(one, f"{path[:-1]}[{number}].")


def canonical(value: Any) -> str:
    """Return JSON text that is the same for the same JSON value (and tells 1 from true)."""
    return json.dumps(value, sort_keys=True)


def problems(config: Any, config_file: Optional[str] = None) -> List[str]:
    """Return what is wrong with a configuration, as ``JSON path: what was expected`` lines.

    Args:
        config: the parsed content of a configuration file.
        config_file: path of that file, which nothing else may be written to.
    """
    found = [*_walk(config), *_shared_files(config, config_file)]
    return [f"{path or 'top level'}: {message}" for path, message in found]


def _shared_files(config: Any, config_file: Optional[str]) -> Problems:
    """Find files that two would write, each over the other's data.

    What is no path at all is left out: `_walk` says so.
    """
    users: Dict[str, str] = {}
    if config_file is not None:
        users[os.path.realpath(config_file)] = "the configuration itself"
        for suffix in _OF_THE_CONFIGURATION:
            users[os.path.realpath(f"{config_file}{suffix}")] = "what is kept of the configuration"
    files: List[Tuple[str, Any, Tuple[str, ...]]] = []
    files.append(("oidcGrantToken.tokenPath", _part(config, "oidcGrantToken", "tokenPath"), ()))
    storages = _part(config, "gateway", "moduleBackupStorage")
    for module_id, value in (storages if isinstance(storages, dict) else {}).items():
        place = f"gateway.moduleBackupStorage.{module_id}"
        if isinstance(value, dict):
            place, value = f"{place}.path", value.get("path")
        files.append((place, value, _COMPANIONS))
    for place, path, companions in files:
        if not isinstance(path, str) or not path or _path_problem(path) is not None:
            continue
        for suffix in ("", *companions):
            own = f"{place} (its {suffix})" if suffix else place
            other = users.setdefault(os.path.realpath(path + suffix), own)
            if other != own:
                yield place, f"names the same file as {other}; give each a file of its own"
                break


def _part(config: Any, *keys: str) -> Any:
    """Return what is at a place, None where there is nothing."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _walk(config: Any) -> Problems:
    if not isinstance(config, dict):
        yield "", _expected("an object", config)
        return
    gateway = config.get("gateway", {})
    if not isinstance(gateway, dict):
        yield "gateway", _expected("an object", gateway)
    else:
        yield from _each(gateway, "moduleTimers", _timer)
        yield from _each(gateway, "moduleBackupStorage", _backup)
        yield from _own_settings(gateway)
    for section, names in _TEXTS.items():
        part = config.get(section, {})
        if not isinstance(part, dict):
            yield section, _expected("an object", part)
            continue
        for name in names:
            # null stands for a key that is not set
            if not isinstance(part.get(name, ""), (str, type(None))):
                yield f"{section}.{name}", _expected("a string", part[name])
        if section == "uuApp":
            commands = part.get("uuCmdList", {})
            if not isinstance(commands, dict):
                yield "uuApp.uuCmdList", _expected("an object", commands)
                continue
            for name in _COMMANDS:
                if not isinstance(commands.get(name, ""), (str, type(None))):
                    yield f"uuApp.uuCmdList.{name}", _expected("a string", commands[name])


def _each(gateway: Dict[str, Any], key: str, check: Callable[[str, Any], Problems]) -> Problems:
    part = gateway.get(key, {})
    path = f"gateway.{key}"
    if not isinstance(part, dict):
        yield path, _expected("an object with module ids as keys", part)
        return
    for module_id, value in part.items():
        yield from check(f"{path}.{module_id}", value)


def _own_settings(gateway: Dict[str, Any]) -> Problems:
    """Look at the settings of the gateway itself."""
    spread = gateway.get("timerSpread", False)
    if not isinstance(spread, bool) and not (isinstance(spread, (int, float)) and 0 <= spread <= 1):
        yield (
            "gateway.timerSpread",
            _expected("true, false, or the part of a period to spread over, 0 to 1", spread),
        )
    sections = {name: gateway.get(name, {}) for name in ("watchdog", "heartbeat", "socket")}
    for name, section in sections.items():
        if not isinstance(section, dict):
            yield f"gateway.{name}", _expected("an object", section)
            sections[name] = {}
    limits = sections["watchdog"].get("limits", {})
    if not isinstance(limits, dict):
        yield (
            "gateway.watchdog.limits",
            _expected("an object with module ids as keys and seconds as values", limits),
        )
    else:
        for module_id, value in limits.items():
            yield from _limit(f"gateway.watchdog.limits.{module_id}", value)
    path = sections["socket"].get("path")
    problem = None if path is None else path_problem(path)
    if problem is not None:
        yield "gateway.socket.path", problem
    extended = sections["heartbeat"].get("extended", False)
    if not isinstance(extended, bool):
        yield "gateway.heartbeat.extended", _expected("true or false", extended)


def _limit(path: str, value: Any) -> Problems:
    limits = (
        {f"{path}.{key}": one for key, one in value.items()}
        if isinstance(value, dict)
        else {path: value}
    )
    for place, limit in limits.items():
        if period_problem(limit) is not None:
            yield place, _expected("a number of seconds, finite and over 0", limit)


def _timer(path: str, value: Any) -> Problems:
    periods = (
        {f"{path}.{key}": one for key, one in value.items()}
        if isinstance(value, dict)
        else {path: value}
    )
    for place, period in periods.items():
        problem = period_problem(period)
        if problem is not None:
            yield place, problem


def _backup(path: str, value: Any) -> Problems:
    if isinstance(value, dict):
        yield from _file(f"{path}.path", value.get("path"), "the path of a file")
        for key, (kinds, expected) in _BACKUP_NUMBERS.items():
            number = value.get(key, 0)
            # compared, not math.isfinite(): an integer may be beyond any float
            if isinstance(number, bool) or not isinstance(number, kinds) or not 0 <= number < inf:
                yield f"{path}.{key}", _expected(expected, number)
    else:
        yield from _file(path, value, 'the path of a file, or an object with "path" and "limit"')


def _file(place: str, value: Any, expected: str) -> Problems:
    if not isinstance(value, str) or not value:
        yield place, _expected(expected, value)
        return
    problem = _path_problem(value)
    if problem is not None:
        yield place, f"expected the path of a file, got {problem}"
    elif os.path.exists(value) and not os.path.isfile(value):
        yield place, "expected the path of a file; there is a directory or a device"


def _path_problem(path: str) -> Optional[str]:
    """Return what about a string no file could be named by; None if it could."""
    if "\0" in path:
        return "a string with a NUL character"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "a string with characters that file names cannot have here"
    return None


def _expected(what: str, value: Any) -> str:
    return f"expected {what}, got {json_type(value)}"
