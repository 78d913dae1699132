"""What the core's tests share."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, TypeVar

import pytest

from uun_iot_core import Clock, Gateway, ManualClock, on

#: seconds until a test gives up on an event that must come
SOON = 10.0
COMMAND = "gateway/getConfiguration"


def write_config(directory: Path, config: Any = None) -> str:
    """Write a configuration file and return its path."""
    path = directory / "config.json"
    path.write_text(json.dumps({} if config is None else config), encoding="utf-8")
    return str(path)


def timers(**periods: Any) -> Dict[str, Any]:
    """Return a configuration with these periods."""
    return {"gateway": {"moduleTimers": periods}}


def make_gateway(
    directory: Path, config: Any = None, *modules: Any, clock: Optional[Clock] = None
) -> Gateway:
    """Return a gateway that has these modules; on a clock that stands still by default."""
    return Gateway(
        write_config(directory, config),
        lambda config, client: list(modules),
        clock=clock or ManualClock(),
    )


def library_threads() -> List[threading.Thread]:
    """Return the threads that core has started; the client's may linger after its own tests."""
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("uun_iot") and thread.name != "uun_iot end of requests"
    ]


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    """Call a function in a thread of its own."""
    thread = threading.Thread(target=function, name="of a test")
    thread.start()
    return thread


def joined(thread: threading.Thread) -> None:
    """Wait for the end of a thread."""
    thread.join(SOON)
    assert not thread.is_alive()


def messages(caplog: pytest.LogCaptureFixture, level: int) -> List[str]:
    """Return what the library has logged at exactly this level."""
    return [record.getMessage() for record in records(caplog, level)]


def records(caplog: pytest.LogCaptureFixture, level: int) -> List[logging.LogRecord]:
    """Return the library's log records of exactly this level."""
    return [
        record
        for record in caplog.records
        if record.levelno == level and record.name.split(".")[0] == "uun_iot"
    ]


class Ticker:
    """A module that notes when it ticks."""

    def __init__(self, clock: Clock, id: str = "ticker") -> None:
        self.id = id
        self.clock = clock
        self.ticks: List[float] = []

    @on("tick")
    def tick(self) -> None:
        self.ticks.append(self.clock.monotonic())


class Noting:
    """A module that notes its ticks and its stop."""

    def __init__(self) -> None:
        self.calls: List[str] = []

    @on("tick")
    def tick(self) -> None:
        self.calls.append("tick")

    @on("stop")
    def stop(self) -> None:
        self.calls.append("stop")


class Answer:
    """A response of which only the body counts."""

    def __init__(self, body: str) -> None:
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


U = TypeVar("U", bound="Updated")


class Uuapp:
    """A client whose uuApp answers with what the test says.

    Args:
        reply: the configuration to answer with; a string is sent as it is, an exception is
            the error of the call.
    """

    def __init__(self, reply: Any = None) -> None:
        self.reply: Any = {} if reply is None else reply
        self.asked: List[str] = []
        self.hooks: List[Tuple[Any, ...]] = []

    def get(
        self, uucmd: str, dto_in: Optional[Dict[str, Any]] = None, log_level: int = 30
    ) -> Tuple[Any, Optional[Exception]]:
        self.asked.append(uucmd)
        if isinstance(self.reply, Exception):
            return None, self.reply
        text = self.reply if isinstance(self.reply, str) else json.dumps(self.reply)
        return Answer(text), None

    def _gateway_stopping(self, grace: float) -> None:
        self.hooks.append(("stopping", grace))

    def _gateway_stopped(self) -> None:
        self.hooks.append(("stopped",))


class Updated:
    """A gateway that asks a `Uuapp` for its configuration every 10 s of a manual clock.

    A context manager: the gateway runs in the block, and `ask` makes it ask once more.

    Args:
        directory: where the configuration file is made.
        gateway: the value of its ``gateway`` key; the period of `config` is added.
        modules: the modules.
    """

    def __init__(self, directory: Path, gateway: Dict[str, Any], modules: Iterable[Any] = ()):
        self.uuapp = Uuapp()
        self.clock = ManualClock()
        periods = {**gateway.get("moduleTimers", {}), "config": 10}
        self.start = {**gateway, "moduleTimers": periods}
        self.path = directory / "config.json"
        self.path.write_text(
            json.dumps(
                {
                    "gateway": self.start,
                    "uuApp": {"uuCmdList": {"gatewayGetConfiguration": COMMAND}},
                    "uuThing": {"accessCode1": "SECRET-CODE"},
                }
            )
        )
        self.gateway = Gateway(
            str(self.path),
            lambda config, client: list(modules),
            clock=self.clock,
            client=lambda config: self.uuapp,
        )

    @property
    def live(self) -> Dict[str, Any]:
        """The value of ``gateway`` in memory."""
        value: Dict[str, Any] = self.gateway.config["gateway"]
        return value

    @property
    def saved(self) -> Dict[str, Any]:
        """The value of ``gateway`` in the file."""
        value: Dict[str, Any] = json.loads(self.path.read_text())["gateway"]
        return value

    def ask(self, reply: Any) -> None:
        """Let the uuApp answer with this from now on, and time pass until it is asked."""
        self.uuapp.reply = reply
        asked = len(self.uuapp.asked)
        self.clock.advance(10)
        assert len(self.uuapp.asked) > asked

    def __enter__(self: U) -> U:
        self.gateway.start()
        self.clock.advance(0)  # the first tick: an empty reply
        return self

    def __exit__(self, *exc: object) -> None:
        self.gateway.stop()
