"""Run a project's gateway against a uuApp on this machine, and show what arrives.

The uuApp, its web console and the gateway run in one process; Ctrl-C ends all of them. Their files
are in `.uun-iot/`: the configuration, its backup files and its token stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

from .application import add_application, add_config, application_of, arguments_of, building, load
from .arguments import path as path_argument
from .errors import Failed, Misused
from .logs import add_log, configure
from .patience import telling_what_is_awaited
from .private import make_private
from .text import give_up_output, one_line, say

if TYPE_CHECKING:
    from uun_iot.sandbox import Request, Sandbox

__all__ = ["add_arguments", "main"]

#: characters of an input that are shown on a line
_WIDTH = 100

_EPILOG = """\
examples:
  uun-iot dev
  uun-iot dev weather:init -c config.json --script outage.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    add_application(parser, optional=True)
    add_config(parser)
    add_log(parser, "warning")
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=path_argument,
        default=".uun-iot",
        help="where the files of this command are kept; .uun-iot by default",
    )
    parser.add_argument(
        "--console-port",
        metavar="PORT",
        type=int,
        default=0,
        help="of the web console; any free one by default",
    )
    parser.add_argument("--no-console", action="store_true", help="leave the web console out")
    parser.add_argument(
        "--script", type=path_argument, metavar="FILE", help="a timeline of faults (TOML) to play"
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from uun_iot.sandbox.extra import missing_extra

    missing = missing_extra(console=not options.no_console)
    if missing is not None:
        raise Failed(missing)
    configure(options.log)
    if not 0 <= options.console_port <= 65535:
        raise Misused(f"--console-port: expected 0 to 65535, got {options.console_port}")
    init = load(application_of(options))
    config = _configuration(options.config)
    script = _script(options.script)
    directory = Path(options.directory)
    try:
        make_private(directory, 0o700)
    except OSError as exc:
        raise Failed(f"{directory}: cannot be made ({exc.strerror})") from None
    if (directory / "config.json").resolve() == Path(options.config).resolve():
        raise Misused(
            f"--directory: {directory} is the folder of {options.config}, which would be written "
            "over; give another one"
        )

    from uun_iot import Gateway
    from uun_iot.sandboxed import sandboxed

    from .run import run_until_told

    with _alone_in(directory), _sandbox(directory, config, options) as sandbox:
        path = directory / "config.json"
        turned = sandboxed(config, sandbox, str(directory))
        sandbox.publish(turned["gateway"])
        _write(path, turned)
        for leftover in (".good", ".update"):  # of an earlier configuration, which does not count
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{leftover}")
        with building("the gateway"):
            gateway = Gateway(str(path), **arguments_of(init, options.events))
        if script is not None:
            logging.getLogger("uun_iot.sandbox").setLevel(logging.INFO)  # it says each step
            sandbox.play(script)
        say("Ctrl-C ends it. What arrives:")
        sandbox.on_request = _show
        with telling_what_is_awaited(gateway, lambda text: say(one_line(text))):
            return run_until_told(gateway)


def _configuration(path: str) -> Dict[str, Any]:
    from uun_iot.exceptions import ConfigError
    from uun_iot_core import load_config

    try:
        return load_config(path)
    except ConfigError as exc:
        raise Misused(one_line(str(exc))) from None


def _script(path: Optional[str]) -> Any:
    if path is None:
        return None
    from uun_iot.sandbox import Script

    try:
        return Script.load(path)
    except (OSError, ValueError) as exc:
        raise Misused(one_line(f"{exc}")) from None


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep the directory to this process: another one's files must not change under it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        file = open(directory / "lock", "w")
    except OSError as exc:
        raise Failed(f"{directory}: cannot be used ({exc.strerror})") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failed(
                f"{directory}: another `uun-iot dev` uses it; end that one, or give this one "
                "another --directory"
            ) from None
        yield


def _write(path: Path, config: Dict[str, Any]) -> None:
    from uun_iot_core import atomic_write

    try:
        atomic_write(path, json.dumps(config, indent=4), 0o600)
    except OSError as exc:
        raise Failed(f"{path}: cannot be written ({exc.strerror})") from None


@contextlib.contextmanager
def _sandbox(
    directory: Path, config: Dict[str, Any], options: argparse.Namespace
) -> Iterator[Sandbox]:
    """Run the uuApp and its console; what HTTP clients of this process trust is changed."""
    from uun_iot.sandbox import Sandbox

    with contextlib.ExitStack() as stack:
        try:
            sandbox = stack.enter_context(Sandbox(directory=directory / "uuapp", limit=10_000))
            os.environ["REQUESTS_CA_BUNDLE"] = sandbox.ca_file
            os.environ.pop("CURL_CA_BUNDLE", None)
            os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1"
            addresses = [f"uuApp:   https://{sandbox.gateway}"]
            if not options.no_console:
                from uun_iot.sandbox.console import Console

                console = stack.enter_context(Console(sandbox, port=options.console_port))
                addresses.append(f"console: {console.url}")
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise Failed(one_line(f"the uuApp cannot be started: {reason}")) from None
        for line in addresses:
            say(line)
        yield sandbox


def _show(request: Request) -> None:
    """Print a line on a request that has arrived."""
    moment = datetime.now().strftime("%H:%M:%S")
    text = json.dumps(request.dto_in, ensure_ascii=False, default=str) if request.dto_in else ""
    if len(text) > _WIDTH:
        text = text[: _WIDTH - 1] + "…"
    status = "-" if request.status is None else str(request.status)
    try:
        say(one_line(f"{moment}  {status}  {request.command or request.path}  {text}").rstrip())
    except BrokenPipeError:  # whoever read it, as `head` does, has seen enough
        give_up_output()
        os.kill(os.getpid(), signal.SIGTERM)
