"""`Console`: serves the web console of a sandbox on a loopback port of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, List, Optional, Type

from ..extra import missing_extra
from ..overview import Overview
from ..server import Sandbox

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Console"]

logger = logging.getLogger("uun_iot.sandbox")

#: it shows and does everything, to whoever reaches it: nobody beyond this machine shall
HOST = "127.0.0.1"
_PATIENCE = 10.0


class Console:
    """The web console of a sandbox; a context manager.

    It has a port of its own and speaks plain HTTP there: it must answer while the uuApp
    refuses connections, and no browser trusts the uuApp's authority. It listens on loopback
    only, answers only to loopback names, and changes nothing for pages of other origins.

    Args:
        sandbox: that it shows; must run while anybody looks.
        port: 0 for any free one.

    Raises:
        ModuleNotFoundError: the extra is not installed; the text says how.
    """

    def __init__(self, sandbox: Sandbox, port: int = 0) -> None:
        missing = missing_extra()
        if missing is not None:
            raise ModuleNotFoundError(missing)
        from .feed import Feed

        self._sandbox = sandbox
        self._port = port
        self._overview = Overview()
        self._feed = Feed()
        self._watching = False
        self._server: Optional[uvicorn.Server] = None
        self._socket: Optional[socket.socket] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first `start`, unless one was given."""
        return self._port

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self._port}/"

    def start(self) -> None:
        """Begin to serve; nothing happens where it does already.

        Raises:
            OSError: the port is taken.
            RuntimeError: the server does not start.
        """
        if self._thread is not None:
            return
        import uvicorn

        from .app import make_app

        self._socket = self._bind()
        self._port = self._socket.getsockname()[1]
        self._sandbox.uuapp.home = f"The console of this sandbox is at {self.url} on its machine."
        self._watch()
        app = make_app(self._sandbox, self._overview, self._feed)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        ready = threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
                await super().startup(sockets)
                # when its main loop waits: told to end before that, it would cancel the
                # application in the middle, with a stack trace in the log
                asyncio.get_running_loop().call_soon(ready.set)

        self._server = Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="sandbox-console",
            daemon=True,
        )
        self._thread.start()
        if not ready.wait(_PATIENCE) or not self._server.started:
            self.stop()
            raise RuntimeError("the web console does not start; the log says why")

    def stop(self) -> None:
        """End all connections, let go of the port, and wait for the server's thread."""
        if self._thread is None or self._server is None or self._socket is None:
            return
        self._server.should_exit = True
        self._feed.close()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            logger.warning(
                "the web console still runs, %.0f s after it was told to stop", _PATIENCE
            )
        self._socket.close()
        self._server = self._socket = self._thread = None

    def __enter__(self) -> Console:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        """See what arrives from now on, and what had arrived before."""
        if self._watching:
            return
        self._watching = True
        self._sandbox.records.observe(self._overview.add)
        self._sandbox.records.tell(self._feed.notify)
        self._sandbox.on_change = self._changed
        self._changed()

    def _changed(self) -> None:
        sandbox = self._sandbox
        troubled = bool(sandbox.faults.in_force()) or sandbox.certificate != "valid"
        self._overview.note_trouble(sandbox.clock.time(), sandbox.down, troubled)
        self._feed.notify()

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, self._port))
            sock.listen(64)  # who comes before the server is ready waits for it
        except OSError as exc:
            sock.close()
            raise OSError(
                exc.errno, f"the console cannot use port {self._port} of {HOST}: {exc.strerror}"
            ) from None
        return sock
