"""Requests and replies of the sandbox as plain data, and the error maps of uuApps."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional
from urllib.parse import parse_qsl

from .multipart import parse_multipart

__all__ = ["BadRequest", "HttpRequest", "Reply", "error_map"]


class BadRequest(ValueError):
    """A request that cannot be understood; the message says what about it."""


@dataclass(frozen=True)
class HttpRequest:
    """A whole request.

    Args:
        method: ``GET``, ``POST``, …
        path: decoded, without the query.
        query: the part after ``?``, undecoded.
        headers: by name in lower case.
        body: as it came.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def dto_in(self) -> Dict[str, Any]:
        """Return the input object: the JSON body, multipart fields, or the query string.

        Raises:
            BadRequest: the body is neither.
        """
        content_type = self.headers.get("content-type", "")
        if content_type.lower().startswith("multipart/"):
            try:
                return parse_multipart(self.body, content_type)
            except ValueError as exc:
                raise BadRequest(str(exc)) from None
        if not self.body.strip():
            return dict(parse_qsl(self.query, keep_blank_values=True))
        try:
            dto_in = json.loads(self.body)
        except (ValueError, RecursionError):
            raise BadRequest("the body is not JSON") from None
        if not isinstance(dto_in, dict):
            raise BadRequest(f"the body must be a JSON object, got {type(dto_in).__name__}")
        return dto_in


@dataclass(frozen=True)
class Reply:
    """A whole reply.

    Args:
        status: the HTTP status.
        body: the bytes after the headers.
        content_type: the ``Content-Type``.
        headers: more headers; they go before those of the server.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, data: Any, status: int = 200, **headers: str) -> Reply:
        """Return a reply with a JSON body."""
        return cls(status, json.dumps(data).encode("utf-8"), headers=headers)

    @classmethod
    def html(cls, text: str, status: int = 200) -> Reply:
        """Return a web page, as proxies and unknown routes answer."""
        return cls(status, text.encode("utf-8"), "text/html; charset=UTF-8")


def error_map(
    code: str,
    message: str,
    *,
    kind: str = "error",
    param_map: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Return an object with one entry in its ``uuAppErrorMap``.

    Args:
        code: the error code, as a server writes it.
        message: the sentence for people.
        kind: ``error`` or ``warning``.
        param_map: details on the input's keys.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    entry = {
        "id": secrets.token_hex(8),
        "timestamp": now.replace("+00:00", "Z"),
        "type": kind,
        "message": message,
        "paramMap": param_map or {},
    }
    return {"uuAppErrorMap": {code: entry}}
