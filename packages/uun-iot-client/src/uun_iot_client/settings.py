"""The client's part of the configuration, read with errors that name the key."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from uun_iot_core.exceptions import ConfigError, json_type

from .errors import TokenError
from .redact import Secret

__all__ = ["Settings", "configuration_problems", "is_configured"]

_SECTIONS = ("uuApp", "uuThing", "oidcGrantToken")
# A host with perhaps a port: a scheme, a path or user info would silently go elsewhere.
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s/?#@\\:\[\]]+)(:\d{1,5})?")
_OF_URL = ("gateway", "uuAppName", "awid")
_URLS = 64  # made ones that are kept: an application has some dozens of commands
_NETWORK = {  # key of uuApp.network: whether it is a whole number, and its least value
    "connectTimeout": (False, 0.001),
    "readTimeout": (False, 0.001),
    "deadline": (False, 0.001),
    "attempts": (True, 1),
    "breakerFailures": (True, 0),
}
_URL_PART = re.compile(r"[^\s?#\\]+")

#: returns what is wrong with a value, None if nothing is
_Check = Callable[[str], Optional[str]]


def _host_problem(value: str) -> Optional[str]:
    if _HOST.fullmatch(value):
        return None
    return "must be a host, or host:port, without scheme, user name and path; only HTTPS is spoken"


def _part_problem(value: str) -> Optional[str]:
    if _URL_PART.fullmatch(value.strip("/")):
        return None
    return "cannot be a part of a URL: it is empty, or holds white space, `?`, `#` or a backslash"


def _command_problem(value: Any) -> Optional[str]:
    if isinstance(value, str) and value.strip("/ "):
        return None
    got = "an empty string" if isinstance(value, str) else type(value).__name__
    return f"must be a path such as gateway/heartbeat, got {got}"


def _network_problems(network: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    for key, value in network.items():
        if key not in _NETWORK:
            yield key, f"unknown; there are {', '.join(_NETWORK)}"
            continue
        whole, least = _NETWORK[key]
        if isinstance(value, bool) or not isinstance(value, (int,) if whole else (int, float)):
            kind = "a whole number" if whole else "seconds"
            yield key, f"expected {kind}, got {json_type(value)}"
        elif not least <= value < math.inf:
            yield key, f"must be {least} or more, got {value}"


#: what calls need, by section and key, and how it is looked at
_KEYS: Dict[str, Dict[str, _Check]] = {
    "uuApp": {
        "gateway": _host_problem,
        "uuAppName": _part_problem,
        "awid": _part_problem,
    },
    "uuThing": {
        "accessCode1": lambda value: None,
        "accessCode2": lambda value: None,
    },
    "oidcGrantToken": {
        "gateway": _host_problem,
        "uuAppName": _part_problem,
        "awid": _part_problem,
        "uuCmd": _part_problem,
    },
}


def is_configured(config: Any) -> bool:
    """Return whether a configuration tells of a uuApp; names of commands alone do not.

    Args:
        config: the parsed content of a configuration file.
    """
    if not isinstance(config, Mapping):
        return False
    sections = [config.get(name) for name in _SECTIONS]
    return any(
        value not in (None, "", {})
        for section in sections
        if isinstance(section, Mapping)
        for key, value in section.items()
        if key not in ("uuCmdList", "network", "tokenPath", "uuCmd")
    )


def configuration_problems(config: Any) -> List[str]:
    """Return why calls to the configured uuApp cannot work, as ``JSON path: problem`` lines.

    It says what is not said already by core's `problems`, which looks at types. No value
    appears in it.

    Args:
        config: the parsed content of a configuration file.
    """
    if not isinstance(config, Mapping):
        return []
    found = []
    if is_configured(config):
        for name, keys in _KEYS.items():
            section = config.get(name)
            if not isinstance(section, (Mapping, type(None))):
                continue
            for key, check in keys.items():
                value = (section or {}).get(key)
                if value is None or value == "":
                    found.append(f"{name}.{key}: missing or empty; calls to the uuApp need it")
                elif isinstance(value, str):
                    problem = check(value)
                    found += [f"{name}.{key}: {problem}"] if problem else []
    app = config.get("uuApp")
    if isinstance(app, Mapping):
        commands, network = app.get("uuCmdList"), app.get("network")
        for key, value in commands.items() if isinstance(commands, Mapping) else ():
            problem = None if value is None else _command_problem(value)
            found += [f"uuApp.uuCmdList.{key}: {problem}"] if problem else []
        if isinstance(network, Mapping):
            found += [f"uuApp.network.{key}: {said}" for key, said in _network_problems(network)]
        elif network is not None:
            found.append(f"uuApp.network: expected an object, got {json_type(network)}")
    return found


class Settings:
    """Reads ``uuApp``, ``uuThing`` and ``oidcGrantToken``, each time anew.

    A value never appears in an error: only its key.

    Relative paths start from the directory that is current when this is made.

    Args:
        config: the whole configuration.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._urls: Dict[Tuple[Any, ...], str] = {}
        try:
            self._directory = os.getcwd()
        except OSError:  # it was deleted: relative paths lead nowhere until another is entered
            self._directory = ""

    def __repr__(self) -> str:
        return "Settings()"

    def missing_section(self) -> Optional[str]:
        """Return the first of the three keys that is absent or empty, None if all are there."""
        if not isinstance(self._config, Mapping):
            return _SECTIONS[0]
        for name in _SECTIONS:
            value = self._config.get(name)
            if value is None or value == {}:
                return name
        return None

    def _optional(self, section: str, key: str) -> Optional[str]:
        """Return a string, or None where it is absent, null or empty."""
        value, problem = self._found(section, key)
        if problem:
            raise TokenError(problem)  # here, where no local variable shows other values
        return value

    def _found(self, section: str, key: str) -> Tuple[Optional[str], str]:
        """Return a string, or None; and what is wrong with it, if anything is."""
        if not isinstance(self._config, Mapping):
            return None, f"the configuration must be a dictionary, got {_type(self._config)}"
        values = self._config.get(section)
        if values is None:
            return None, ""
        if not isinstance(values, Mapping):
            return None, (
                f"configuration key `{section}` must be an object with the key `{section}.{key}`,"
                f" got {_type(values)}"
            )
        value = values.get(key)
        if value is None or value == "":
            return None, ""
        if not isinstance(value, str):
            return None, (
                f"configuration key `{section}.{key}` must be a string, got {_type(value)}"
            )
        return value, ""

    def _required(self, section: str, key: str) -> str:
        value = self._optional(section, key)
        if value is None:
            raise TokenError(
                f"configuration key `{section}.{key}` is missing or empty:"
                " calls to the uuApp need it"
            )
        return value

    def _base_url(self, section: str) -> str:
        parts = [self._checked(section, "gateway", _host_problem)]
        for key in ("uuAppName", "awid"):
            parts.append(self._url_part(section, key))
        return "https://" + "/".join(parts)

    def _url_part(self, section: str, key: str) -> str:
        return self._checked(section, key, _part_problem).strip("/")

    def _checked(self, section: str, key: str, check: _Check) -> str:
        value = self._required(section, key)
        problem = check(value)
        if problem is not None:
            raise TokenError(f"configuration key `{section}.{key}` {problem}")
        return value

    def command_url(self, uucmd: str) -> str:
        """Return the URL of a command.

        Args:
            uucmd: its relative path, for example ``gateway/heartbeat``.

        Raises:
            TokenError: the configuration lacks a key, or ``uucmd`` is no path.
        """
        problem = _command_problem(uucmd)
        if problem is not None:
            raise TokenError(f"uuCmd {problem}; see `uuApp.uuCmdList` in the configuration")
        key = (uucmd, *self._of_app())
        url = self._urls.get(key)
        if url is None:
            url = f"{self._base_url('uuApp')}/{uucmd.lstrip('/')}"
            if len(self._urls) >= _URLS:
                self._urls = {}
            self._urls[key] = url
        return url

    def _of_app(self) -> Tuple[Optional[str], ...]:
        """Return what a URL is made of, None for what is no string."""
        app = self._config.get("uuApp") if isinstance(self._config, Mapping) else None
        found = [app.get(key) if isinstance(app, Mapping) else None for key in _OF_URL]
        return tuple(value if isinstance(value, str) else None for value in found)

    def grant_url(self) -> str:
        """Return the URL of the token service's grant command.

        Raises:
            TokenError: the configuration lacks a key.
        """
        return f"{self._base_url('oidcGrantToken')}/{self._url_part('oidcGrantToken', 'uuCmd')}"

    def grant_body(self) -> Dict[str, Any]:
        """Return the body of a grant. It holds secrets.

        Raises:
            TokenError: the configuration lacks a key.
        """
        body: Dict[str, Any] = {
            "grant_type": "password",
            "username": None,
            "password": None,
            "accessCode1": Secret(self._required("uuThing", "accessCode1")),
            "accessCode2": Secret(self._required("uuThing", "accessCode2")),
            "scope": f"openid {self._base_url('uuApp')}",
        }
        for name, key in (("client_id", "clientId"), ("client_secret", "clientSecret")):
            value = self._optional("oidcGrantToken", key)
            if value is not None:
                body[name] = Secret(value) if key == "clientSecret" else value
        return body

    def binding(self) -> str:
        """Return a hash of what a token is good for: issuer, scope and access codes.

        Raises:
            TokenError: the configuration lacks a key.
        """
        import hashlib  # OpenSSL: megabytes that a gateway without a uuApp need not have

        body = self.grant_body()
        bound = [self.grant_url(), body["scope"], body["accessCode1"], body["accessCode2"]]
        return hashlib.sha256(json.dumps(bound).encode("utf-8")).hexdigest()

    def token_path(self) -> Optional[str]:
        """Return where the token is saved, None if it is kept in memory only.

        Raises:
            TokenError: the key is not a string.
        """
        path = self._optional("oidcGrantToken", "tokenPath")
        return None if path is None else os.path.join(self._directory, path)

    def network(self) -> Dict[str, Any]:
        """Return the numbers in ``uuApp.network``, as far as there are any.

        Raises:
            ConfigError: one cannot be used, or nobody knows it.
        """
        section = self._config.get("uuApp") if isinstance(self._config, Mapping) else None
        found = section.get("network") if isinstance(section, Mapping) else None
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise ConfigError(f"uuApp.network: expected an object, got {json_type(found)}")
        for key, problem in _network_problems(found):
            raise ConfigError(f"uuApp.network.{key}: {problem}")
        return dict(found)

    def secrets(self) -> List[str]:
        """Return the secret values, as far as there are any."""
        found: List[str] = []
        for section, key in (
            ("uuThing", "accessCode1"),
            ("uuThing", "accessCode2"),
            ("oidcGrantToken", "clientSecret"),
        ):
            values = self._config.get(section) if isinstance(self._config, Mapping) else None
            value = values.get(key) if isinstance(values, Mapping) else None
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                found.append(Secret(value))
        return found


def _type(value: object) -> str:
    return type(value).__name__
