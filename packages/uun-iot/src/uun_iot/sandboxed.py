"""The configuration of a gateway, turned to a sandbox, with all files in a folder of its own."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["moved", "sandboxed"]


def moved(config: Dict[str, Any], directory: str) -> Dict[str, Any]:
    """Return a configuration whose backup files, token and socket are below a directory.

    So what is tried out never touches what the gateway has stored.

    Args:
        config: the configuration; it is not changed.
        directory: where the files go; absolute paths go there, too, by their last part.
    """
    config = copy.deepcopy(config)
    gateway = config.get("gateway")
    gateway = gateway if isinstance(gateway, dict) else {}
    storages = gateway.get("moduleBackupStorage")
    storages = storages if isinstance(storages, dict) else {}
    for module_id, value in storages.items():
        if isinstance(value, dict):
            value["path"] = _below(directory, value.get("path"))
        else:
            storages[module_id] = _below(directory, value)
    for section, key in (
        (config.get("oidcGrantToken"), "tokenPath"),
        (gateway.get("socket"), "path"),
    ):
        if isinstance(section, dict) and key in section:
            section[key] = _below(directory, section[key])
    return config


def _below(directory: str, path: Any) -> Any:
    """Return a path below a directory; what is no path is left for the validation."""
    if not isinstance(path, str) or not path or "\0" in path:
        return path
    path = os.path.normpath(path)
    if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
        if os.path.commonpath([os.path.abspath(directory), os.path.abspath(path)]) == (
            os.path.abspath(directory)
        ):
            return path
        path = os.path.basename(path)
    return os.path.join(directory, path)


def sandboxed(config: Dict[str, Any], sandbox: Sandbox, directory: str) -> Dict[str, Any]:
    """Return a configuration that talks to a sandbox instead of its own uuApp.

    The commands of ``uuCmdList`` stay, those of the library are added.

    Args:
        config: the configuration; it is not changed.
        sandbox: started already.
        directory: where the files go, see `moved`.
    """
    config = moved(config, directory)
    app = config.get("uuApp")
    commands = app.get("uuCmdList") if isinstance(app, dict) else None
    own = {
        name: command
        for name, command in (commands.items() if isinstance(commands, dict) else ())
        if command is not None
    }
    turned = sandbox.configuration(
        token_path=os.path.join(directory, "oidc-token"),
        gateway=config.get("gateway", {}),
        commands=own,
    )
    return {**config, **turned}
