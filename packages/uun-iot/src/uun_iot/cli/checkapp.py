"""Whether a configuration fits the modules of an application."""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
from typing import Any, Dict, List, Tuple

from .application import arguments_of, load
from .errors import Failed

__all__ = ["application_problems"]


def application_problems(
    config: Dict[str, Any], reference: str, events: bool
) -> Tuple[List[str], List[str]]:
    """Make the modules, without their storages; return problems, and what the gateway warns of.

    Args:
        config: a valid configuration.
        reference: ``package.module:function``.
        events: the function is an ``event_init``.
    """
    from uun_iot import Gateway
    from uun_iot.exceptions import ConfigError, ModuleError

    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # what the gateway warns of, of timers without handlers say, is what is asked for here
    listener = _Listener()
    logging.getLogger("uun_iot.core.events.tick").addHandler(listener)
    init = load(reference)
    bare = copy.deepcopy(config)
    # a gateway that runs has them open, and this must change nothing
    bare.get("gateway", {}).pop("moduleBackupStorage", None)
    with tempfile.TemporaryDirectory(prefix="uun-iot-check-") as directory:
        path = os.path.join(directory, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(bare, file)
        try:
            gateway = Gateway(path, **arguments_of(init, events))
        except (ConfigError, ModuleError) as exc:
            return f"; {exc}".split(f"; {path}: ")[1:] or [str(exc)], []
        except Failed:
            raise
        except (Exception, SystemExit) as exc:
            logging.getLogger("uun_iot.cli").error("%s failed", reference, exc_info=exc)
            return [f"{reference} failed: {type(exc).__name__}: {exc}"], []
        whole = config.get("gateway", {})
        found = gateway._misfits(whole)
        idle = gateway._modules.idle_storages(whole)  # of which its own start warns, too
        gateway._modules.tell("_gateway_stopped")
        return found, listener.said + idle


class _Listener(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
