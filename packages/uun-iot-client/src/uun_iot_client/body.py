"""Bodies of requests: JSON, or multipart forms, made anew for each attempt."""

from __future__ import annotations

import io
import json
import uuid
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from .errors import dto_in_error

if TYPE_CHECKING:
    from requests_toolbelt.multipart.encoder import MultipartEncoder

__all__ = ["Body", "EncoderBody", "FormBody", "JsonBody", "is_encoder"]


class Body:
    """What a request carries.

    Attributes:
        repeatable: whether it can be sent a second time.
        content_type: its media type.
    """

    repeatable = True
    content_type = "application/json"

    def content(self) -> Any:
        """Return what to send, from its beginning: bytes, or what requests can read them from.

        Raises:
            requests.RequestException: it cannot be encoded.
        """
        raise NotImplementedError

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
        return self._encoder

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
        self._starts: List[Tuple[Any, int]] = []
        for name, value in self._fields.items():
            content = value
            if isinstance(value, (list, tuple)):
                content = value[1] if 2 <= len(value) <= 4 else None
            if isinstance(content, (str, bytes)):
                continue
            try:
                if isinstance(content, io.TextIOBase):
                    raise ValueError("it is open in text mode")
                # a pipe has no length: the encoder would send nothing, and look well
                self._starts.append((content, content.seek(content.tell())))
            except (AttributeError, OSError, ValueError):
                raise ValueError(
                    f"multipart field `{name}` must be a string, bytes, a seekable file open in"
                    f" binary mode, or a tuple (file name, content, …), got {type(value).__name__}"
                ) from None

    def content(self) -> Any:
        """See `Body.content`. Files go on from where they stood when this was made."""
        from requests_toolbelt.multipart.encoder import MultipartEncoder

        try:
            for file, start in self._starts:
                file.seek(start)
            return MultipartEncoder(fields=self._fields, boundary=self._boundary)
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
