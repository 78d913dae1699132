"""Whether the token service and the uuApp answer as a gateway needs it."""

from __future__ import annotations

import logging
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .text import one_line, say

__all__ = ["ask"]

_OWN = ("gatewayHeartbeat", "gatewayGetConfiguration")


def ask(config: Dict[str, Any], path: str) -> List[str]:
    """Ask for a token, call each command, and print how that went; return what is wrong.

    Args:
        config: a valid configuration.
        path: its file.
    """
    from uun_iot import UuAppClient
    from uun_iot_client.settings import is_configured

    logging.basicConfig(level=logging.CRITICAL)  # all is said below
    if not is_configured(config):
        return _said(path, "uuApp", None, "no uuApp is configured: there is nobody to ask")
    client = UuAppClient(config, refresh_token_on_init=False)
    found: List[str] = []
    try:
        try:
            client.get_auth_headers()
        except Exception as exc:  # whatever it is: nothing else can be asked
            return _said(path, "oidcGrantToken", None, str(exc))
        _said(path, "oidcGrantToken", "a token was obtained", None)
        for place, good, bad in _commands(client, config):
            found += _said(path, place, good, bad)
    finally:
        client.close()
    return found


def _said(path: str, place: str, good: Optional[str], bad: Optional[str]) -> List[str]:
    say(one_line(f"{path}: {place}: {bad or good}"))
    return [place] if bad else []


def _commands(
    client: Any, config: Dict[str, Any]
) -> Iterator[Tuple[str, Optional[str], Optional[str]]]:
    from uun_iot.modules.Heartbeat import Heartbeat

    commands = (config.get("uuApp") or {}).get("uuCmdList") or {}
    for name in [*(one for one in _OWN if one in commands), *_others(commands)]:
        command = commands[name]
        if not command:
            continue
        place = f"uuApp.uuCmdList.{name}"
        if name == "gatewayHeartbeat":
            figures: List[Dict[str, Any]] = []
            Heartbeat(figures.append).on_tick()
            _, error = client.post(command, figures[0], logging.DEBUG)
            yield place, "answered", _text(error)
        elif name == "gatewayGetConfiguration":
            response, error = client.get(command, log_level=logging.DEBUG)
            yield place, "answered", _text(error)
            if error is None:
                for problem in _of_reply(response, config):
                    yield place, None, problem
        else:
            _, error = client.get(command, log_level=logging.DEBUG)
            yield (place, *_of_other(error))


def _others(commands: Dict[str, Any]) -> List[str]:
    """Return the names of the application's own commands."""
    return [name for name in commands if name not in _OWN]


def _of_other(error: Optional[Exception]) -> Tuple[Optional[str], Optional[str]]:
    """Judge the answer to a call that was no more than an attempt."""
    if error is None:
        return "answered", None
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 400:
        return "answered, that the empty input is not valid: it is there", None
    if status == 200:
        return "answered with a web page: it is not there, or takes no GET", None
    return None, str(error)


def _of_reply(response: Any, config: Dict[str, Any]) -> List[str]:
    """Return what is wrong with the configuration that the uuApp would give."""
    from uun_iot_core import problems

    try:
        reply = response.json()
    except (ValueError, RecursionError):
        return ["did not answer with JSON"]
    if not isinstance(reply, dict):
        return ["did not answer with an object"]
    reply.pop("uuAppErrorMap", None)
    gateway = {**config.get("gateway", {}), **reply}
    return [
        f"its reply would be refused: {one}" for one in problems({**config, "gateway": gateway})
    ]


def _text(error: Optional[Exception]) -> Optional[str]:
    return None if error is None else str(error)
