"""The client's part of the configuration, read with errors that name the key."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from uun_iot_core.exceptions import ConfigError, json_type

from .errors import TokenError

__all__ = ["Settings"]

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
        if not isinstance(self._config, Mapping):
            raise TokenError(
                f"the configuration must be a dictionary, got {type(self._config).__name__}"
            )
        values = self._config.get(section)
        if values is None:
            return None
        if not isinstance(values, Mapping):
            raise TokenError(
                f"configuration key `{section}` must be an object with the key `{section}.{key}`,"
                f" got {type(values).__name__}"
            )
        value = values.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise TokenError(
                f"configuration key `{section}.{key}` must be a string, got {type(value).__name__}"
            )
        return value

    def _required(self, section: str, key: str) -> str:
        value = self._optional(section, key)
        if value is None:
            raise TokenError(
                f"configuration key `{section}.{key}` is missing or empty:"
                " calls to the uuApp need it"
            )
        return value

    def _base_url(self, section: str) -> str:
        host = self._required(section, "gateway")
        if not _HOST.fullmatch(host):
            raise TokenError(
                f"configuration key `{section}.gateway` must be a host, or host:port, without"
                " scheme, user name and path; only HTTPS is spoken"
            )
        parts = [host]
        for key in ("uuAppName", "awid"):
            parts.append(self._url_part(section, key))
        return "https://" + "/".join(parts)

    def _url_part(self, section: str, key: str) -> str:
        value = self._required(section, key).strip("/")
        if not _URL_PART.fullmatch(value):
            raise TokenError(
                f"configuration key `{section}.{key}` cannot be a part of a URL:"
                " it is empty, or holds white space, `?`, `#` or a backslash"
            )
        return value

    def command_url(self, uucmd: str) -> str:
        """Return the URL of a command.

        Args:
            uucmd: its relative path, for example ``gateway/heartbeat``.

        Raises:
            TokenError: the configuration lacks a key, or ``uucmd`` is no path.
        """
        if not isinstance(uucmd, str) or not uucmd.strip("/ "):
            got = "an empty string" if isinstance(uucmd, str) else type(uucmd).__name__
            raise TokenError(
                f"uuCmd must be a path such as gateway/heartbeat, got {got};"
                " see `uuApp.uuCmdList` in the configuration"
            )
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
            "accessCode1": self._required("uuThing", "accessCode1"),
            "accessCode2": self._required("uuThing", "accessCode2"),
            "scope": f"openid {self._base_url('uuApp')}",
        }
        for name, key in (("client_id", "clientId"), ("client_secret", "clientSecret")):
            value = self._optional("oidcGrantToken", key)
            if value is not None:
                body[name] = value
        return body

    def binding(self) -> str:
        """Return a hash of what a token is good for: issuer, scope and access codes.

        Raises:
            TokenError: the configuration lacks a key.
        """
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
        for key, value in found.items():
            if key not in _NETWORK:
                raise ConfigError(f"uuApp.network.{key}: unknown; there are {', '.join(_NETWORK)}")
            whole, least = _NETWORK[key]
            numeric = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, numeric):
                kind = "a whole number" if whole else "seconds"
                raise ConfigError(f"uuApp.network.{key}: expected {kind}, got {json_type(value)}")
            if not least <= value < math.inf:
                raise ConfigError(f"uuApp.network.{key}: must be {least} or more, got {value}")
        return dict(found)

    def secrets(self) -> List[str]:
        """Return the secret values, as far as there are any."""
        found = []
        for section, key in (
            ("uuThing", "accessCode1"),
            ("uuThing", "accessCode2"),
            ("oidcGrantToken", "clientSecret"),
        ):
            values = self._config.get(section) if isinstance(self._config, Mapping) else None
            value = values.get(key) if isinstance(values, Mapping) else None
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                found.append(str(value))
        return found
