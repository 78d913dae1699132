"""Multipart form data, taken apart into fields."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from typing import Any, Dict, Optional, Tuple

__all__ = ["UploadedFile", "parse_multipart"]

#: files up to this many bytes are kept whole in the records
_KEPT = 1024 * 1024


@dataclass(frozen=True)
class UploadedFile:
    """A file within a form.

    Args:
        filename: as the sender named it; None for a binary field without a name.
        content_type: as the sender declared it.
        size: bytes.
        sha256: of the content, in hexadecimal digits.
        content: the bytes; None for files over 1 MiB, of which only the digest is kept.
    """

    filename: Optional[str]
    content_type: str
    size: int
    sha256: str
    content: Optional[bytes] = field(default=None, repr=False)

    def as_json(self) -> Dict[str, Any]:
        """Return what a reply says of the file."""
        return {
            "filename": self.filename,
            "contentType": self.content_type,
            "size": self.size,
            "sha256": self.sha256,
        }


def parse_multipart(body: bytes, content_type: str) -> Dict[str, Any]:
    """Return the fields of a form by name: text as `str`, files as `UploadedFile`.

    Args:
        body: the whole body.
        content_type: the header with the boundary.

    Raises:
        ValueError: the body is no complete form.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ValueError("the Content-Type of the form names no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the form has no end; part of it is missing")
    fields: Dict[str, Any] = {}
    for piece in pieces[1:-1]:
        name, value = _parse_part(piece)
        fields[name] = value
    return fields


def _parse_part(piece: bytes) -> Tuple[str, Any]:
    head, separator, content = piece.partition(b"\r\n\r\n")
    # the rest of the delimiter's line stands before the headers
    headers = HeaderParser().parsestr(head.partition(b"\r\n")[2].decode("utf-8", "replace"))
    name = headers.get_param("name", header="content-disposition")
    if not separator or not isinstance(name, str):
        raise ValueError("a part of the form has no name")
    filename = headers.get_filename()
    if filename is None and headers.get("content-type", "text/plain").startswith("text/"):
        try:
            return name, content.decode("utf-8")
        except UnicodeDecodeError:
            pass  # binary without a declaration: recorded as a file
    file = UploadedFile(
        filename,
        headers.get("content-type", "application/octet-stream"),
        len(content),
        hashlib.sha256(content).hexdigest(),
        content if len(content) <= _KEPT else None,
    )
    return name, file
