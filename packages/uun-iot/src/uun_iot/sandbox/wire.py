"""HTTP/1.1 on a stream: reading requests, writing replies."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, Callable, Dict, List, Mapping, Tuple
from urllib.parse import unquote, urlsplit

from .messages import BadRequest, Reply

__all__ = ["Head", "encode_reply", "read_body", "read_head"]

_MAX_LINE = 65536
_MAX_HEADERS = 200


@dataclass(frozen=True)
class Head:
    """A request without its body; its fields are those of `HttpRequest`."""

    method: str
    path: str
    query: str
    version: str
    headers: Mapping[str, str]

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to go on using the connection."""
        wish = self.headers.get("connection", "").lower()
        return "close" not in wish if self.version == "HTTP/1.1" else "keep-alive" in wish


def _read_line(file: BinaryIO) -> bytes:
    line = file.readline(_MAX_LINE + 1)
    if len(line) > _MAX_LINE:
        raise BadRequest("a line of the request is too long")
    if not line.endswith(b"\n"):
        raise ConnectionError("the request ended within a line")
    return line.rstrip(b"\r\n")


def read_head(file: BinaryIO) -> Head:
    """Read a request up to its body.

    Raises:
        EOFError: the connection ended before a request began.
        ConnectionError: it ended within one.
        BadRequest: what came is no HTTP/1.x request.
    """
    line = b""
    while not line:  # an empty line before a request is allowed
        if not file.peek(1):  # type: ignore[attr-defined]  # a BufferedReader, which makefile's type hides
            raise EOFError
        line = _read_line(file)
    try:
        method, target, version = line.decode("ascii").split(" ")
        url = urlsplit(target)
    except ValueError:
        raise BadRequest("the first line is no HTTP request") from None
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest("only HTTP/1.0 and HTTP/1.1 are spoken here")
    headers: Dict[str, str] = {}
    while True:
        line = _read_line(file)
        if not line:
            break
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(headers) >= _MAX_HEADERS:
            raise BadRequest("the headers are damaged, or too many")
        name = name.strip().lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(method, unquote(url.path), url.query, version, headers)


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:  # piece by piece: what a header announces need not be true
        piece = file.read(min(size - len(data), 1024 * 1024))
        if not piece:
            raise ConnectionError("the request ended within its body")
        data += piece
    return bytes(data)


def read_body(file: BinaryIO, head: Head, send: Callable[[bytes], object]) -> bytes:
    """Read the body that belongs to a head.

    Args:
        file: where the head was read.
        head: the head.
        send: sends bytes to the client, which may wait for a ``100 Continue``.

    Raises:
        ConnectionError: the connection ended within the body.
        BadRequest: the body's length cannot be told.
    """
    if head.headers.get("expect", "").lower() == "100-continue":
        send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        return _read_chunks(file)
    length = head.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest("Content-Length is not a number")
    if len(length) > 15:  # a petabyte
        raise BadRequest("Content-Length is too large")
    return _read_exactly(file, int(length))


def _read_chunks(file: BinaryIO) -> bytes:
    body = bytearray()
    while True:
        try:
            size = int(_read_line(file).partition(b";")[0], 16)
        except ValueError:
            raise BadRequest("the length of a chunk is not a number") from None
        if size < 0:
            raise BadRequest("the length of a chunk is negative")
        if size == 0:
            while _read_line(file):
                pass  # trailers mean nothing here
            return bytes(body)
        body += _read_exactly(file, size)
        _read_line(file)


def encode_reply(
    reply: Reply,
    more: List[Tuple[str, str]],
    *,
    now: float,
    keep_alive: bool,
    version: str = "HTTP/1.1",
) -> Tuple[bytes, bytes]:
    """Return head and body of a reply as they go out.

    Args:
        reply: the reply.
        more: headers of the server; the reply's own of the same name replace them.
        now: wall-clock seconds since 1970, for ``Date``.
        keep_alive: whether the connection goes on; said to the client.
        version: of HTTP.
    """
    own = {name.lower() for name in reply.headers}
    headers = [
        ("Date", email.utils.formatdate(now, usegmt=True)),
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(reply.body))),
        *more,
    ]
    if not keep_alive:
        headers.append(("Connection", "close"))
    headers = [pair for pair in headers if pair[0].lower() not in own]
    headers += reply.headers.items()
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"{version} {reply.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1"), reply.body
