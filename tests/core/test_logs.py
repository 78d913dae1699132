"""The systemd handler."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any, Iterator, Tuple

import pytest

from uun_iot_core import LoggingSystemdHandler


@pytest.fixture
def log() -> Iterator[Tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    logger = logging.Logger("of a test", level=1)
    logger.addHandler(LoggingSystemdHandler(stream))
    yield logger, stream


Log = Tuple[logging.Logger, io.StringIO]


def test_the_prefixes_are_the_documented_ones() -> None:
    assert LoggingSystemdHandler.PREFIX == {
        0: "<7>",
        10: "<7>",
        20: "<6>",
        30: "<4>",
        40: "<3>",
        50: "<2>",
    }


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
        (1, "<7>"),
        (5, "<7>"),
        (15, "<7>"),
        (25, "<6>"),
        (35, "<4>"),
        (45, "<3>"),
        (99, "<2>"),
    ],
)
def test_a_record_begins_with_the_prefix_of_its_level_or_the_next_lower(
    log: Log, level: int, prefix: str
) -> None:
    logger, stream = log
    logger.log(level, "measured %d", 7)
    assert stream.getvalue() == f"{prefix}measured 7\n"


def test_each_line_of_a_record_has_its_own_prefix(log: Log) -> None:
    logger, stream = log
    logger.warning("one\ntwo\n\nfour")
    assert stream.getvalue() == "<4>one\n<4>two\n<4>\n<4>four\n"


def test_each_line_of_a_stack_trace_has_the_prefix(log: Log) -> None:
    logger, stream = log
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "<3>failed"
    assert lines[1].startswith("<3>Traceback")
    assert lines[-1] == "<3>KeyError: 'lost'"
    assert all(line.startswith("<3>") for line in lines)


def test_the_formatter_stands_behind_the_prefix(log: Log) -> None:
    logger, stream = log
    logger.handlers[0].setFormatter(logging.Formatter("%(levelname)s:\n%(message)s"))
    logger.error("broken")
    assert stream.getvalue() == "<3>ERROR:\n<3>broken\n"


def test_other_handlers_of_the_same_record_see_no_prefix(log: Log) -> None:
    logger, stream = log
    plain = io.StringIO()
    logger.addHandler(logging.StreamHandler(plain))
    logger.error("one\ntwo")
    assert plain.getvalue() == "one\ntwo\n"
    assert stream.getvalue() == "<3>one\n<3>two\n"


def test_without_a_stream_it_writes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler: Any = LoggingSystemdHandler()
    assert handler.stream is sys.stderr
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "here", None, None))
    assert capsys.readouterr().err == "<6>here\n"
