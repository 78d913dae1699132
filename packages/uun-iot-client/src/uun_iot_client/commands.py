"""Commands that return what the uuApp says, or raise: beside the documented calls."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any, Dict, Iterator, Optional

from .body import Body, JsonBody
from .exchange import Result
from .paging import pages
from .reply import Checker, Reply
from .retry import RetryPolicy

__all__ = ["Commands"]


class Commands(ABC):
    """The part of `UuAppClient` that the documented API does not have.

    The documented calls return a pair, for gateways that go on whatever happens. Scripts would
    rather have the reply, or an exception.
    """

    @abstractmethod
    def _call(
        self,
        method: str,
        uucmd: str,
        body: Body,
        log_level: int,
        check: Checker,
        retry: Optional[RetryPolicy],
        deadline: Optional[float],
        idempotent: bool = False,
    ) -> Result:
        """Send a command; return its reply, if there is one, and what went wrong."""

    def command(
        self,
        uucmd: str,
        dto_in: Optional[Dict[str, Any]] = None,
        *,
        method: str = "POST",
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
        idempotent: bool = False,
    ) -> Dict[str, Any]:
        """Send a command and return its reply, or raise what went wrong.

        >>> client.command("weather/get", {"id": "1"}, method="GET")  # doctest: +SKIP
        {'temperature': 21.5, 'uuAppErrorMap': {}}

        Args:
            uucmd: path of the command.
            dto_in: data to send.
            method: ``POST`` or ``GET``, as the uuApp has it.
            retry: see `post`.
            deadline: see `post`.
            idempotent: see `post`.

        Returns:
            The parsed JSON object, its ``uuAppErrorMap`` (of warnings, if any) included; an
            empty one for a reply without content.

        Raises:
            UuAppClientException: there is no reply, or it says an error; see `errors`.
            ValueError: ``method`` is none of the two.
        """
        if method not in ("GET", "POST"):
            raise ValueError(f"method must be GET or POST, got {method!r}")
        body, check = JsonBody(dto_in), Reply.check_post
        level = logging.DEBUG  # it is raised, so its caller knows
        response, exc = self._call(method, uucmd, body, level, check, retry, deadline, idempotent)
        if exc is not None:
            raise exc
        assert response is not None  # there is one of the two
        content: Dict[str, Any] = response.json() if response.content else {}
        return content

    def pages(
        self,
        uucmd: str,
        dto_in: Optional[Dict[str, Any]] = None,
        *,
        page_size: int = 100,
        method: str = "GET",
        retry: Optional[RetryPolicy] = None,
        deadline: Optional[float] = None,
    ) -> Iterator[Any]:
        """Iterate over the items of a list, whose pages are asked for when they are needed.

        >>> for item in client.pages("weather/list"):  # doctest: +SKIP
        ...     print(item["temperature"])

        Args:
            uucmd: path of the command; its reply has the items of a page in ``itemList`` or
                ``pageItemList``.
            dto_in: data to send. A ``pageInfo`` in it says where to begin, and the size of
                pages.
            page_size: items to ask for at a time.
            method: ``GET`` or ``POST``.
            retry: see `get`; of each page.
            deadline: see `get`; of each page.

        Raises:
            UuAppClientException: see `command`; a `ProtocolError` if a reply has no list.
            ValueError: ``page_size`` is no whole number over 0.
        """

        def ask(page_dto_in: Dict[str, Any]) -> Dict[str, Any]:
            return self.command(
                uucmd, page_dto_in, method=method, retry=retry, deadline=deadline, idempotent=True
            )

        return pages(ask, uucmd, dto_in or {}, page_size)
