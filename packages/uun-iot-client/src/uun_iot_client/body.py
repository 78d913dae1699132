"""Bodies of requests: JSON, or multipart forms, made anew for each attempt."""

from __future__ import annotations

import io
import json
import os
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from .errors import dto_in_error

if TYPE_CHECKING:
    from requests_toolbelt.multipart.encoder import MultipartEncoder

__all__ = ["Body", "BodyFailed", "EncoderBody", "FormBody", "JsonBody", "is_encoder"]


class BodyFailed(Exception):
    """The body of a request cannot be read to its end; its text may be shown.

    Not one of the errors that an HTTP library takes for those of the network.
    """


def _read(source: Any, size: int) -> bytes:
    """Return what a file of the caller's holds next.

    Raises:
        BodyFailed: it cannot be read.
    """
    try:
        found: bytes = source.read(size)
        return found
    except (OSError, ValueError) as exc:
        kind = type(exc).__name__
    raise BodyFailed(f"a file of the multipart form cannot be read ({kind})")


class _Part:
    """A part of a form: so much of a file as it held when it was measured.

    Args:
        file: the file.
        start: where the part begins.

    Attributes:
        len: bytes that are left, as the encoder asks for them.
    """

    def __init__(self, file: Any, start: int) -> None:
        file.seek(0, os.SEEK_END)
        self.len = max(0, file.tell() - start)
        file.seek(start)
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, no more than there were at first."""
        size = self.len if size < 0 else min(size, self.len)
        if not size:
            return b""
        found = _read(self._file, size)
        if not found:
            raise BodyFailed("a file of the multipart form became shorter while it was sent")
        self.len -= len(found)
        return found


class _Whole:
    """What an encoder gives, if that is as much as it announced.

    A body that is longer than its ``Content-Length`` would be read as the next request on the
    connection, so the last piece is handed out only where nothing follows it.

    Args:
        encoder: the encoder.

    Attributes:
        len: bytes that were announced.
    """

    def __init__(self, encoder: Any) -> None:
        self.len = int(encoder.len)
        self._left = self.len
        self._encoder = encoder

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            BodyFailed: there are more or fewer of them than were announced.
        """
        found = _read(self._encoder, size)
        self._left -= len(found)
        if not found and self._left > 0:
            raise BodyFailed("a file of the multipart form became shorter while it was sent")
        if self._left < 0 or (found and not self._left and _read(self._encoder, 1)):
            raise BodyFailed("a file of the multipart form became longer while it was sent")
        return found


class Body(ABC):
    """What a request carries.

    Attributes:
        repeatable: whether it can be sent a second time.
        content_type: its media type.
    """

    repeatable = True
    content_type = "application/json"

    @abstractmethod
    def content(self) -> Any:
        """Return what to send, from its beginning: bytes, or what requests can read them from.

        Raises:
            requests.RequestException: it cannot be encoded.
        """

    def size(self) -> int:
        """Return its length in bytes; 0 where that is of no account."""
        return 0


class JsonBody(Body):
    """JSON.

    Args:
        dto_in: what `json.dumps` takes; None stands for an empty object.
    """

    def __init__(self, dto_in: Any) -> None:
        self._dto_in = {} if dto_in is None else dto_in
        self._encoded: Optional[bytes] = None

    def content(self) -> Any:
        """See `Body.content`."""
        if self._encoded is None:
            self._encoded = self._encode()
        return self._encoded

    def _encode(self) -> bytes:
        try:
            return json.dumps(self._dto_in, allow_nan=False).encode("utf-8")
        except (TypeError, ValueError, RuntimeError) as exc:
            kind = type(exc).__name__
        # the error of `json` may quote a value
        raise dto_in_error(
            f"dtoIn is no JSON ({kind}): it may hold only dictionaries with string keys, lists,"
            " strings, finite numbers, booleans and None"
        )


class EncoderBody(Body):
    """A `MultipartEncoder` of the user's: it cannot rewind, so it is sent once.

    Args:
        encoder: the encoder.
    """

    repeatable = False

    def __init__(self, encoder: MultipartEncoder) -> None:
        self._encoder = encoder
        self.content_type = str(encoder.content_type)

    def content(self) -> Any:
        """See `Body.content`."""
        return _Whole(self._encoder)

    def size(self) -> int:
        """See `Body.size`."""
        return int(self._encoder.len)


class FormBody(Body):
    """A multipart form, encoded anew each time: an encoder cannot rewind.

    Args:
        fields: values are strings, bytes, files open for reading in binary mode, or tuples
            (file name, content, and perhaps content type and headers).

    Raises:
        ValueError: a value is none of these.
    """

    def __init__(self, fields: Optional[Dict[str, Any]]) -> None:
        self._fields = fields or {}
        self._boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        self._files: Dict[str, Tuple[Any, int]] = {}  # and where they stand
        for name, value in self._fields.items():
            if not isinstance(name, str):
                raise ValueError(f"multipart field {name!r}: its name must be a string")
            if isinstance(value, (list, tuple)):
                for what, text in zip(("file name", "content type"), (value[:1], value[2:3])):
                    if text and not isinstance(text[0], (str, type(None))):
                        raise ValueError(
                            f"multipart field `{name}`: its {what} must be a string or None,"
                            f" got {type(text[0]).__name__}"
                        )
            content = value
            if isinstance(value, (list, tuple)):
                content = value[1] if 2 <= len(value) <= 4 else None
            if isinstance(content, (str, bytes)):
                continue
            try:
                if isinstance(content, io.TextIOBase):
                    raise ValueError("it is open in text mode")
                start = content.tell()
                # a pipe has no length: the encoder would send nothing, and look well
                content.seek(start)
                self._files[name] = content, start
            except (AttributeError, OSError, ValueError):
                raise ValueError(
                    f"multipart field `{name}` must be a string, bytes, a seekable file open in"
                    f" binary mode, or a tuple (file name, content, …), got {type(value).__name__}"
                ) from None

    def content(self) -> Any:
        """See `Body.content`. Files go on from where they stood when this was made."""
        from requests_toolbelt.multipart.encoder import MultipartEncoder

        fields = dict(self._fields)
        try:
            for name, (file, start) in self._files.items():
                # measured once: the length that is announced must be the one that is sent
                part, value = _Part(file, start), fields[name]
                is_tuple = isinstance(value, (list, tuple))
                fields[name] = (value[0], part, *value[2:]) if is_tuple else part
            return _Whole(MultipartEncoder(fields=fields, boundary=self._boundary))
        except (OSError, ValueError) as exc:
            kind = type(exc).__name__
        raise dto_in_error(f"a file of the multipart form cannot be read again ({kind})")

    def size(self) -> int:
        """See `Body.size`."""
        return int(self.content().len)


def is_encoder(dto_in: object) -> bool:
    """Return whether an object is a `MultipartEncoder`."""
    from requests_toolbelt.multipart.encoder import MultipartEncoder

    return isinstance(dto_in, MultipartEncoder)
