"""ISO 8601 timestamps."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uun_iot_core import get_datetime_from_iso_timestamp, get_iso_timestamp

UTC = timezone.utc
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(1000, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS)


@given(MOMENTS)
def test_what_is_written_reads_back_to_the_millisecond(moment: datetime) -> None:
    text = get_iso_timestamp(moment)
    back = get_datetime_from_iso_timestamp(text)
    assert back.utcoffset() == timedelta(0)
    assert timedelta(0) <= moment - back < timedelta(milliseconds=1)
    assert get_iso_timestamp(back) == text
    assert len(text) == len("2024-05-01T12:30:00.250Z")
    assert text.endswith("Z")


@given(MOMENTS)
def test_any_offset_and_fraction_of_isoformat_is_read(moment: datetime) -> None:
    assert get_datetime_from_iso_timestamp(moment.isoformat()) == moment


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))
def test_a_naive_datetime_is_taken_as_utc(moment: datetime) -> None:
    assert get_iso_timestamp(moment) == get_iso_timestamp(moment.replace(tzinfo=UTC))


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))
def test_a_timestamp_without_an_offset_is_read_as_utc(moment: datetime) -> None:
    assert get_datetime_from_iso_timestamp(moment.isoformat()) == moment.replace(tzinfo=UTC)


def test_milliseconds_are_cut_not_rounded_up_into_the_future() -> None:
    assert get_iso_timestamp(datetime(2024, 12, 31, 23, 59, 59, 999_999)) == (
        "2024-12-31T23:59:59.999Z"
    )


def test_an_offset_is_converted() -> None:
    prague = timezone(timedelta(hours=2))
    assert get_iso_timestamp(datetime(2024, 5, 1, 1, 0, tzinfo=prague)) == (
        "2024-04-30T23:00:00.000Z"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T12:30:00.250Z", datetime(2024, 5, 1, 12, 30, 0, 250_000, UTC)),
        ("2024-05-01T12:30:00Z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01t12:30:00z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01T12:30Z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01 12:30:00+00:00", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("20240501T123000Z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01T12:30:00,5Z", datetime(2024, 5, 1, 12, 30, 0, 500_000, UTC)),
        ("2024-05-01T12:30:00.1234567Z", datetime(2024, 5, 1, 12, 30, 0, 123_456, UTC)),
        ("2024-05-01T12:30:00+02", datetime(2024, 5, 1, 10, 30, tzinfo=UTC)),
        ("2024-05-01T12:30:00-0530", datetime(2024, 5, 1, 18, 0, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_other_forms_are_read(text: str, expected: datetime) -> None:
    assert get_datetime_from_iso_timestamp(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-05-01",
        "12:30:00Z",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-05-01T24:30:00Z",
        "2024-05-01T12:60:00Z",
        "2024-05-01T12:30:00+24:00",
        "2024-05-01T12:30:00.Z",
        "2024-05-01T12:30:00Zjunk",
        "2024-05-01T12:30:00Z\n2024-05-01T12:30:00Z",
        "٢٠٢٤-05-01T12:30:00Z",
        None,
        1714566600,
        b"2024-05-01T12:30:00Z",
    ],
)
def test_anything_else_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError):
        get_datetime_from_iso_timestamp(text)


@given(st.text())
def test_no_text_raises_anything_but_a_value_error(text: str) -> None:
    try:
        assert get_datetime_from_iso_timestamp(text).tzinfo is not None
    except ValueError:
        pass
