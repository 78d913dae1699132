"""Gateways for a test: built from modules and a dictionary, stopped at its end."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Union

from uun_iot import Gateway
from uun_iot.exceptions import ConfigError
from uun_iot.sandboxed import moved, sandboxed
from uun_iot_core import Clock, load_config
from uun_iot_core.values import json_problem
from uun_iot_storage import Storage

from .delivery import Delivery, Key, Ledger
from .failures import Failure, Failures

if TYPE_CHECKING:
    from uun_iot.sandbox import Sandbox

__all__ = ["Gateways"]

Configuration = Union[Mapping[str, Any], str, "os.PathLike[str]"]


class Gateways:
    """Builds gateways for a test; called, it builds and starts one.

    Its files are below a folder of the test: a gateway made after another one was stopped finds
    what that has stored, as after a restart; one that is made while another one runs is another
    device, and has a folder of its own. A context manager: leaving it stops them, and fails if a
    handler has raised.

    Args:
        directory: of these files; it is made.
        clock: of the gateways.
        uuapp: whom they talk to; None for what their configuration says.
    """

    def __init__(self, directory: Path, clock: Clock, uuapp: Optional[Sandbox] = None) -> None:
        self._directory = directory
        self._clock = clock
        self._uuapp = uuapp
        self._ledger = Ledger()
        self._failures = Failures()
        self._made: List[Gateway] = []
        self._latest: Dict[Path, Gateway] = {}  # by its folder
        self._sockets: Optional[tempfile.TemporaryDirectory[str]] = None

    def __call__(
        self, modules: Any = None, config: Optional[Configuration] = None, *, start: bool = True
    ) -> Gateway:
        """Build a gateway, and start it.

        It is stopped at the end of the test, if the test has not done that.

        Args:
            modules: an ``init`` function, or a module, or a list of modules.
            config: the configuration, as a dictionary or the path of a file, which is not
                changed. What it says of the uuApp gives way to the test's ``uuapp``, and
                backup files go to a folder of the test. A dictionary without ``gateway`` and
                ``uuApp`` is the ``gateway`` part.
            start: False leaves that to the test.

        Raises:
            ConfigError, ModuleError: see `uun_iot.Gateway`.
        """
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps(self._turned(config, folder)), encoding="utf-8")
        gateway = Gateway(str(path), _init_of(modules), clock=self._clock)
        self._made.append(gateway)
        self._latest[folder] = gateway
        parts = [(name, getattr(part, "_storage", None)) for name, part in gateway._modules.parts()]
        storages = {id(one): (name, one) for name, one in parts if isinstance(one, Storage)}
        for name, storage in storages.values():  # one may be shared
            self._ledger.watch(name, storage)
        if start:
            gateway.start()
        return gateway

    def _folder(self) -> Path:
        """Return the first folder that no gateway uses."""
        folder = self._directory
        number = 1
        while folder in self._latest and not self._latest[folder].stopev.is_set():
            number += 1
            folder = self._directory.with_name(f"{self._directory.name}-{number}")
        return folder

    def _turned(self, config: Optional[Configuration], folder: Path) -> Dict[str, Any]:
        if config is None:
            whole: Dict[str, Any] = {"gateway": {}}
        elif isinstance(config, Mapping):
            whole = dict(config)
            if not {"gateway", "uuApp"} & whole.keys():
                whole = {"gateway": whole}
            problem = json_problem(whole, finite=False)  # NaN is for the validation
            if problem is not None:
                raise ConfigError(f"the configuration of the test: {problem}")
            whole = copy.deepcopy(whole)
        else:
            whole = load_config(os.fspath(config))
        whole.setdefault("gateway", {})
        if self._uuapp is None:
            turned = moved(whole, str(folder))
        else:
            turned = sandboxed(whole, self._uuapp, str(folder))
        socket = turned["gateway"].get("socket") if isinstance(turned["gateway"], dict) else None
        if isinstance(socket, dict) and isinstance(socket.get("path"), str):
            place = os.path.join(self._short(), folder.name)
            os.makedirs(place, exist_ok=True)
            socket["path"] = os.path.join(place, os.path.basename(socket["path"]))
        return turned

    def _short(self) -> str:
        """Return a folder for sockets, whose paths may be short only, unlike those of tests."""
        if self._sockets is None:
            self._sockets = tempfile.TemporaryDirectory(prefix="uun-")
        return self._sockets.name

    def stop(self) -> None:
        """Stop all gateways, the last one first."""
        for gateway in reversed(self._made):
            gateway.stop()
        if self._sockets is not None:
            self._sockets.cleanup()

    def __enter__(self) -> Gateways:
        self._failures.listen()
        return self

    def __exit__(self, exc_type: object, *exc: object) -> None:
        __tracebackhide__ = True
        try:
            self.stop()
        finally:
            self._failures.close()
        if exc_type is None:
            self._failures.check()

    def take_failures(self) -> List[Failure]:
        """Return what handlers have raised up to now; that does not fail the test any more.

        A gateway logs what its handlers raise, and goes on. What a test has not taken at its
        end, when the gateways are stopped, fails it.
        """
        return self._failures.take()

    def delivery(self, *, key: Optional[Key] = None) -> Delivery:
        """Return what became of all entries that the storages of the modules took.

        An entry is recognised where it arrives as the input of a command, or in a list within
        it: by its ``id``, else by all that it says.

        Args:
            key: what an entry is recognised by instead; called with an entry, and with what
                has arrived. What it raises `LookupError` for is no entry.

        Raises:
            RuntimeError: the test has no ``uuapp``.
        """
        return self._delivery(key)[0]

    def _delivery(self, key: Optional[Key]) -> "tuple[Delivery, List[Any]]":
        if self._uuapp is None:
            raise RuntimeError("entries are delivered to the fixture `uuapp`; ask for it, too")
        return self._ledger.delivery(self._uuapp, key)

    def assert_nothing_lost(self, *, key: Optional[Key] = None) -> Delivery:
        """Fail if an entry that a storage took has neither arrived nor is stored still.

        Also if none was taken: then there was nothing to lose.

        Args:
            key: see `delivery`.

        Returns:
            The figures, for further assertions.

        Raises:
            AssertionError: an entry is lost, or there was none.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        delivery, lost = self._delivery(key)
        if delivery.stored == 0:
            raise AssertionError("no storage took an entry: there was nothing to lose")
        if lost:
            shown = ", ".join(repr(entry)[:200] for entry in lost[:3])
            raise AssertionError(
                f"{delivery.lost} of {delivery.stored} entries are lost: they have neither arrived "
                f"at the uuApp nor are they stored; the first: {shown}"
            )
        return delivery


def _init_of(modules: Any) -> Optional[Callable[..., Any]]:
    """Return the ``init`` function that gives these modules."""
    if isinstance(modules, type):
        raise TypeError(
            f"expected a module or an `init` function, got the class {modules.__name__}"
        )
    if modules is None or (callable(modules) and getattr(modules, "id", None) is None):
        init: Optional[Callable[..., Any]] = modules
        return init
    return lambda config, uuclient: modules
