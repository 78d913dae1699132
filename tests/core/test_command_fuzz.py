"""Whatever is sent to a gateway's socket, it answers by its rules, and the next client too."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.helpers import SOON, in_thread, make_gateway
from tests.support.commands import CommandClient, ask
from uun_iot_core import EvExternal, on

Arguments = Tuple[str, Optional[str]]


class Module:
    """Answers what it is told to, also what no handler should."""

    id = "module"

    @EvExternal.subscribe_command("say", "aloud")
    def say(self, evs: Arguments) -> Optional[str]:
        return evs[1]

    @on("external", "fail")
    def fail(self, evs: Arguments) -> str:
        raise ValueError(evs[1])

    @on("external", "žluť")
    def unusual(self, evs: Arguments) -> str:
        return f"{evs[0]} \ud800"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a gateway that runs."""
    directory: Path = tmp_path_factory.mktemp("gateway")
    socket = str(directory / "s")
    logging.getLogger("uun_iot").setLevel(logging.CRITICAL)  # each failure has its stack trace
    try:
        with make_gateway(directory, {"gateway": {"socket": {"path": socket}}}, Module()):
            yield socket
    finally:
        logging.getLogger("uun_iot").setLevel(logging.NOTSET)


NAMES = st.sampled_from(["say[aloud]", "fail", "žluť", "status", "say", "", "\0", "STATUS"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=60)
BLANKS = st.sampled_from(["", " ", "  ", "\t", "\r"])


def expected(line: str) -> str:
    """Return what the answer to a line begins with."""
    name, blank, rest = line.rstrip("\r").partition(" ")
    if name == "say[aloud]":
        return f"0 {rest}\n" if rest else "0\n"
    known = {"fail": "1 ValueError: ", "žluť": "0 žluť \\ud800\n", "status": "0 {"}
    return known.get(name, f"1 unknown command {name!r}\n" if name else "1 no command\n")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, blank=BLANKS, rest=TEXT)
def test_a_line_of_text_is_answered_by_the_rules(
    path: str, name: str, blank: str, rest: str
) -> None:
    line = f"{name}{blank}{rest}"
    answer = ask(path, f"{line}\n".encode())
    assert answer.decode().startswith(expected(line))
    assert answer.endswith(b"\n")
    if line.startswith("fail "):
        assert answer.count(b"\n") == 1  # what an exception says is one line


@settings(max_examples=25, deadline=None)
@given(lines=st.lists(st.binary(max_size=40), min_size=4, max_size=40))
def test_clients_at_once_get_each_its_own_answer(path: str, lines: List[bytes]) -> None:
    answers: List[bytes] = [b""] * len(lines)
    ready = threading.Barrier(len(lines))

    def client(number: int, line: bytes) -> None:
        ready.wait(SOON)
        with CommandClient(path) as one:
            one.send(b"say[aloud] %d %s\n" % (number, line.replace(b"\n", b"")))
            answers[number] = one.answer()

    clients = [
        in_thread(lambda number=number, line=line: client(number, line))  # type: ignore[misc]  # bound now
        for number, line in enumerate(lines)
    ]
    for one in clients:
        one.join(SOON)
    for number, answer in enumerate(answers):
        refused = rb"1 the command is not UTF-8 text\n|1 too many (commands|clients) "
        assert re.match(rb"0 %d |%s" % (number, refused), answer), answer
    assert json.loads(ask(path, b"status\n")[2:])["pid"] > 0
