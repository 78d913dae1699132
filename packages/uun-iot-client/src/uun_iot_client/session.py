"""A command bound to a client, for sending much data with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

if TYPE_CHECKING:
    from .client import UuAppClient
    from .exchange import Result
    from .retry import RetryPolicy

__all__ = ["UuCmdSession"]


class _OfSession(int):
    """The documented default of a call's level, told apart from the same number given."""


_OF_SESSION = _OfSession(30)


class UuCmdSession:
    """Sends data with one command, over the connections that its client keeps open.

    Args:
        uuclient: the client.
        uucmd: path of the command, for example ``gateway/getWeather``.
        log_level: logging level for errors of all calls that give none themselves.
        retry: when its calls are repeated; the client's policy if None.
        deadline: seconds that each call may take; those of the client if None.
        idempotent: whether the server may do its POST twice, see `UuAppClient.post`.
    """

    def __init__(
        self,
        uuclient: UuAppClient,
        uucmd: str,
        log_level: int = 30,
        *,
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
        idempotent: bool = False,
    ) -> None:
        # two underscores: applications derive from it with attributes of their own
        self.__client = uuclient
        self._uucmd = uucmd
        self.__log_level = log_level
        # only what was given: older applications override `get` and `post` without the others
        given = {"retry": retry, "deadline": deadline}
        self.__further: Dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        self.__idempotent = idempotent

    def __repr__(self) -> str:
        return f"UuCmdSession({self._uucmd!r})"

    def __level(self, log_level: int) -> int:
        return self.__log_level if log_level is _OF_SESSION else log_level

    def update_headers(self) -> None:
        """Make sure that there is a valid token for the calls to come.

        Each call does so itself; this does it ahead of them.

        Raises:
            TokenError: no valid token could be obtained.
        """
        self.__client.get_auth_headers()

    def get(self, data: Optional[Dict[str, Any]] = None, log_level: int = _OF_SESSION) -> Result:
        """Send an authenticated GET request.

        Args:
            data: data to send.
            log_level: logging level for errors; that of the session if not given.

        Returns:
            ``(response, exc)``, see `UuAppClient.get`.
        """
        return self.__client.get(self._uucmd, data, self.__level(log_level), **self.__further)

    def post(self, data: Optional[Dict[str, Any]] = None, log_level: int = _OF_SESSION) -> Result:
        """Send an authenticated POST request.

        Args:
            data: data to send.
            log_level: logging level for errors; that of the session if not given.

        Returns:
            ``(response, exc)``, see `UuAppClient.post`.
        """
        further = {**self.__further, "idempotent": True} if self.__idempotent else self.__further
        return self.__client.post(self._uucmd, data, self.__level(log_level), **further)
