"""The command ``uun-iot sandbox``, also as ``python -m uun_iot.sandbox``."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import logging
import os
import re
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from uun_iot_core import atomic_write
from uun_iot_core.values import shown
from uun_iot_core.wakeful import WakefulEvent

from ..cli.arguments import Parser
from ..cli.arguments import path as path_argument
from ..cli.errors import Failed, Misused
from ..cli.private import make_private
from ..cli.text import fitted, say
from .actions import Action, parse_flag
from .durations import parse_duration
from .extra import missing_extra
from .script import Script

if TYPE_CHECKING:
    from .server import Sandbox

__all__ = ["add_arguments", "main"]

_PORT = 8843
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
#: labels between dots; letters of any language, which are translated
_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*")
#: each has a file, keys to be made, and a part of the console
_MOST_GATEWAYS = 1000
#: they are in memory
_MOST_KEPT = 1_000_000
_LOOPBACK = ("127.0.0.1", "localhost")
#: what a gateway does that has no modules yet
_GATEWAY: Dict[str, Any] = {"moduleTimers": {"heartbeat": 10, "config": 30}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser; needs nothing of the extra.

    Args:
        parser: whose arguments `main` is to be given.
    """
    add = parser.add_argument
    parser.description = (
        "A uuApp on this machine to run gateways against: HTTPS, tokens, heartbeats, "
        "configuration, any other command, faults on demand, and a web console."
    )
    add("--host", type=_host, default="127.0.0.1",
        help="address to listen on for gateways (default 127.0.0.1)")  # fmt: skip
    add("--port", type=_port, default=_PORT, help=f"port for gateways (default {_PORT}, 0 for any)")
    add("--name", action="append", type=_host, metavar="HOST",
        help="name under which gateways reach it; also several times (default localhost, or this "
        "machine's name with --host)")  # fmt: skip
    add("--console-port", type=_port, default=_PORT + 1, metavar="PORT",
        help=f"port of the console, on loopback only (default {_PORT + 1}, 0 for any)")  # fmt: skip
    add("--no-console", action="store_true", help="no web console")
    add("--directory", type=path_argument, default=".sandbox", metavar="DIR",
        help="keeps authority, credentials and published configuration "
        "(default .sandbox)")  # fmt: skip
    add("--answers", type=path_argument, metavar="DIR",
        help="JSON files that commands answer: weather/add.json")  # fmt: skip
    add("--fault", action="append", default=[], type=_flag, metavar="FAULT", help="in force from "
        "the begin, also several times: status=503  delay=2s  drop  outage  …")  # fmt: skip
    add("--script", type=path_argument, metavar="FILE", help="a TOML file of what happens when")
    add("--config-out", type=path_argument, metavar="FILE",
        help="write a ready config.json there (default: print it)")  # fmt: skip
    add("--gateways", type=_up_to(_MOST_GATEWAYS), default=1, metavar="N",
        help="gateways with credentials of their own; further ones are written to FILE-2.json "
        "and so on (default 1)")  # fmt: skip
    add("--command", action="append", default=[], type=_command, metavar="NAME=UUCMD",
        help="an entry of the configuration's uuCmdList: weatherAdd=weather/add")  # fmt: skip
    add("--token-lifetime", type=_duration, default=1800.0, metavar="TIME",
        help="how long tokens live (default 30 min)")  # fmt: skip
    add("--keep", type=_up_to(_MOST_KEPT), default=5000, metavar="N",
        help="requests to remember (default 5000)")  # fmt: skip
    add("--record", type=path_argument, metavar="FILE",
        help="add each request to a file, as a line of JSON")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Run a sandbox until SIGINT or SIGTERM.

    Args:
        args: of a parser that `add_arguments` has prepared.

    Returns:
        The exit status: 0, since it was told to end.

    Raises:
        Failed: it cannot run.
        Misused: an argument or a script is wrong.
    """
    missing = missing_extra(console=not args.no_console)
    if missing is not None:
        raise Failed(missing)
    from .console import Console
    from .server import Sandbox

    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
        )
    with contextlib.ExitStack() as stack:
        ended = stack.enter_context(_signals())
        try:
            script = Script.load(args.script) if args.script else None
            make_private(Path(args.directory))
            sandbox = Sandbox(
                args.port,
                host=args.host,
                names=_names(args),
                directory=args.directory,
                token_lifetime=args.token_lifetime,
                answers=args.answers,
                gateways=args.gateways,
                limit=args.keep,
            )
        except ValueError as exc:
            raise Misused(str(exc)) from None
        except ModuleNotFoundError as exc:
            raise Failed(str(exc)) from None
        except OSError as exc:
            raise Failed(f"{args.directory}: cannot be used: {exc.strerror or exc}") from None
        if args.record:
            stack.enter_context(_recording(sandbox, args.record))
        try:
            stack.enter_context(sandbox)
            if not args.no_console:
                console = stack.enter_context(Console(sandbox, args.console_port))
        except OSError as exc:
            remedy = "choose another with --port or --console-port"
            if exc.errno not in (errno.EADDRINUSE, errno.EACCES):  # it is not the port
                remedy = "give an address of this machine with --host"
            raise Failed(f"{exc.strerror or exc}; {remedy}") from None
        for action in args.fault:
            action.apply(sandbox)
        say(f"uuApp      https://{sandbox.gateway}")
        if not args.no_console:
            say(f"console    {console.url}")
        authority = os.path.abspath(sandbox.ca_file)
        say(f"authority  {authority}  (export REQUESTS_CA_BUNDLE={shlex.quote(authority)})")
        _give_configurations(sandbox, args, ended)
        say("It runs until Ctrl-C.")
        if script is not None:
            sandbox.play(script)
        ended.wait()
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[WakefulEvent]:
    """Provide an event that SIGINT and SIGTERM set."""
    ended = WakefulEvent()
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _names(args: argparse.Namespace) -> List[str]:
    names = list(args.name or [])
    if args.host not in (*_LOOPBACK, "0.0.0.0"):
        names.append(args.host)
    elif args.host == "0.0.0.0":
        names.append(socket.gethostname())
    return list(dict.fromkeys([*names, "localhost", "127.0.0.1"]))


# -- configurations


def _give_configurations(sandbox: Sandbox, args: argparse.Namespace, ended: WakefulEvent) -> None:
    for number in range(1, args.gateways + 1):
        if ended.is_set():
            return  # Ctrl-C, and there are many
        arguments: Dict[str, Any] = {"commands": dict(args.command), "number": number}
        if number > 1:
            arguments["token_path"] = f"./oidc-token-{number}"
        config = sandbox.configuration(gateway=_GATEWAY, **arguments)
        if args.config_out is None:
            say(json.dumps(config, indent=4))
            continue
        root, extension = os.path.splitext(args.config_out)
        path = args.config_out if number == 1 else f"{root}-{number}{extension}"
        _write(path, config)
        say(f"config     {path}")


def _write(path: str, config: Dict[str, Any]) -> None:
    """Write a configuration, but never over one that is for another uuApp."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise Misused(
            f"{path}: there is a pipe or a device; name a file with --config-out, or leave it "
            "out to have the configuration printed"
        )
    try:
        with open(path, encoding="utf-8") as file:
            old = json.load(file)
        ours = old["uuApp"]["awid"] == config["uuApp"]["awid"]
        commands = dict(old["uuApp"].get("uuCmdList", {}))
    except FileNotFoundError:
        old, ours, commands = {}, True, {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        ours = False
    except OSError as exc:
        raise Failed(f"{path}: cannot be read: {exc.strerror}") from None
    if not ours:
        raise Misused(
            f"{path}: there is a file that is not for this sandbox; name another with "
            "--config-out, or remove it"
        )
    # what the user has added stays
    config["uuApp"]["uuCmdList"] = {**commands, **config["uuApp"]["uuCmdList"]}
    try:
        text = json.dumps({**config, **_kept(old)}, indent=4, ensure_ascii=False)
        atomic_write(path, text + "\n", mode=0o600)
    except OSError as exc:
        raise Failed(f"{path}: cannot be written: {exc.strerror}") from None


def _kept(old: Dict[str, Any]) -> Dict[str, Any]:
    ours = ("uuApp", "uuThing", "oidcGrantToken")
    return {key: value for key, value in old.items() if key not in ours}


# -- recording


@contextlib.contextmanager
def _recording(sandbox: Sandbox, path: str) -> Iterator[None]:
    """Add each request to a file, without secrets."""
    from .overview import Overview
    from .view import View

    try:
        file = open(path, "a", encoding="utf-8")
    except OSError as exc:
        raise Failed(f"{path}: cannot be written: {exc.strerror}") from None
    view = View(sandbox, Overview())
    with file:

        def record(request: Any) -> None:
            text = json.dumps(view.request(request), ensure_ascii=False) + "\n"
            # a request may hold half of a pair of surrogates, which UTF-8 does not know
            file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
            file.flush()

        sandbox.records.observe(record)
        yield


# -- types of arguments


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {shown(text)}")
    return int(text)


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        # the length first: Python converts no number of thousands of digits
        if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 1 to {most}, got {shown(text)}"
        )

    return number


def _host(text: str) -> str:
    if not _HOST.fullmatch(text) or len(text) > 253:
        raise argparse.ArgumentTypeError(
            "expected the name or IPv4 address of a host, for example laptop.local, got "
            f"{shown(text)}"
        )
    return text


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(f"{text} s" if _PLAIN.fullmatch(text) else text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    if not seconds > 0:
        raise argparse.ArgumentTypeError("expected more than 0 s")
    return seconds


def _flag(text: str) -> Action:
    try:
        return parse_flag(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _command(text: str) -> Sequence[str]:
    name, equals, command = text.partition("=")
    if not (name and equals and command.strip("/")):
        raise argparse.ArgumentTypeError(f"expected NAME=UUCMD, got {text!r}")
    return name, command


def _alone(arguments: Optional[Sequence[str]] = None) -> int:
    parser = Parser(prog="python -m uun_iot.sandbox")
    add_arguments(parser)
    try:
        return main(parser.parse_args(arguments))
    except Failed as exc:
        print(f"{parser.prog}: {fitted(str(exc))}", file=sys.stderr)
        return exc.status
