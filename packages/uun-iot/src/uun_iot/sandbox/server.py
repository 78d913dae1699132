"""The sandbox: a whole uuApp on a port of this machine, under HTTPS, with faults on demand."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Type, Union

from uun_iot_core import SYSTEM_CLOCK, Clock, ManualClock, atomic_write

from .answers import AnswerFiles
from .arrivals import Arrivals
from .certificates import Certificates
from .connection import Connection
from .connections import Connections
from .faults import Faults
from .identity import Identity
from .listener import Listener
from .published import Published
from .ready import ready_configuration
from .records import Records
from .script import Script
from .timeline import Timeline
from .tokens import Tokens
from .uuapp import GET_CONFIGURATION, GRANT, Answer, UuApp

__all__ = ["Sandbox"]

PathLike = Union[str, "os.PathLike[str]"]


class Sandbox(Arrivals):
    """A uuApp with its token service, to run a gateway against; a context manager.

    >>> with Sandbox() as sandbox:
    ...     config = sandbox.configuration(token_path="oidc-token")
    ...     sandbox.faults.add("status", status=503, times=2).kind
    'status'

    Whoever talks to it must trust the authority in `ca_file`, for example by
    ``REQUESTS_CA_BUNDLE``. It keeps its port, authority and credentials over `stop` and
    `start`; with a directory also over its process's end.

    Attributes:
        faults: what goes wrong with requests; see `Fault`.
        records: what arrived; `requests`, `received` and `wait_for` read it.
        tokens: issues tokens; its ``lifetime`` (seconds) may be changed.
        uuapp: answers requests.
        certificate: the kind that new connections are shown; see `use_certificate`.
        clock: what tokens, records and scripts read the time from.
        timeline: the script under way, or the last one; None where there was none.
        on_change: called after faults, outages, certificates or the configuration were
            changed, in the thread that did it; None for nobody.

    Args:
        port: 0 for any free one.
        host: address that it listens on.
        names: host names and addresses that its certificate is for; configurations say the
            first.
        directory: where its authority, identity, published configuration and ``ca.pem`` are
            kept; by default a temporary one, removed at `stop`.
        token_lifetime: seconds.
        clock: by default the system's. On a `ManualClock` the faults ``delay`` and ``slow``
            take no time.
        now: wall-clock seconds since 1970, where that is not the clock's.
        answers: directory of JSON files that commands answer; see `AnswerFiles`.
        gateways: how many gateways have credentials of their own.
        limit: how many requests are kept, the latest ones, of 100 MB at most; None for all.

    Raises:
        ModuleNotFoundError: the extra is not installed; the text says how.
        ValueError: what the directory or the answers hold is damaged, or a number is under 1.
        OSError: the directory cannot be used.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        names: Sequence[str] = ("localhost", "127.0.0.1"),
        directory: Optional[PathLike] = None,
        token_lifetime: float = 1800,
        clock: Clock = SYSTEM_CLOCK,
        now: Optional[Callable[[], float]] = None,
        answers: Optional[PathLike] = None,
        gateways: int = 1,
        limit: Optional[int] = None,
    ) -> None:
        self.host = host
        self.names = tuple(names)
        self.clock = clock
        self.on_change: Optional[Callable[[], object]] = None
        self._port = port
        self._directory = directory
        self._temporary: Optional[tempfile.TemporaryDirectory[str]] = None
        self._now = now or clock.time
        self._certificates = Certificates(self.names, directory)
        self.certificate = "valid"
        self.faults = Faults(waits=not isinstance(clock, ManualClock))
        self.faults.on_change = self.notify
        self.records = Records(limit)
        self.tokens = Tokens(token_lifetime, self._now)
        self.uuapp = UuApp(self.tokens, Identity.kept(directory, gateways))
        self._published = Published(directory)
        if answers is not None:
            self.uuapp.files = AnswerFiles(answers)
            self._published.begin_with(self.uuapp.files.get(GET_CONFIGURATION))
        self.uuapp.publish(self._published.configuration)
        self._switch = threading.Lock()  # start, stop, outage and restore take turns
        self._listener: Optional[Listener] = None
        self._ca_file: Optional[str] = None
        self._connections = Connections(self._connection)
        self.timeline: Optional[Timeline] = None

    # -- start and stop

    def start(self) -> None:
        """Begin to serve; nothing happens where it does already.

        Raises:
            OSError: the port is taken, or the CA bundle cannot be written.
        """
        with self._switch:
            if self._listener is not None:
                return
            try:
                self._write_ca()
                self._listener = Listener(self.host, self._port, self._connections.accept)
            except BaseException:
                self._clean_up()
                raise
            self._port = self._listener.port
            self.uuapp.gateways.update(f"{name}:{self._port}" for name in self.names)

    def stop(self) -> None:
        """End script and connections, let go of the port, and wait for what was started."""
        self._end_script()
        with self._switch:
            if self._listener is None:
                return
            self._listener.close()
            self._listener = None
            self.faults.clear()
            self.drop_connections()
            self._connections.join()
            self._clean_up()

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    # -- how to reach it

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first `start`, unless one was given."""
        return self._port

    @property
    def gateway(self) -> str:
        """Host and port, as the configuration's ``uuApp.gateway`` has them."""
        return f"{self.names[0]}:{self._port}"

    @property
    def ca_file(self) -> str:
        """Path of the CA bundle (PEM) that its certificate is verified with.

        Raises:
            RuntimeError: it was not started.
        """
        if self._ca_file is None:
            raise RuntimeError("the sandbox has no CA file before start()")
        return self._ca_file

    def url(self, command: str) -> str:
        """Return the URL of a uuCmd (``oidc/grantToken`` is the token service's).

        Args:
            command: for example ``gateway/heartbeat``.
        """
        if command == GRANT:
            return f"https://{self.gateway}/{self.uuapp.oidc_name}/{self.uuapp.oidc_awid}/{GRANT}"
        return f"https://{self.gateway}/{self.uuapp.name}/{self.uuapp.awid}/{command}"

    def configuration(
        self,
        token_path: str = "./oidc-token",
        gateway: Optional[Mapping[str, Any]] = None,
        commands: Optional[Mapping[str, str]] = None,
        number: int = 1,
    ) -> Dict[str, Any]:
        """Return the content of a gateway's ``config.json`` for this sandbox.

        Args:
            token_path: where the gateway keeps its token.
            gateway: the ``gateway`` part; left out where it is None.
            commands: further entries of ``uuCmdList``, name to uuCmd.
            number: of the gateway, from 1, of those that have credentials.

        Raises:
            ValueError: there is no gateway of that number.
        """
        return ready_configuration(self.uuapp, self.gateway, token_path, gateway, commands, number)

    def write_configuration(self, path: PathLike, **arguments: Any) -> None:
        """Write a gateway's ``config.json`` for this sandbox; a new file is its owner's alone.

        Args:
            path: the file; replaced where it exists.
            **arguments: see `configuration`.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.configuration(**arguments), indent=4, ensure_ascii=False)
        atomic_write(path, text + "\n", mode=0o600)

    @property
    def secrets(self) -> List[str]:
        """What must never be seen: access codes, client secret, every token issued so far."""
        codes = [code for one in self.uuapp.identity.gateways for code in one.secrets]
        return codes + self.tokens.given_out

    # -- what the application does

    def publish(self, configuration: Mapping[str, Any]) -> None:
        """Change what ``gateway/getConfiguration`` answers; at first that is nothing.

        Args:
            configuration: the ``gateway`` part of a gateway's configuration.

        Raises:
            TypeError, ValueError: it is not JSON.
            OSError: it cannot be kept in the directory; nothing has changed.
        """
        self._published.set(configuration)
        self.uuapp.publish(configuration)
        self.notify()

    @property
    def published(self) -> Dict[str, Any]:
        """What ``gateway/getConfiguration`` answers (a copy)."""
        return self.uuapp.published

    def answer(self, command: str, answer: Answer) -> None:
        """Set what a command answers instead of its input.

        Args:
            command: the uuCmd.
            answer: an object, or a function that makes it of the input object.
        """
        self.uuapp.answers[command] = answer

    def expire_tokens(self) -> None:
        """Treat every token issued so far as expired; their ``exp`` says otherwise."""
        self.tokens.expire_all()

    def revoke_tokens(self) -> None:
        """Withdraw every token issued so far."""
        self.tokens.revoke_all()

    # -- outages

    def outage(self, kind: str = "refuse") -> None:
        """Go down: connections are refused, and those that live end; see `restore`.

        When it returns, no request is being processed any more.

        Args:
            kind: ``refuse`` is the only one so far.

        Raises:
            ValueError: there is no such kind.
            RuntimeError: the sandbox does not run.
        """
        if kind != "refuse":
            raise ValueError(f"no outage of kind {kind!r}; there is 'refuse'")
        with self._switch:
            self._running().refuse()
            self.drop_connections()
            self._connections.join()
        self.notify()

    def restore(self) -> None:
        """Come back after an outage, on the same port; nothing happens without one.

        Raises:
            RuntimeError: the sandbox does not run.
        """
        with self._switch:
            self._running().accept()
        self.notify()

    @property
    def down(self) -> bool:
        """Whether it is in an outage."""
        listener = self._listener
        return listener is not None and not listener.accepting

    def clear(self) -> None:
        """End all faults and an outage, and show the good certificate again."""
        self.faults.clear()
        self.restore()
        self.use_certificate("valid")

    def drop_connections(self) -> None:
        """End all connections; new ones are welcome."""
        self._connections.drop()
        self.faults.wake()

    def use_certificate(self, kind: str) -> None:
        """Show new connections another certificate.

        Args:
            kind: one of `CERTIFICATE_KINDS`.

        Raises:
            ValueError: there is no such kind.
        """
        self._certificates.context(kind)
        self.certificate = kind
        self.notify()

    # -- scripts

    def play(self, script: Script) -> None:
        """Begin a script: its seconds count from now, on the sandbox's clock.

        Args:
            script: takes the place of one that is under way, whose faults stay.

        Raises:
            RuntimeError: the sandbox does not run.
        """
        self._running()
        self._end_script()
        self.timeline = Timeline(script, self)
        self.timeline.start()

    @property
    def script_done(self) -> bool:
        """Whether no step of a script, nor the end of one, is still to come."""
        return self.timeline is None or self.timeline.done

    def _end_script(self) -> None:
        if self.timeline is not None:
            self.timeline.stop()

    # -- within

    def _running(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the sandbox does not run; call start() first")
        return self._listener

    def _connection(self, sock: socket.socket) -> Connection:
        return Connection(
            sock,
            self.records.add_connection(),
            self._certificates.context(self.certificate),
            self.uuapp,
            self.faults,
            self.records,
            self._now,
        )

    def notify(self) -> None:
        """Call `on_change`, after something was changed behind the sandbox's back."""
        if self.on_change is not None:
            self.on_change()

    def _write_ca(self) -> None:
        directory = self._directory
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="uun-iot-sandbox-")
            directory = self._temporary.name
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "ca.pem")
        self._certificates.write_ca(path)
        self._ca_file = path

    def _clean_up(self) -> None:
        self._ca_file = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
