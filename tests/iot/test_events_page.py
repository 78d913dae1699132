"""What docs/events.md says, run as a reader would."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from tests.support.commands import ask as support_ask
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually
from uun_iot import EvExternal, Gateway, Module, on
from uun_iot.events import extract_event_handlers_from_object
from uun_iot_core import problems

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


def blocks(language: str) -> List[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def block(text: str) -> str:
    (found,) = [one for one in blocks("python") if text in one]
    return found


class Valve(Module):
    @EvExternal.subscribe_command("valve", "open")
    def open(self, evs: Tuple[str, str]) -> str:
        command, rest = evs
        assert command == "valve[open]"
        return f"open for {rest} s"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The socket of a gateway that has not started."""
    return str(tmp_path / "s")


@pytest.fixture
def gateway(tmp_path: Path, path: str) -> Gateway:
    config = tmp_path / "config.json"
    (settings,) = [one for one in blocks("json") if '"socket"' in one]
    assert problems(json.loads(settings)) == []
    config.write_text(settings.replace("/run/weather/uun.sock", path))
    return Gateway(str(config), lambda config, uuclient: Valve(config["gateway"]))


def test_the_three_columns_are_three_modules_that_register_the_same() -> None:
    (table,) = [one for one in blocks("python") if "documented (0.8" in one]
    lines = table.splitlines()
    starts = [lines[0].index("# documented"), lines[0].index("# with"), lines[0].index("# by")]
    found = []
    for begin, end in zip(starts, [*starts[1:], 999]):
        names: Dict[str, Any] = {}
        exec("\n".join(line[begin:end].rstrip() for line in lines), names)
        arguments = [names["EventRegister"]()] if "EventRegister" in names else []
        pump = names["init"](*arguments, {}, None)
        found.append(
            sorted(
                (handler.__name__, info.event_type.name, info.args, info.owner_id)
                for handler, info in extract_event_handlers_from_object(pump)
            )
        )
    expected = [("close", "STOP", (), "pump"), ("measure", "TICK", ("measure",), "pump")]
    assert found == [expected] * 3


def test_the_client_in_python_works(gateway: Gateway, path: str) -> None:
    names: Dict[str, Any] = {}
    exec(block("def ask(path, command)"), names)
    ask = names["ask"]
    with gateway:
        assert ask(path, "valve[open] 30") == "open for 30 s"
        assert json.loads(ask(path, "status"))["pid"] == os.getpid()
        with pytest.raises(RuntimeError, match="unknown command 'valv'"):
            ask(path, "valv")


def test_the_answer_in_the_shell_is_the_one_that_comes(gateway: Gateway, path: str) -> None:
    ((sent, answer),) = re.findall(r"^\$ echo '(.*)' \| socat .*\n(.*)$", PAGE, re.MULTILINE)
    with gateway:
        assert support_ask(path, f"{sent}\n".encode()).decode() == f"{answer}\n"


def keys(value: Any) -> Any:
    """Return a value with the leaves left out."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    return [keys(item) for item in value] if isinstance(value, list) else None


def test_the_status_on_the_page_has_the_keys_of_a_real_one(tmp_path: Path, uuapp: Sandbox) -> None:
    class Weather(Module):
        @on("tick", "send")
        def send(self) -> None:
            raise ValueError("shown in the log")

    (example,) = [json.loads(one) for one in blocks("json") if '"autonomyHours"' in one]
    config = uuapp.configuration(
        token_path=str(tmp_path / "token"), gateway={"moduleTimers": {"weather": {"send": 60}}}
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with Gateway(str(path), lambda config, uuclient: Weather(config["gateway"])) as gateway:
        gateway.uuapp_client.refresh_token()
        # the first tick comes at once
        assert eventually(lambda: gateway.status()["timers"][0]["lastError"])
        status = gateway.status()
    assert keys(status) == keys(example)


def test_the_event_init_on_the_page_works(tmp_path: Path, uuapp: Sandbox) -> None:
    config = uuapp.configuration(
        token_path=str(tmp_path / "token"),
        gateway={"moduleTimers": {"weather": {"measure": 60}, "config": 60, "heartbeat": 60}},
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    names: Dict[str, Any] = {}
    exec(
        block("def event_init(config_file, config, uuclient):\n    events").split("with ")[0], names
    )
    with Gateway(str(path), None, names["event_init"]) as gateway:
        assert [one.name for one in gateway.timer_stats()] == [
            *("tick weather:measure", "tick heartbeat", "tick config")
        ]


def test_the_event_of_an_application_on_the_page_works(tmp_path: Path) -> None:
    said: List[Any] = []

    class Broker:
        def subscribe(self, topic: str, handler: Any) -> None:
            said.append(topic)
            handler(b"21")

        def close(self) -> None:
            said.append("close")

    names: Dict[str, Any] = {"broker": Broker()}
    exec(block("class EvMessage(Event)"), names)

    class Listener:
        @names["EvMessage"].subscribe_topic("temperature")  # type: ignore[untyped-decorator]  # read from the page
        def heard(self, payload: bytes) -> None:
            said.append(payload)

    names["Listener"] = Listener
    path = tmp_path / "config.json"
    path.write_text("{}")
    with Gateway(str(path), None, names["event_init"]):
        pass
    assert said == ["temperature", b"21", "close"]
