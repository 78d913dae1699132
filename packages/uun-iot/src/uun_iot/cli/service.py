"""Write a unit file, so that systemd runs the gateway of this folder and keeps it alive."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import List

from uun_iot_core.values import shown

from .application import add_application, add_config, application_of, load
from .errors import Failed, Misused
from .text import fitted, one_line, say
from .unit import unit_text

__all__ = ["add_arguments", "main"]

_NAME = re.compile(r"[A-Za-z0-9:_.@-]{1,240}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}", re.ASCII)

_EPILOG = """\
examples:
  uun-iot install-service                  for the user who types it
  sudo .venv/bin/uun-iot install-service weather:init --system --user pi
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = _EPILOG
    add_application(parser, optional=True)
    add_config(parser)
    parser.add_argument("--name", help="of the service; by default that of the folder")
    parser.add_argument(
        "--system",
        action="store_true",
        help="for the whole system (/etc/systemd/system), started at boot; else for this user",
    )
    parser.add_argument("--user", help="whom a service of the system runs as")
    parser.add_argument("--force", action="store_true", help="replace a unit that is there")
    parser.add_argument("--dry-run", action="store_true", help="print the unit, and write nothing")


def main(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    application = application_of(options)
    directory = os.getcwd()
    name = options.name
    if name is None:
        name = re.sub(r"[^A-Za-z0-9:_.-]", "-", os.path.basename(directory)) or "uun-iot"
    name = name[: -len(".service")] if name.endswith(".service") else name
    if name.endswith("@"):
        raise Misused(f"--name: {name} is a template, which cannot be started; name an instance")
    if not _NAME.fullmatch(name):
        raise Misused(f"--name: expected letters, digits and :_.@-, got {name!r}")
    if options.user is not None and not options.system:
        raise Misused("--user goes with --system: a service of a user runs as that user")
    if options.user is not None:
        _check_user(options.user, there=not options.dry_run)
    if not os.path.isfile(options.config):
        raise Misused(f"{options.config}: there is no such file")
    writable = _folders(options.config, directory)
    load(application)  # what cannot be imported would be restarted for ever
    command = [sys.executable, "-m", "uun_iot", "run", application]
    command += ["--events"] if options.events else []
    command += ["-c", os.path.abspath(options.config)]
    try:
        text = unit_text(
            f"{name} (uun-iot gateway)",
            directory,
            command,
            system=options.system,
            user=options.user,
            writable=writable,
        )
    except ValueError as exc:
        raise Misused(one_line(str(exc))) from None
    if options.dry_run:
        say(text.rstrip("\n"))
        return 0
    path = _folder(options.system) / f"{name}.service"
    _write(path, text, options.force)
    say(f"{path} is written. To start it now and at each {'boot' if options.system else 'login'}:")
    for line in _next(name, options.system):
        say(f"  {line}")
    return 0


def _check_user(user: str, there: bool) -> None:
    """Refuse whom systemd would not take, or would ignore and run the gateway as root.

    Raises:
        Misused: it is no name of a user, or nobody's.
    """
    if not _USER.fullmatch(user):
        raise Misused(
            f"--user: expected the name of a user, got {shown(user)}; without --user it is root"
        )
    if there:
        import pwd

        try:
            pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except (KeyError, OverflowError):
            raise Misused(f"--user: there is no user {user} on this machine") from None


def _folders(config_file: str, directory: str) -> List[str]:
    """Return the folders that the gateway writes in, but for the one that it runs in.

    Raises:
        Misused: the configuration would be refused: the gateway would be restarted for ever.
    """
    from uun_iot.exceptions import ConfigError
    from uun_iot_core import load_config

    from .check import written_files

    try:
        config = load_config(config_file)
    except ConfigError as exc:
        raise Misused(fitted(str(exc), "; `uun-iot check` says all of it")) from None
    files = [config_file, *(file for _, file in written_files(config))]
    path = config.get("gateway", {}).get("socket", {}).get("path")
    files += [path] if path else []
    folders = [os.path.dirname(os.path.abspath(file)) for file in files]
    return [one for one in folders if not f"{one}/".startswith(f"{directory}/")]


def _folder(system: bool) -> Path:
    if system:
        return Path("/etc/systemd/system")
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home) / "systemd" / "user"


def _write(path: Path, text: str, force: bool) -> None:
    from uun_iot_core import atomic_write

    if path.exists() and not force and path.read_text(encoding="utf-8", errors="replace") != text:
        raise Failed(f"{path} is there and says something else; --force replaces it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text, 0o644)
    except OSError as exc:
        raise Failed(f"{path}: cannot be written ({exc.strerror})") from None


def _next(name: str, system: bool) -> List[str]:
    manager = "sudo systemctl" if system else "systemctl --user"
    lines = [f"{manager} daemon-reload", f"{manager} enable --now {name}"]
    if not system:
        lines.append("loginctl enable-linger    # also while you are not logged in")
    return lines
