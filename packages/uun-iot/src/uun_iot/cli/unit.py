"""The text of a systemd unit that runs a gateway."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

__all__ = ["unit_text"]

#: for all services; those that a manager of a user may not set are left out of these
_HARDENING = """\
# It needs the network and its own files. Devices (serial, I2C, GPIO) stay open to it.
NoNewPrivileges=yes
UMask=0077
LockPersonality=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_BLUETOOTH AF_CAN
"""

_SYSTEM_HARDENING = """\
ProtectSystem=strict
ProtectHome=read-only
{writable}
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectHostname=yes
CapabilityBoundingSet=
"""

#: whose folders systemd makes for the service: the folder -> setting
_MADE = {"/run": "RuntimeDirectory", "/var/run": "RuntimeDirectory", "/var/lib": "StateDirectory"}
_TEMPORARY = ("/tmp", "/var/tmp")

#: characters that systemd takes in the path of a program in no form
_UNSAFE = "'\"\\"
#: runs a program in its own place, so that it is still the service's main process
_ENV = "/usr/bin/env"

_UNIT = """\
[Unit]
Description={description}
{network}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WorkingDirectory={directory}
ExecStart={command}
{user}Restart=always
RestartSec=5
# fed while the scheduler lives and no handler is over its gateway.watchdog.limits
WatchdogSec=60
TimeoutStopSec=60

{hardening}
[Install]
WantedBy={target}
"""


def unit_text(
    description: str,
    directory: str,
    command: Sequence[str],
    *,
    system: bool = False,
    user: Optional[str] = None,
    writable: Sequence[str] = (),
) -> str:
    """Return a unit file.

    Args:
        description: of the service.
        directory: the working directory, absolute; ``%h`` in front stands for the home.
        command: the program, by an absolute path, and its arguments.
        system: for the manager of the system, not of a user.
        user: whom the service of a system runs as; root if None.
        writable: folders beside the working directory that it writes in, absolute; those of
            a user's own service are not restricted.

    Raises:
        ValueError: something cannot stand in a unit file.
    """
    for one in (description, directory, *command, *writable, user or ""):
        if not one.isprintable():
            raise ValueError(f"a unit file cannot hold {one!r}")
    place = _escaped(directory)
    if any(char in _UNSAFE for char in command[0]):
        command = [_ENV, *command]
    hardening = _HARDENING
    if system:
        hardening += _SYSTEM_HARDENING.format(writable=_writable([directory, *writable]))
    return _UNIT.format(
        description=description.replace("%", "%%"),
        # the manager of a user knows nothing of the network
        network="Wants=network-online.target\nAfter=network-online.target\n" if system else "",
        directory=place,
        command=" ".join([_quoted(command[0]), *(_argument(one) for one in command[1:])]),
        user=f"User={_escaped(user)}\n" if user else "",
        hardening=hardening,
        target="multi-user.target" if system else "default.target",
    )


def _writable(folders: Sequence[str]) -> str:
    """Return the lines that let a service write in some folders, of all."""
    first, *others = dict.fromkeys(folders)
    words = [_quoted(first)]
    lines: Dict[str, List[str]] = {}
    for folder in others:
        root = next((one for one in _MADE if folder.startswith(f"{one}/")), None)
        if root is not None:
            lines.setdefault(_MADE[root], []).append(_quoted(folder[len(root) + 1 :]))
        else:
            words.append(_quoted(f"-{folder}"))  # one that is not there yet is no error
    text = [f"ReadWritePaths={' '.join(words)}"]
    text += [f"{setting}={' '.join(names)}" for setting, names in lines.items()]
    if "RuntimeDirectory" in lines:
        text.append("RuntimeDirectoryPreserve=yes")
    if not any(f"{one}/".startswith(f"{place}/") for one in folders for place in _TEMPORARY):
        text.append("PrivateTmp=yes")
    return "\n".join(text)


def _escaped(text: str) -> str:
    """Return a text in which systemd replaces nothing but a ``%h`` in front."""
    home = text.startswith("%h/") or text == "%h"
    return "%h" + text[2:].replace("%", "%%") if home else text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return a path as one word of a list; see "Quoting" in ``systemd.syntax(7)``."""
    text = _escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(char in text for char in " '\"\\;#") else text


def _argument(text: str) -> str:
    """Return a word of a command line, where ``$`` would begin a variable (not in the first)."""
    return _quoted(text).replace("$", "$$")
