"""Commands of a gateway: its socket, its handlers, its answers."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from tests.core.helpers import (
    SOON,
    Updated,
    in_thread,
    joined,
    make_gateway,
    messages,
    write_config,
)
from tests.support.commands import CommandClient, ask
from tests.support.processes import Child
from tests.support.wait import eventually
from uun_iot_core import ConfigError, EvExternal, EvStart, EvStop, Gateway, ModuleError, on
from uun_iot_core.events import HandlerInfo, attach_handlers
from uun_iot_core.socket_server import MOST_CLIENTS

Arguments = Tuple[str, Optional[str]]


def with_socket(directory: Path, **gateway: Any) -> Dict[str, Any]:
    """Return a configuration with a command socket."""
    return {"gateway": {"socket": {"path": str(directory / "s")}, **gateway}}


class Commands:
    """A module with commands of every kind."""

    id = "commands"

    def __init__(self) -> None:
        self.calls: List[Arguments] = []

    @EvExternal.subscribe_command("echo")
    def echo(self, evs: Arguments) -> str:
        self.calls.append(evs)
        return repr(evs)

    @EvExternal.subscribe_command("valve", "open", "now")
    def valve(self, evs: Arguments) -> Optional[str]:
        self.calls.append(evs)
        return None

    @on("external", "documented")
    def documented(self, evs: Arguments) -> str:
        return ""

    @EvExternal.subscribe_command("fail")
    def fail(self, evs: Arguments) -> str:
        raise ValueError("it is\nbroken")

    @EvExternal.subscribe_command("unprintable")
    def unprintable(self, evs: Arguments) -> str:
        class Unprintable(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        raise Unprintable

    @EvExternal.subscribe_command("leave")
    def leave(self, evs: Arguments) -> str:
        raise SystemExit(3)

    @EvExternal.subscribe_command("lines")
    def lines(self, evs: Arguments) -> str:
        return "one\ntwo"

    @EvExternal.subscribe_command("odd")
    def odd(self, evs: Arguments) -> str:
        class Odd(str):
            def __format__(self, spec: str) -> str:
                raise RuntimeError("no text")

            __bool__ = __str__ = __format__  # type: ignore[assignment]  # all of them fail

        return Odd("text")

    @EvExternal.subscribe_command("number")
    def number(self, evs: Arguments) -> Any:
        return 5


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("echo", "0 ('echo', None)"),
        ("echo a b", "0 ('echo', 'a b')"),
        ("echo ", "0 ('echo', '')"),
        ("echo  a", "0 ('echo', ' a')"),
        ("valve[open,now]", "0"),
        ("documented", "0"),
        ("valve", "1 unknown command 'valve'"),
        ("valve[open]", "1 unknown command 'valve[open]'"),
        ("valve open", "1 unknown command 'valve'"),
        ("nothing", "1 unknown command 'nothing'"),
        ("", "1 no command"),
        ("fail", "1 ValueError: it is broken"),
        ("leave", "1 SystemExit: 3"),
        ("unprintable", "1 Unprintable: "),
        ("lines", "0 one\ntwo"),
        ("odd", "0 text"),
        ("number", "1 the handler returned a number instead of a string or None"),
        ("žluť", "1 unknown command 'žluť'"),
    ],
)
def test_a_command_is_answered(tmp_path: Path, sent: str, answered: str) -> None:
    with make_gateway(tmp_path, with_socket(tmp_path), Commands()):
        path = str(tmp_path / "s")
        assert ask(path, f"{sent}\n".encode()).decode() == f"{answered}\n"
        assert ask(path, b"echo next\n") == b"0 ('echo', 'next')\n"


def test_a_handler_that_raises_is_logged_with_its_stack(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_gateway(tmp_path, with_socket(tmp_path), Commands()):
        ask(str(tmp_path / "s"), b"fail\n")
    assert messages(caplog, logging.ERROR) == [
        "external:fail handler of module `commands` failed (Commands.fail)"
    ]
    assert "Traceback" in caplog.text


def test_where_there_is_no_thread_to_be_had_no_commands_are_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    event = EvExternal(with_socket(tmp_path))
    attach_handlers(None, [Commands()], [event])
    before = threading.stack_size(1 << 47)  # more than the system has addresses for
    try:
        with event:
            assert not (tmp_path / "s").exists()
    finally:
        threading.stack_size(before)
    (said,) = messages(caplog, logging.ERROR)
    assert said.startswith(f"gateway.socket.path: {tmp_path / 's'}: no commands are taken: ")
    assert "thread" in said
    with event:
        assert ask(str(tmp_path / "s"), b"echo\n") == b"0 ('echo', None)\n"


def test_two_handlers_of_one_command_are_an_error(tmp_path: Path) -> None:
    class Other:
        id = "other"

        @on("external", "echo")
        def echo(self, evs: Arguments) -> str:
            return ""

    with pytest.raises(ModuleError, match="`echo` has two handlers.*`commands`.*`other`"):
        make_gateway(tmp_path, with_socket(tmp_path), Commands(), Other())
    event = EvExternal()
    info = HandlerInfo(event.event_type, ("echo",), {}, "one")
    with pytest.raises(ModuleError):
        event.add_handlers([(str, info), (repr, info)])


def test_one_module_with_two_handlers_of_a_command_is_an_error(tmp_path: Path) -> None:
    class Twice:
        @EvExternal.subscribe_command("valve", "open")
        def first(self, evs: Arguments) -> None: ...

        @on("external", "valve[open]")
        def second(self, evs: Arguments) -> None: ...

    with pytest.raises(ModuleError, match=r"`valve\[open\]` has two handlers"):
        make_gateway(tmp_path, with_socket(tmp_path), Twice())


def test_names_of_commands_may_be_of_an_enumeration(tmp_path: Path) -> None:
    class Name(str, enum.Enum):
        VALVE = "valve"
        OPEN = "open"

    class Module:
        @EvExternal.subscribe_command(Name.VALVE)
        def alone(self, evs: Arguments) -> str:
            return "alone"

        @EvExternal.subscribe_command(Name.VALVE, Name.OPEN, "now")
        def both(self, evs: Arguments) -> str:
            return "both"

    with make_gateway(tmp_path, with_socket(tmp_path), Module()):
        assert ask(str(tmp_path / "s"), b"valve\n") == b"0 alone\n"
        assert ask(str(tmp_path / "s"), b"valve[open,now]\n") == b"0 both\n"


@pytest.mark.parametrize("names", [("",), (5,), ("a", ""), (None,)])
def test_names_of_commands_are_strings(names: Any) -> None:
    with pytest.raises(TypeError, match="non-empty"):
        EvExternal.subscribe_command(*names)


def test_a_command_that_nobody_can_send_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Module:
        @on("external", "a b")
        def blank(self, evs: Arguments) -> str:
            return ""

    make_gateway(tmp_path, with_socket(tmp_path), Module())
    assert messages(caplog, logging.WARNING) == [
        "module `module`: nobody can send the command 'a b', since it holds a blank"
    ]


def test_on_external_needs_the_name_of_the_command() -> None:
    with pytest.raises(TypeError, match="the command must be a non-empty string"):
        on("external")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("/run/s", "gateway.socket: expected an object, got a string"),
        ({"path": 5}, "gateway.socket.path: expected the path of a socket, got a number"),
        ({"path": ""}, "gateway.socket.path: expected the path of a socket"),
        ({"path": "/" + "x" * 200}, "gateway.socket.path: expected a path of at most 103 bytes"),
    ],
)
def test_a_socket_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, value: Any, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        Gateway(write_config(tmp_path, {"gateway": {"socket": value}}))


def test_without_a_socket_handlers_are_named_and_the_gateway_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with make_gateway(tmp_path, {"gateway": {"socket": {}}}, Commands()):
        pass
    (line,) = [one for one in messages(caplog, logging.INFO) if "socket" in one]
    assert line.startswith("gateway.socket.path is not set: nobody can send echo, ")


def test_a_socket_that_cannot_be_made_does_not_keep_the_device_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_socket(tmp_path / "none")
    with make_gateway(tmp_path, config, Commands()) as gateway:
        assert gateway.runev.is_set()
    (line,) = messages(caplog, logging.ERROR)
    assert line.startswith(
        f"gateway.socket.path: {tmp_path}/none/s: no commands are taken: No such"
    )


def test_a_second_gateway_leaves_the_socket_to_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_socket(tmp_path)
    with make_gateway(tmp_path, config, Commands()):
        with make_gateway(tmp_path, config):
            assert "another process answers there" in caplog.text
        assert ask(str(tmp_path / "s"), b"valve[open,now]\n") == b"0\n"


def test_the_socket_is_there_from_start_to_stop(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    seen: List[bool] = []

    class Module:
        @EvStart.subscribe_blocking
        def start(self, evs: Any) -> None:
            seen.append(os.path.exists(path))  # not before what it may need is ready

        @EvStop.subscribe
        def stop(self) -> None:
            seen.append(os.path.exists(path))

    gateway = make_gateway(tmp_path, with_socket(tmp_path), Module())
    for _ in range(3):
        with gateway:
            assert ask(path, b"nothing\n") == b"1 unknown command 'nothing'\n"
        assert not os.path.exists(path)
    assert seen == [False] * 6


def test_an_update_moves_the_socket_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old, new = str(tmp_path / "s"), str(tmp_path / "t")
    updated = Updated(tmp_path, with_socket(tmp_path)["gateway"], [Commands()])
    with updated:
        updated.ask({**updated.start, "socket": {"path": new}})
        assert "gateway.socket has changed: it takes effect at the next start" in caplog.text
        assert ask(old, b"documented\n") == b"0\n"
        updated.ask({**updated.start, "socket": {"path": 5}})
        assert "gateway.socket.path: expected the path of a socket" in caplog.text
    with updated.gateway:
        assert ask(new, b"documented\n") == b"0\n"
        assert not os.path.exists(old)


# -- side by side ----------------------------------------------------------------------------------


class Slow:
    id = "slow"

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.running = self.most = 0

    @EvExternal.subscribe_command("slow")
    def slow(self, evs: Arguments) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        assert self.let_go.wait(SOON)
        self.running -= 1
        return str(evs[1])


def test_handlers_are_called_one_at_a_time_and_status_is_answered_beside_them(
    tmp_path: Path,
) -> None:
    slow, path = Slow(), str(tmp_path / "s")
    with make_gateway(tmp_path, with_socket(tmp_path), slow, Commands()):
        clients = [CommandClient(path) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(f"slow {number}\n".encode())
        assert slow.begun.wait(SOON)
        assert ask(path, b"status\n").startswith(b"0 {")
        assert ask(path, b"nothing\n") == b"1 unknown command 'nothing'\n"
        with CommandClient(path) as waiting:
            waiting.send(b"echo\n")
            waiting.socket.settimeout(0.1)
            with pytest.raises(OSError, match="timed out"):
                waiting.answer()
        slow.let_go.set()
        answers = [client.answer() for client in clients]
        for client in clients:
            client.socket.close()
    assert answers == [f"0 {number}\n".encode() for number in range(5)]
    assert slow.most == 1


def test_a_handler_that_hangs_leaves_room_for_the_status(tmp_path: Path) -> None:
    slow, path = Slow(), str(tmp_path / "s")
    with make_gateway(tmp_path, with_socket(tmp_path), slow, Commands()):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(CommandClient(path)) for _ in range(2 * MOST_CLIENTS)]
            clients[0].send(b"slow a\n")
            assert slow.begun.wait(SOON)
            for client in clients[1:]:
                client.send(b"echo\n")
            refused = b"1 too many commands wait for `slow`, try again\n"
            # who waits for its turn holds its place; who came later than those is answered
            assert eventually(lambda: ask(path, b"echo\n") == refused)
            assert ask(path, b"status\n").startswith(b"0 {")
            slow.let_go.set()
            answers = [client.answer() for client in clients]
    assert answers[0] == b"0 a\n"
    assert b"0 ('echo', None)\n" in answers and refused in answers


def test_a_module_that_never_tells_its_status_leaves_room_for_commands(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    class Silent:
        id = "silent"

        def _gateway_status(self) -> Dict[str, Any]:
            begun.set()
            assert let_go.wait(SOON)
            return {"silent": False}

    path = str(tmp_path / "s")
    refused = b"1 too many commands `status` wait for their answers, try again\n"
    with make_gateway(tmp_path, with_socket(tmp_path), Silent(), Commands()) as gateway:
        with contextlib.ExitStack() as stack:
            asking = [stack.enter_context(CommandClient(path)) for _ in range(2 * MOST_CLIENTS)]
            for client in asking:
                client.send(b"status\n")
            assert begun.wait(SOON)
            assert eventually(lambda: ask(path, b"status\n") == refused)
            # those for whom there was no room at first are gone by now
            assert eventually(lambda: ask(path, b"echo\n") == b"0 ('echo', None)\n")
            # a stop that waits for them says so
            assert {name for name, _ in gateway._sources.busy()} == {"uun_iot external status"}
            let_go.set()
            answers = [client.answer() for client in asking]
    assert gateway._sources.busy() == []
    answered = {one for one in answers if one.startswith(b"0 {")}
    assert answered  # of any of them: their threads may run in another order
    assert set(answers) - answered <= {refused, b"1 too many clients, try again\n"}


def test_a_stop_waits_for_the_handler_that_runs_and_refuses_those_that_wait(
    tmp_path: Path,
) -> None:
    slow, path = Slow(), str(tmp_path / "s")
    gateway = make_gateway(tmp_path, with_socket(tmp_path), slow)
    gateway.start()
    with CommandClient(path) as running, CommandClient(path) as waiting:
        running.send(b"slow a\n")
        assert slow.begun.wait(SOON)
        waiting.send(b"slow b\n")
        assert eventually(
            lambda: (
                len(
                    [
                        one
                        for one in gateway._sources.external._server._clients  # type: ignore[union-attr]  # it serves
                        if not one.expendable
                    ]
                )
                == 2
            )
        )
        assert [name for name, _ in gateway._sources.busy()] == ["uun_iot external slow"]
        stopping = in_thread(gateway.stop)
        assert gateway.stopev.wait(SOON)
        stopping.join(0.05)
        assert stopping.is_alive()
        slow.let_go.set()
        assert running.answer() == b"0 a\n"
        assert waiting.answer() == b"1 the gateway stops\n"
        joined(stopping)
    assert slow.most == 1


def test_a_command_may_stop_the_gateway(tmp_path: Path) -> None:
    class Module:
        gateway: Gateway

        @EvExternal.subscribe_command("stop")
        def stop(self, evs: Arguments) -> str:
            self.gateway.stop()
            return f"stopped: {self.gateway.stopev.is_set()}"

    module = Module()
    module.gateway = make_gateway(tmp_path, with_socket(tmp_path), module)
    with module.gateway:
        assert ask(str(tmp_path / "s"), b"stop\n") == b"0 stopped: True\n"
    assert not module.gateway.runev.is_set()


def test_the_source_works_without_a_gateway(tmp_path: Path) -> None:
    config = with_socket(tmp_path)
    (event,) = attach_handlers(config, [Commands()])
    with event:
        assert ask(str(tmp_path / "s"), b"echo\n") == b"0 ('echo', None)\n"
        assert ask(str(tmp_path / "s"), b"status\n") == b"1 unknown command 'status'\n"


def test_a_process_that_is_killed_starts_again_on_its_socket(tmp_path: Path) -> None:
    script = """
