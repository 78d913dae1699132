"""Replies of a uuApp: what they say, and whether that is a success."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from .errormap import ErrorEntry, parse_error_map
from .errors import command_error, protocol_error

if TYPE_CHECKING:
    import requests

    from .redact import Redactor

__all__ = ["Checker", "Reply"]

Checker = Callable[["Reply"], Optional["requests.RequestException"]]

_CODE_LENGTH = 120  # characters; a code is a path of a few words
_CODES_SHOWN = 5
_HTML_STARTS = (b"<!doctype html", b"<html")


class Reply:
    """A reply, read as a uuApp's.

    Nothing in it is trusted to have the right shape.

    Attributes:
        response: the reply.
        status: its HTTP status.

    Args:
        response: the reply, its body read or readable.
        redact: hides secrets that the server repeats.
    """

    def __init__(self, response: requests.Response, redact: Redactor) -> None:
        self.response = response
        self.status = response.status_code
        self._redact = redact
        self._parsed: Optional[Tuple[bool, Any]] = None
        self._entries: Optional[Tuple[ErrorEntry, ...]] = None

    def __repr__(self) -> str:
        return f"Reply({self.summary()})"

    def _header(self, name: str) -> str:
        headers = getattr(self.response, "headers", None) or {}
        value = headers.get(name)
        return value if isinstance(value, str) else ""

    def _clean(self, text: str) -> str:
        # hidden before it is cut: half a secret would not be recognised
        shown = self._redact(text.strip())[:_CODE_LENGTH]
        if shown.isprintable():
            return shown
        return "".join(char if char.isprintable() else "?" for char in shown)

    @property
    def request_id(self) -> Optional[str]:
        """Its ``X-Request-Id``, None if it has none."""
        request_id = self._header("X-Request-Id")
        return self._clean(request_id) if request_id else None

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        return self._clean(self._media_type()).lower()

    def _media_type(self) -> str:
        """Return the same as it came: to look at, not to show."""
        return self._header("Content-Type").partition(";")[0].strip().lower()

    @property
    def succeeded(self) -> bool:
        """Whether the HTTP status is a success."""
        return 200 <= self.status < 300

    def json(self) -> Tuple[bool, Any]:
        """Return whether the body is JSON, and what it holds."""
        if self._parsed is None:
            try:
                self._parsed = True, _parsed(self.response)
            except (ValueError, RecursionError):
                self._parsed = False, None
        return self._parsed

    def entries(self) -> Tuple[ErrorEntry, ...]:
        """Return the entries of ``uuAppErrorMap``, however malformed."""
        if self._entries is None:
            self._entries = parse_error_map(self.json()[1], self._clean)
        return self._entries

    def error_map(self) -> Dict[str, str]:
        """Return the error codes of ``uuAppErrorMap`` with their types."""
        return {entry.code: entry.type for entry in self.entries()}

    def warnings(self) -> Tuple[ErrorEntry, ...]:
        """Return the entries that say no failure; a body that was not parsed yet has none."""
        if self._parsed is None:
            return ()
        return tuple(entry for entry in self.entries() if not entry.is_error)

    def is_html(self) -> bool:
        """Return whether the body is a page for people, as a captive portal sends."""
        if "html" in self._media_type():
            return True
        return self.response.content[:64].lstrip().lower().startswith(_HTML_STARTS)

    def summary(self) -> str:
        """Return status, error codes and request id for messages and log lines."""
        try:
            text = f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            text = str(self.status)
        # not read for this only: it may be a big download
        read = self._parsed is not None or not self.succeeded
        codes = list(self.error_map()) if read else []
        if codes:
            text += ": " + ", ".join(codes[:_CODES_SHOWN])
            if len(codes) > _CODES_SHOWN:
                text += f" and {len(codes) - _CODES_SHOWN} more"
        request_id = self.request_id
        if request_id:
            text += f" (X-Request-Id {request_id})"
        return text

    def error(self) -> Optional[requests.RequestException]:
        """Return the error that the status or an entry of ``uuAppErrorMap`` says, if any."""
        if 300 <= self.status < 400:
            text = f"{self.summary()}: redirects are not followed; is there a login page between?"
        elif not self.succeeded:
            text = self.summary()
        elif "error" in self.error_map().values():
            text = f"error in spite of status {self.summary()}"
        else:
            return None
        return command_error(text, self.response, self.entries(), self.request_id)

    def _unexpected(self, what: str) -> requests.RequestException:
        text = (
            f"{what} came with status {self.summary()}:"
            " is the command right, or is there a login page between?"
        )
        return protocol_error(text, self.response, self.request_id)

    def check_post(self) -> Optional[requests.RequestException]:
        """Return what is wrong with a reply to POST: what it does not confirm was not taken in."""
        error = self.error()
        if error is not None or self.status == HTTPStatus.NO_CONTENT:
            return error
        is_json, body = self.json()
        if isinstance(body, dict):
            return None
        if is_json:
            return self._unexpected(f"JSON that is no object but {type(body).__name__}")
        if not self.response.content:
            return self._unexpected("an empty body")
        return self._unexpected(f"no JSON but {self.content_type or 'an unknown type'}")

    def check_get(self) -> Optional[requests.RequestException]:
        """Return what is wrong with a reply to GET, which may also be a binary download."""
        if not self.succeeded:
            return self.error()
        if self.status == HTTPStatus.NO_CONTENT:
            return None
        if self.is_html():
            return self._unexpected("a web page")
        declared = "json" in self._media_type()
        if declared and not self.json()[0]:
            return self._unexpected("JSON that cannot be parsed")
        if declared or self.response.content[:64].lstrip().startswith(b"{"):
            return self.error()
        return None

    def check_custom(self) -> Optional[requests.RequestException]:
        """Return what is wrong with a reply to a custom request: only what it says itself."""
        kind = self._media_type()
        if self.succeeded and kind and "json" not in kind:
            return None  # perhaps a stream, which its caller wants to read
        return self.error()


def _parsed(response: requests.Response) -> Any:
    encoding = response.encoding
    if encoding is None or encoding.lower() in ("utf-8", "utf8"):
        return json.loads(response.content)  # which finds out the rest faster
    return response.json()
