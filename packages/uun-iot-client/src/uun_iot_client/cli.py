"""The command ``uun-iot-client``: a uuApp from the shell."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from uun_iot_core._version import __version__
from uun_iot_core.exceptions import ConfigError

from .client import UuAppClient
from .errors import UuAppClientException
from .retry import RetryPolicy

__all__ = ["main"]

_EPILOG = """\
exit status: 0 the command was done, 1 it failed, 2 the command line or the configuration is wrong,
130 interrupted

examples:
  uun-iot-client call gateway/heartbeat -c config.json --data '{"cpuUsage": 5}'
  uun-iot-client call weather/list --get --all | jq '.[].temperature'
  uun-iot-client call image/add --file data=photo.png --deadline 3600
  curl -H "Authorization: Bearer $(uun-iot-client token)" https://...
"""


class _Problem(Exception):
    """The command line asks for something that cannot be."""


class _NoOutput(Exception):
    """Standard output takes nothing."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uun-iot-client",
        description="Calls the commands of a uuApp, with the account of a configuration file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"uun-iot-client {__version__}")
    subparsers = parser.add_subparsers(dest="what", metavar="{call,token}", required=True)
    call = subparsers.add_parser("call", help="send a command and print its reply, a JSON object")
    call.add_argument("uucmd", help="path of the command, for example gateway/heartbeat")
    call.add_argument("--get", action="store_true", help="send a GET request instead of a POST")
    call.add_argument(
        "--data", metavar="JSON", help="dtoIn; @FILE reads it from a file, - from standard input"
    )
    call.add_argument(
        "--file",
        metavar="FIELD=PATH",
        action="append",
        default=[],
        help="send a multipart form with this file; may be given several times",
    )
    call.add_argument("--all", action="store_true", help="print the items of all pages of a list")
    call.add_argument(
        "--attempts",
        metavar="N",
        type=int,
        default=1,
        help="repeat where that is safe, up to so many attempts",
    )
    call.add_argument(
        "--deadline", metavar="SECONDS", type=float, help="how long it may take in all"
    )
    token = subparsers.add_parser("token", help="print a valid token (it opens the uuApp!)")
    for each in (call, token):
        each.add_argument(
            "-c",
            "--config",
            metavar="FILE",
            default="config.json",
            help="the configuration; config.json by default",
        )
        each.add_argument(
            "-v", "--verbose", action="count", default=0, help="log what is done; -vv: more of it"
        )
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status.

    Args:
        argv: the arguments; those of the process if None.
    """
    options = _parser().parse_args(argv)
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(level=levels[min(options.verbose, 2)], stream=sys.stderr)
    try:
        client = UuAppClient(_config(options.config), refresh_token_on_init=False)
        try:
            if options.what == "token":
                headers = client.get_auth_headers()
                _print(headers["Authorization"].partition(" ")[2])
            else:
                _print_json(_call(client, options))
        finally:
            client.close()
    except UuAppClientException as exc:  # first of all, since some are ValueErrors too
        print(f"uun-iot-client: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # what was only half made, an HTTPResponse say, may complain when it is let go
        sys.unraisablehook = lambda unraisable: None
        print("uun-iot-client: interrupted", file=sys.stderr)
        return 130
    except _NoOutput as exc:  # what was asked for is done, but nobody can know of it
        print(f"uun-iot-client: the output cannot be written: {exc}", file=sys.stderr)
        return 1
    except (_Problem, ConfigError, ValueError) as exc:
        print(f"uun-iot-client: {exc}", file=sys.stderr)
        return 2
    return 0


def _print(text: str) -> None:
    if sys.stdout is None:  # so it is where the shell has closed it
        raise _NoOutput("it is closed")
    try:
        print(text, flush=True)
        return
    except BrokenPipeError:
        found = "its reader has gone"
    except OSError as exc:
        found = exc.strerror or type(exc).__name__
    # what is left in the buffer would be tried again when Python ends, and be an error again
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    raise _NoOutput(found)


def _print_json(found: Any) -> None:
    text = json.dumps(found, ensure_ascii=False, indent=2)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # the terminal cannot show it; escaped as JSON has it
        text = json.dumps(found, indent=2)
    _print(text)


def _config(path: str) -> Dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise _Problem(f"{path}: cannot be read ({exc.strerror})") from None
    except (ValueError, RecursionError):
        # the decoder's error may quote a secret
        raise _Problem(f"{path}: not valid JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise _Problem(f"{path}: the configuration must be a JSON object")
    return found


def _call(client: UuAppClient, options: argparse.Namespace) -> Any:
    dto_in = _dto_in(options.data)
    method = "GET" if options.get else "POST"
    common: Dict[str, Any] = {
        "retry": RetryPolicy(attempts=options.attempts),
        "deadline": options.deadline,
    }
    if options.file:
        if options.get or options.all:
            raise _Problem("--file sends a POST: it does not go with --get or --all")
        with _form(dto_in, options.file) as fields:
            response, exc = client.multipart(options.uucmd, fields, logging.DEBUG, **common)
        if exc is not None:
            raise exc
        return response.json() if response is not None and response.content else {}
    if options.all:
        return list(client.pages(options.uucmd, dto_in, method=method, **common))
    return client.command(options.uucmd, dto_in, method=method, **common)


def _dto_in(text: Optional[str]) -> Dict[str, Any]:
    if text is None:
        return {}
    try:
        if text == "-":
            text = "" if sys.stdin is None else sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as exc:
        raise _Problem(f"--data: the file cannot be read ({exc.strerror})") from None
    except (ValueError, RecursionError):
        raise _Problem("--data: not valid JSON") from None
    if not isinstance(found, dict):
        raise _Problem("--data: must be a JSON object")
    return found


@contextlib.contextmanager
def _form(dto_in: Dict[str, Any], files: List[str]) -> Iterator[Dict[str, Any]]:
    """Open files, and close them when the block ends."""
    fields: Dict[str, Any] = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in dto_in.items()
    }
    with contextlib.ExitStack() as stack:
        for each in files:
            name, equals, path = each.partition("=")
            if not (name and equals and path):
                raise _Problem(f"--file: expected FIELD=PATH, got {each!r}")
            try:
                file = stack.enter_context(open(path, "rb"))
            except OSError as exc:
                raise _Problem(f"--file: {path} cannot be read ({exc.strerror})") from None
            fields[name] = (Path(path).name, file, "application/octet-stream")
        yield fields
