"""Say all that is wrong in a configuration, a line a problem.

Each line has the JSON path and what was expected. What is looked at is what a gateway looks at
when it starts, and what its client and its storages would stumble over later. Exit status: 0
nothing is wrong, 1 something is, 2 there is no such file.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Iterator, List, Tuple

from uun_iot_core.values import shown

from .application import add_events
from .arguments import path as path_argument
from .errors import Misused
from .text import one_line, say

__all__ = ["add_arguments", "main", "written_files"]

#: where numbers are settings of the library: periods, limits, parts
_OPEN = (
    "gateway.moduleTimers.",
    "gateway.timerSpread",
    "gateway.watchdog.limits.",
    "gateway.moduleBackupStorage.",
)
_A_NUMBER = ", got a number"

_EPILOG = """\
examples:
  uun-iot check config.json
  uun-iot check config.json --app weather:init --online
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "config",
        metavar="FILE",
        type=path_argument,
        nargs="?",
        default="config.json",
        help="config.json by default",
    )
    parser.add_argument(
        "--app",
        dest="application",
        metavar="MODULE:INIT",
        help="make the modules, too, and look whether the configuration fits them; their storages "
        "are not opened",
    )
    add_events(parser)
    parser.add_argument(
        "--online",
        action="store_true",
        help="ask for a token, and call the commands that are configured: heartbeat and "
        "configuration as a gateway does, the others by GET with an empty input",
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from uun_iot.exceptions import ConfigError
    from uun_iot_core.config import read_config

    path = options.config
    if not os.path.exists(path):
        raise Misused(f"{path}: there is no such file")
    found: List[str] = []
    try:
        config = read_config(path, found)
    except ConfigError as exc:
        say(one_line(str(exc)))  # it names the file
        return 1
    found += [_told(problem, config) for problem in _problems(config, path)]
    for problem in found:
        say(one_line(f"{path}: {problem}"))
    remarks = list(_remarks(config))
    if not found and options.application is not None:
        from .checkapp import application_problems

        found, more = application_problems(config, options.application, options.events)
        said = {remark.partition(": ")[0] for remark in remarks}
        if "uuApp" in said:
            said.add("gateway.moduleTimers.heartbeat")  # it follows
        remarks += [remark for remark in more if remark.partition(": ")[0] not in said]
        for problem in found:
            say(one_line(f"{path}: {problem}"))
    for remark in remarks:
        say(one_line(f"{path}: warning: {remark}"))
    if options.online:
        if found:
            say("not asked online: that first")
        else:
            from .checkonline import ask

            found = ask(config, path)
    if not found:
        say(one_line(f"{path}: nothing is wrong"))
    return 1 if found else 0


def _told(problem: str, config: Any) -> str:
    """Return a problem with the number that is wrong, where it can be no secret.

    The validation itself tells no value: what it says is logged.
    """
    path, colon, message = problem.partition(": ")
    if not path.startswith(_OPEN) or not message.endswith(_A_NUMBER):
        return problem
    value = _at(config, path)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        message = f"{message[: -len(_A_NUMBER)]}, got {shown(value)}"
    return f"{path}{colon}{message}"


def _at(part: Any, path: str) -> Any:
    """Return what stands at a JSON path, None where nothing does; keys may have dots."""
    for key, value in part.items() if isinstance(part, dict) else ():
        if key == path:
            return value
        if path.startswith(f"{key}."):
            found = _at(value, path[len(key) + 1 :])
            if found is not None:
                return found
    return None


def _problems(config: Any, path: str) -> List[str]:
    from uun_iot_client.settings import configuration_problems
    from uun_iot_core import problems

    found = problems(config, path)
    said = {problem.partition(": ")[0] for problem in found}
    found += [one for one in configuration_problems(config) if one.partition(": ")[0] not in said]
    if not found:
        found += [f"{place}: {problem}" for place, problem in _unwritable(config)]
    return found


def _unwritable(config: Any) -> Iterator[Tuple[str, str]]:
    """Find files that could not be written from here, by this user."""
    for place, file in written_files(config):
        directory = os.path.dirname(os.path.abspath(file))
        there = directory
        while not os.path.lexists(there) and os.path.dirname(there) != there:
            there = os.path.dirname(there)  # it will be made
        if not os.path.isdir(there):
            yield place, f"{there} is no directory"
        elif not os.access(there, os.W_OK | os.X_OK):
            yield place, f"this user may not write in {there}"


def written_files(config: Any) -> Iterator[Tuple[str, str]]:
    """Yield JSON path and file of what a gateway stores; of a valid configuration."""
    token = (config.get("oidcGrantToken") or {}).get("tokenPath")
    if token:
        yield "oidcGrantToken.tokenPath", token
    for module_id, value in (config.get("gateway") or {}).get("moduleBackupStorage", {}).items():
        place = f"gateway.moduleBackupStorage.{module_id}"
        if isinstance(value, dict):
            yield f"{place}.path", value["path"]
        else:
            yield place, value


def _unused_timers(config: Any) -> Iterator[str]:
    """Find timers of the library without the command that they would call."""
    from uun_iot_client.settings import is_configured

    gateway = config.get("gateway")
    timers = gateway.get("moduleTimers") if isinstance(gateway, dict) else None
    app = config.get("uuApp")
    commands = app.get("uuCmdList") if isinstance(app, dict) else None
    if not is_configured(config) or not isinstance(timers, dict):
        return
    for timer, command in (
        ("heartbeat", "gatewayHeartbeat"),
        ("config", "gatewayGetConfiguration"),
    ):
        if timer in timers and not (isinstance(commands, dict) and commands.get(command)):
            yield (
                f"gateway.moduleTimers.{timer}: nothing is called, since uuApp.uuCmdList.{command} "
                "is not set"
            )


def _remarks(config: Any) -> Iterator[str]:
    """Find what a gateway only warns of."""
    from uun_iot_client.settings import is_configured
    from uun_iot_storage.module import SETTINGS

    if not isinstance(config, dict):
        return
    app = config.get("uuApp")
    if isinstance(app, dict) and app.get("uuCmdList") and not is_configured(config):
        yield "uuApp: no uuApp is configured (gateway, uuAppName, awid): nothing can be sent"
    gateway = config.get("gateway")
    yield from _unused_timers(config)
    storages = gateway.get("moduleBackupStorage") if isinstance(gateway, dict) else None
    for module_id, value in storages.items() if isinstance(storages, dict) else ():
        for key in value if isinstance(value, dict) else ():
            if key not in ("path", *SETTINGS):
                yield (
                    f"gateway.moduleBackupStorage.{module_id}.{key}: unknown and ignored; known "
                    f"are path, {', '.join(SETTINGS)}"
                )
