"""The parser of ``uun-iot``, and what is the same for all of its commands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Dict, NamedTuple, Optional, Sequence

from uun_iot_core._version import __version__

from .arguments import Parser
from .errors import Failed
from .text import fitted, give_up_output

__all__ = ["main"]


class _Command(NamedTuple):
    """Where a command is; the module has `add_arguments` and `main`.

    Args:
        module: its full name.
        help: one line.
    """

    module: str
    help: str


_COMMANDS: Dict[str, _Command] = {
    "new": _Command("uun_iot.cli.new", "make a project with a module, a test, a systemd unit"),
    "dev": _Command("uun_iot.cli.dev", "run a project's gateway against a uuApp on this machine"),
    "sandbox": _Command("uun_iot.sandbox.command", "run a uuApp on this machine, with faults"),
    "run": _Command("uun_iot.cli.run", "run a gateway until it is told to stop"),
    "check": _Command("uun_iot.cli.check", "say all that is wrong in a configuration"),
    "status": _Command("uun_iot.cli.status", "ask a running gateway how it fares"),
    "storage": _Command("uun_iot.cli.storage", "look into a backup file, requeue dead letters"),
    "install-service": _Command("uun_iot.cli.service", "write a unit for systemd"),
}

_EPILOG = """\
exit status: 0 done, 1 it failed, 2 the command line or the configuration is wrong, 130 interrupted

to begin with:
  uun-iot new weather && cd weather && uun-iot dev
more on one of them: uun-iot COMMAND --help
"""


def _parser(chosen: Optional[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="uun-iot",
        description="Makes, runs and looks after IoT gateways.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"uun-iot {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        if name != chosen:
            subparsers.add_parser(name, help=command.help)
            continue
        # only this one is imported: each has its own needs
        module = importlib.import_module(command.module)
        added = subparsers.add_parser(
            name,
            help=command.help,
            description=(module.__doc__ or "").partition("\n")[0],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(added)
        added.set_defaults(main=module.main)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status.

    Args:
        argv: the arguments; those of the process if None.
    """
    _open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    # options of `uun-iot` itself end it, so the command is what comes first
    command = arguments[0] if arguments else None
    called = f"uun-iot {command}" if command in _COMMANDS else "uun-iot"
    try:
        options = _parser(command).parse_args(arguments)  # imports the command
        status: int = options.main(options)
        sys.stdout.flush()
    except Failed as exc:
        print(f"{called}: {fitted(str(exc))}", file=sys.stderr)
        return exc.status
    except KeyboardInterrupt:
        # what was only half made, an HTTPResponse say, may complain when it is let go
        sys.unraisablehook = lambda unraisable: None
        print(f"{called}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        give_up_output()  # whoever read it has seen enough
        return 0
    except OSError as exc:  # the disk is full, the current directory is gone
        place = f"{exc.filename}: " if exc.filename else ""
        print(f"{called}: {fitted(f'{place}{exc.strerror or exc}')}", file=sys.stderr)
        give_up_output()
        return 1
    return status


def _open_closed_streams() -> None:
    """Have streams to write to also where the process was started without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
