"""ISO 8601 timestamps as uuApps write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

__all__ = ["get_datetime_from_iso_timestamp", "get_iso_timestamp"]

# `datetime.fromisoformat` reads neither `Z` nor odd fractions before Python 3.11.
# Compiled when it is first used: `re` keeps it.
_ISO = (
    r"(\d{4})-?(\d\d)-?(\d\d)[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?"
    r"\s*(?:([Zz])|([+-])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?)?"
)


def get_iso_timestamp(dt: datetime) -> str:
    """Return ``dt`` as an ISO 8601 timestamp: UTC, milliseconds, ``Z``.

    >>> get_iso_timestamp(datetime(2024, 5, 1, 12, 30, 0, 250000))
    '2024-05-01T12:30:00.250Z'

    Args:
        dt: an aware datetime, or a naive one that is taken as UTC.
    """
    utc = dt.replace(tzinfo=timezone.utc) if dt.utcoffset() is None else dt.astimezone(timezone.utc)
    return utc.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def get_datetime_from_iso_timestamp(iso_timestamp: str) -> datetime:
    """Return the aware datetime that an ISO 8601 timestamp stands for.

    Any offset is read, with or without a fraction of a second (kept to the
    microsecond); a timestamp without an offset is taken as UTC.

    Args:
        iso_timestamp: for example ``2024-05-01T12:30:00.250Z``.

    Raises:
        ValueError: the text is no ISO 8601 timestamp, or no such moment exists.
    """
    text = iso_timestamp.strip() if isinstance(iso_timestamp, str) else ""
    match = re.fullmatch(_ISO, text, re.ASCII)
    if match is None:
        raise ValueError(
            f"not an ISO 8601 timestamp: {iso_timestamp!r}; "
            "expected for example 2024-05-01T12:30:00.250Z"
        )
    year, month, day, hour, minute, second, fraction, _, sign, *offset = match.groups()
    tz = timezone.utc
    if sign:
        hours, minutes, seconds = (int(part or 0) for part in offset)
        delta = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        tz = timezone(-delta if sign == "-" else delta)
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    return datetime(
        int(year), int(month), int(day), int(hour), int(minute), int(second or 0), microsecond, tz
    )
