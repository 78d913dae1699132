"""Run a gateway until it is told to stop.

SIGTERM, SIGINT (Ctrl-C) and SIGUSR2 stop it with exit status 0, SIGUSR1 with 1. systemd is told
when it is ready and when it stops, and its watchdog is fed, where it asks for that.
"""

from __future__ import annotations

import argparse
import signal
from typing import TYPE_CHECKING

from .application import add_application, add_config, application_of, arguments_of, building, load
from .errors import Failed
from .logs import add_log, configure

if TYPE_CHECKING:
    from uun_iot import Gateway

__all__ = ["add_arguments", "main", "run_until_told"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")

_EPILOG = """\
examples:
  uun-iot run weather:init -c config.json
  uun-iot run weather:init -c config.json --log debug --once
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    add_application(parser, optional=True)
    add_config(parser)
    add_log(parser, "info")
    parser.add_argument(
        "--systemd",
        action="store_true",
        help="log with the severity before each line, as the journal of systemd wants it; "
        "on by itself where standard error is that journal",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="call each tick handler that has a timer once, one after another, and stop; "
        "the exit status is 1 if one of them raised",
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    configure(options.log, options.systemd)
    init = load(application_of(options))
    if options.once:
        from .once import run_once

        return run_once(options.config, arguments_of(init, options.events))
    from uun_iot import Gateway

    with building("the gateway"):
        gateway = Gateway(options.config, **arguments_of(init, options.events))
    return run_until_told(gateway)


def run_until_told(gateway: Gateway) -> int:
    """Run a gateway until a signal ends it, or a module stops it; return the exit status.

    Args:
        gateway: not started yet.

    Raises:
        SystemExit: a signal has ended it.
    """
    # before the start, so that a signal that comes while it starts is a clean end
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), gateway.signal_handler)
    try:
        with gateway:
            gateway.stopev.wait()
    except RuntimeError as exc:
        if gateway._exit.requested:
            gateway._exit.join()  # a signal came before the start, which then is refused
        raise Failed(f"the gateway cannot be started: {exc}") from None
    return 0