import signal, sys
from uun_iot_core import EvExternal, Gateway
class Module:
    @EvExternal.subscribe_command("hello")
    def hello(self, evs):
        return "hi"
with Gateway(sys.argv[1], lambda config, client: Module()) as gateway:
    signal.signal(signal.SIGTERM, gateway.signal_handler)
    print("ready")
    gateway.stopev.wait()
"""
    path = str(tmp_path / "s")
    config = write_config(tmp_path, with_socket(tmp_path))
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        with Child.python(script, config) as child:
            child.wait_for_line("ready")
            assert ask(path, b"hello\n") == b"0 hi\n"
            child.signal(number)
            assert child.wait() == (0 if number == signal.SIGTERM else -number)
    assert not os.path.exists(path)


def test_whatever_a_handler_returns_or_raises_is_answered(tmp_path: Path) -> None:
    class Truthless:
        def __eq__(self, other: object) -> Any:
            return self

        def __bool__(self) -> bool:
            raise ValueError("the truth value is ambiguous")

    class Leaving(Exception):
        def __str__(self) -> str:
            raise SystemExit

    class Odd:
        id = "odd"

        @EvExternal.subscribe_command("truthless")
        def truthless(self, evs: Arguments) -> Any:
            return Truthless()

        @EvExternal.subscribe_command("leaving")
        def leaving(self, evs: Arguments) -> str:
            raise Leaving

    path = str(tmp_path / "s")
    with make_gateway(tmp_path, with_socket(tmp_path), Odd()):
        assert ask(path, b"truthless\n").startswith(b"1 the handler returned Truthless")
        assert ask(path, b"leaving\n") == b"1 Leaving: \n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
def test_a_silent_client_is_dropped_though_a_forked_child_has_a_copy_of_its_connection(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "s")
    with make_gateway(tmp_path, with_socket(tmp_path), Commands()) as gateway:
        server = gateway._sources.external._server
        assert server is not None
        with CommandClient(path) as silent:
            assert eventually(lambda: len(server._clients) == 1)
            waiting, ending = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.close(ending)
                    os.read(waiting, 1)
                finally:
                    os._exit(0)
            try:
                assert silent.answer() == b""  # else it would be waited for in vain
            finally:
                os.close(ending)
                os.close(waiting)
                os.waitpid(child, 0)


def test_a_path_that_cannot_be_encoded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.socket\.path: .*characters that file names"):
        make_gateway(tmp_path, {"gateway": {"socket": {"path": "/tmp/\ud800"}}})
