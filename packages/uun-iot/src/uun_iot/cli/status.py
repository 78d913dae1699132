"""Ask a running gateway how it fares.

It answers on the UNIX socket that ``gateway.socket.path`` in its configuration names.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from .arguments import path as path_argument
from .errors import Failed, Misused
from .text import one_line, say, size, table

__all__ = ["add_arguments", "main"]

#: seconds that a gateway gets to answer
_PATIENCE = 10.0

_EPILOG = """\
examples:
  uun-iot status
  uun-iot status --socket /run/weather/uun.sock --watch
  uun-iot status --json | jq .online
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "-c",
        "--config",
        type=path_argument,
        metavar="FILE",
        default="config.json",
        help="the gateway's configuration; config.json by default",
    )
    parser.add_argument(
        "--socket",
        type=path_argument,
        metavar="PATH",
        help="the socket, instead of a configuration",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object as it came")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=float,
        nargs="?",
        const=2.0,
        help="ask again and again, each 2 s by default, until Ctrl-C",
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    if options.watch is not None and not 0.1 <= options.watch <= 3600:
        raise Misused(f"--watch: expected 0.1 to 3600 seconds, got {options.watch:g}")
    path = options.socket or _configured(options.config)
    if options.watch is None:
        _show(_ask(path), options.json)
        return 0
    try:
        _watch(path, options)
    except KeyboardInterrupt:
        pass  # the way to end it
    return 0


def _watch(path: str, options: argparse.Namespace) -> None:
    """Ask again and again, and show what comes."""
    while True:
        try:
            answer: Optional[str] = _ask(path)
            trouble = ""
        except Failed as exc:  # it may come back
            answer, trouble = None, str(exc)
        if sys.stdout.isatty() and not options.json:
            sys.stdout.write("\x1b[H\x1b[2J")  # upper left corner, and clear
        if answer is None and options.json:
            print(trouble, file=sys.stderr, flush=True)  # what is printed is read by a program
        elif answer is None:
            say(trouble)
        else:
            _show(answer, options.json)
        if not options.json:
            say("")
        time.sleep(options.watch)


def _configured(config_file: str) -> str:
    """Return the socket's path that a configuration has."""
    from uun_iot.exceptions import ConfigError
    from uun_iot_core.config import read_config

    try:
        path: Any = read_config(config_file)
    except ConfigError as exc:
        raise Misused(one_line(str(exc))) from None
    for key in ("gateway", "socket", "path"):
        path = path.get(key) if isinstance(path, dict) else None
    if not isinstance(path, str) or not path:
        raise Misused(
            f"{config_file}: gateway.socket.path is not set, so the gateway has no socket; set it, "
            "or give --socket"
        )
    return path


def _ask(path: str) -> str:
    """Return the gateway's answer to the command `status`."""
    if not hasattr(socket, "AF_UNIX"):
        raise Failed("this system has no UNIX sockets")
    place = one_line(path)
    chunks: List[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_PATIENCE)
            asking.connect(path)
            asking.sendall(b"status\n")
            while True:
                chunk = asking.recv(65536)
                if not chunk:
                    break
                chunks.append(chunk)
    except (FileNotFoundError, ConnectionRefusedError):
        raise Failed(f"{place}: no gateway listens there; is it running?") from None
    except PermissionError:
        raise Failed(f"{place}: this user may not ask; be the one that runs the gateway") from None
    except socket.timeout:
        raise Failed(f"{place}: no answer within {_PATIENCE:g} s") from None
    except (OSError, ValueError) as exc:  # the latter: no path at all
        raise Failed(f"{place}: {getattr(exc, 'strerror', None) or exc}") from None
    code, _, output = b"".join(chunks).decode("utf-8", "replace").rstrip("\n").partition(" ")
    if code != "0":
        raise Failed(one_line(f"{place}: {output or 'the gateway did not answer'}"))
    return output


def _show(answer: str, as_json: bool) -> None:
    try:
        status = json.loads(answer)
    except (ValueError, RecursionError):
        status = None
    if as_json:
        if status is None:
            raise Failed("the answer is no JSON; has the application a `status` of its own?")
        say(json.dumps(status))
        return
    if not isinstance(status, dict):
        say(one_line(answer))  # of the application
        return
    try:
        lines = _lines(status)
    except (TypeError, AttributeError, ValueError, OverflowError):  # of the application, too
        lines = [answer]
    for line in lines:
        say(one_line(line))


def _lines(status: Dict[str, Any]) -> List[str]:
    online = {True: "online", False: "offline"}.get(_get(status, "online"), "no heartbeat")
    token = _get(status, "token", "state") or "none"
    left = _seconds(_get(status, "token", "expiresIn"))
    lines = [
        f"uun-iot {_get(status, 'version')}, process {_get(status, 'pid')}, "
        f"up {_seconds(_get(status, 'uptime'))}, {online}",
        f"token: {token}" + ("" if left == "-" else f", {left} left"),
        f"configuration: {_get(status, 'configuration', 'file') or 'none'}, "
        f"of {_moment(_get(status, 'configuration', 'lastUpdate'))}"
        + (", ROLLED BACK" if _get(status, "configuration", "rolledBack") else ""),
    ]
    timers = [one for one in _get(status, "timers") or [] if isinstance(one, dict)]
    if timers:
        rows = [["timer", "period", "last", "next", "took", "late", "calls", "missed", "failed"]]
        rows += [_timer_row(one) for one in timers]
        lines += ["", *table(rows, right=range(1, 9))]
    storages = _get(status, "storages") or {}
    if storages:
        rows = [["storage", "entries", "size", "oldest", "sent", "dropped", "set aside", "lasts"]]
        rows += [_storage_row(name, one) for name, one in storages.items()]
        lines += ["", *table(rows, right=range(1, 8))]
    return lines


def _timer_row(timer: Dict[str, Any]) -> List[str]:
    running = timer.get("runningFor")
    failed = str(timer.get("failures", "-"))
    error = _get(timer, "lastError", "type")
    return [
        str(timer.get("name")),
        _seconds(timer.get("period")),
        _moment(timer.get("lastTick")),
        _moment(timer.get("nextTick")),
        _seconds(timer.get("duration")) if running is None else f"runs {_seconds(running)}",
        _seconds(timer.get("lateness")),
        str(timer.get("calls", "-")),
        str(timer.get("missed", "-")),
        f"{failed} ({error})" if error else failed,
    ]


def _storage_row(name: str, storage: Any) -> List[str]:
    hours = _get(storage, "autonomyHours")
    count = _get(storage, "bytes")
    return [
        name,
        _number(storage, "entries"),
        size(count) if isinstance(count, (int, float)) else "-",
        _seconds(_get(storage, "oldestAge")),
        *(_number(storage, key) for key in ("sent", "dropped", "setAside")),
        _seconds(hours * 3600) if isinstance(hours, (int, float)) else "-",
    ]


def _get(value: Any, *keys: str) -> Any:
    """Return what is at a place; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _number(value: Any, key: str) -> str:
    found = _get(value, key)
    return "-" if found is None else str(found)


def _seconds(value: Any) -> str:
    """Return a duration as people read it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms" if value else "0 s"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:.1f}".removesuffix(".0") + " s"


def _moment(value: Any) -> str:
    """Return a moment by the local clock, without its date where that is today's."""
    from uun_iot import get_datetime_from_iso_timestamp

    try:
        moment = get_datetime_from_iso_timestamp(value).astimezone()
    except (TypeError, ValueError, AttributeError, OverflowError):
        return "-"
    today = datetime.now(timezone.utc).astimezone().date() == moment.date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")
