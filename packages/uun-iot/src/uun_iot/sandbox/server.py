"""The sandbox: a whole uuApp on a port of this machine, under HTTPS, with faults on demand."""

from __future__ import annotations

import copy
import logging
import os
import socket
import tempfile
import threading
import time
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, Union

from .certificates import Certificates
from .connection import Connection
from .faults import Faults
from .listener import Listener
from .records import Records, Request
from .tokens import Tokens
from .uuapp import GET_CONFIGURATION, GRANT, HEARTBEAT, Answer, Credentials, UuApp

__all__ = ["Sandbox"]

logger = logging.getLogger("uun_iot.sandbox")

#: for how long (seconds) `stop` and `outage` wait for the threads of connections
_JOIN_TIMEOUT = 10.0


class Sandbox:
    """A uuApp with its token service, to run a gateway against; a context manager.

    >>> with Sandbox() as sandbox:
    ...     config = sandbox.configuration(token_path="oidc-token")
    ...     sandbox.faults.add("status", status=503, times=2).kind
    'status'

    Whoever talks to it must trust the authority in `ca_file`, for example by
    ``REQUESTS_CA_BUNDLE``. It keeps its port, authority and credentials over `stop` and
    `start`.

    Attributes:
        faults: what goes wrong with requests; see `Fault`.
        records: what arrived; `requests`, `received` and `wait_for` read it.
        tokens: issues tokens; its ``lifetime`` (seconds) may be changed.
        uuapp: answers requests.

    Args:
        port: 0 for any free one.
        directory: where ``ca.pem`` is written; by default a temporary one, removed at `stop`.
        token_lifetime: seconds.
        now: wall-clock seconds since 1970, for tokens, ``Date`` and records.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        port: int = 0,
        *,
        directory: Optional[Union[str, "os.PathLike[str]"]] = None,
        token_lifetime: float = 1800,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._port = port
        self._directory = directory
        self._temporary: Optional[tempfile.TemporaryDirectory[str]] = None
        self._now = now
        self._certificates = Certificates()
        self._certificate = "valid"
        self.faults = Faults()
        self.records = Records()
        self.tokens = Tokens(token_lifetime, now)
        self.uuapp = UuApp(self.tokens, Credentials())
        self._switch = threading.Lock()  # start, stop, outage and restore take turns
        self._listener: Optional[Listener] = None
        self._ca_file: Optional[str] = None
        self._connections: Dict[int, Tuple[Connection, threading.Thread]] = {}
        self._connections_lock = threading.Lock()

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
                self._listener = Listener(self.host, self._port, self._accepted)
            except BaseException:
                self._clean_up()
                raise
            self._port = self._listener.port
            self.uuapp.gateways.update({f"localhost:{self._port}", f"127.0.0.1:{self._port}"})

    def stop(self) -> None:
        """End all connections, let go of the port, and wait for what was started."""
        with self._switch:
            if self._listener is None:
                return
            self._listener.close()
            self._listener = None
            self.faults.clear()
            self.drop_connections()
            self._join_connections()
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
        return f"localhost:{self._port}"

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
    ) -> Dict[str, Any]:
        """Return the content of a gateway's ``config.json`` for this sandbox.

        Args:
            token_path: where the gateway keeps its token.
            gateway: the ``gateway`` part; left out where it is None.
            commands: further entries of ``uuCmdList``, name to uuCmd.
        """
        known = self.uuapp.credentials
        config: Dict[str, Any] = {
            "uuApp": {
                "gateway": self.gateway,
                "uuAppName": self.uuapp.name,
                "awid": self.uuapp.awid,
                "uuCmdList": {
                    "gatewayHeartbeat": HEARTBEAT,
                    "gatewayGetConfiguration": GET_CONFIGURATION,
                    **(commands or {}),
                },
            },
            "uuThing": {
                "uuIdentity": known.identity,
                "accessCode1": known.access_code1,
                "accessCode2": known.access_code2,
            },
            "oidcGrantToken": {
                "gateway": self.gateway,
                "uuAppName": self.uuapp.oidc_name,
                "awid": self.uuapp.oidc_awid,
                "clientId": known.client_id,
                "clientSecret": known.client_secret,
                "uuCmd": GRANT,
                "tokenPath": token_path,
            },
        }
        if gateway is not None:
            config = {"gateway": copy.deepcopy(dict(gateway)), **config}
        return config

    @property
    def secrets(self) -> List[str]:
        """What must never be seen: access codes, client secret, every token issued so far."""
        known = self.uuapp.credentials
        codes = [known.access_code1, known.access_code2, known.client_secret]
        return codes + self.tokens.given_out

    # -- what the application does

    def publish(self, configuration: Mapping[str, Any]) -> None:
        """Change what ``gateway/getConfiguration`` answers; at first that is nothing.

        Args:
            configuration: the ``gateway`` part of a gateway's configuration.
        """
        self.uuapp.publish(configuration)

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

    # -- what arrived

    @property
    def requests(self) -> List[Request]:
        """All requests so far (a copy)."""
        return self.records.requests

    @property
    def grants(self) -> int:
        """How many tokens were granted."""
        return len(self.received(GRANT))

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted."""
        return self.records.connections

    @property
    def handshakes(self) -> int:
        """How many TLS handshakes were completed."""
        return self.records.handshakes

    @property
    def on_request(self) -> Optional[Callable[[Request], object]]:
        """Called with each request, in its connection's thread, before the reply goes out."""
        return self.records.on_request

    @on_request.setter
    def on_request(self, callback: Optional[Callable[[Request], object]]) -> None:
        self.records.on_request = callback

    def received(self, command: str) -> List[Dict[str, Any]]:
        """Return the input objects of a command's processed requests, in order.

        Args:
            command: the uuCmd, for example ``gateway/heartbeat``.
        """
        return self.records.received(command)

    def wait_for(self, predicate: Callable[[], object], timeout: float = 10.0) -> bool:
        """Wait until something that arrives makes a predicate true.

        Args:
            predicate: called without arguments, now and after each arrival.
            timeout: seconds.

        Returns:
            Whether it became true in time.
        """
        return self.records.wait_for(predicate, timeout)

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
            self._join_connections()

    def restore(self) -> None:
        """Come back after an outage, on the same port; nothing happens without one.

        Raises:
            RuntimeError: the sandbox does not run.
        """
        with self._switch:
            self._running().accept()

    def drop_connections(self) -> None:
        """End all connections; new ones are welcome."""
        with self._connections_lock:
            connections = [connection for connection, _ in self._connections.values()]
        for connection in connections:
            connection.drop()
        self.faults.wake()

    def use_certificate(self, kind: str) -> None:
        """Show new connections another certificate.

        Args:
            kind: one of `CERTIFICATE_KINDS`.

        Raises:
            ValueError: there is no such kind.
        """
        self._certificates.context(kind)
        self._certificate = kind

    # -- within

    def _running(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the sandbox does not run; call start() first")
        return self._listener

    def _accepted(self, sock: socket.socket) -> None:
        number = self.records.add_connection()
        connection = Connection(
            sock,
            number,
            self._certificates.context(self._certificate),
            self.uuapp,
            self.faults,
            self.records,
            self._now,
        )
        thread = threading.Thread(
            target=self._serve, args=(connection,), name=f"sandbox-{number}", daemon=True
        )
        with self._connections_lock:
            self._connections[number] = (connection, thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._connections_lock:
                self._connections.pop(connection.number, None)

    def _join_connections(self) -> None:
        deadline = time.monotonic() + _JOIN_TIMEOUT
        with self._connections_lock:
            threads = [thread for _, thread in self._connections.values()]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))
                if thread.is_alive():
                    logger.warning(
                        "%s still runs, %.0f s after its connection was ended",
                        thread.name,
                        _JOIN_TIMEOUT,
                    )

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
