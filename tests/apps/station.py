"""The published weather station as a process, its files, and the account of its entries."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Type

from tests.support.backup import on_disk
from tests.support.processes import Child
from tests.support.sandbox import Sandbox
from tests.support.wait import eventually

from .console import CLOSED, WeatherConsole

SCRIPT = "uun-weatherstation"
ADD = "weatherConditions/add"
TIMEOUT = 30.0
#: seconds to wait for what an application does, with one of its own time-outs in it
PATIENCE = 2 * TIMEOUT


class Account(NamedTuple):
    """What became of the entries.

    Args:
        produced: serials that the application had stored, see `Station.account`.
        delivered: serials in the order in which the uuApp took them in.
        stored: serials in the backup file.
    """

    produced: Set[int]
    delivered: List[int]
    stored: List[int]

    @property
    def duplicated(self) -> Set[int]:
        return {serial for serial, count in Counter(self.delivered).items() if count > 1}

    @property
    def lost(self) -> Set[int]:
        return self.produced - set(self.delivered) - set(self.stored)


class Station:
    """A directory with the application's configuration, in which it is run.

    The configuration is the application's own sample, with the addresses and credentials of
    the stand-ins and with short periods.

    Attributes:
        config: what `start` writes for the first run; a test may change it before.
        console: the weather console that it reads.

    Args:
        installed: the directory that the application is installed in.
        directory: where it runs.
        uuapp: the server that it sends to.
        console: the weather console that it reads.
        health: keep the parts of the sample that are for the health check.
    """

    def __init__(
        self,
        installed: Path,
        directory: Path,
        uuapp: Sandbox,
        console: WeatherConsole,
        health: bool = False,
    ) -> None:
        self.directory = directory
        self.config_path = directory / "config.json"
        self.backup_path = directory / "backup" / "weatherConditions.json"
        self.token_path = directory / "oidc-token"
        self.diagnostics_path = directory / "diagnostics" / "weatherConditions"
        self._installed = installed
        self._uuapp = uuapp
        self.console = console
        self._found_stored: Set[int] = set()
        self.config = self._configuration(health)

    def sample(self) -> Dict[str, Any]:
        """Return the configuration that the application brings as a sample."""
        path = self._installed / "uun_weatherstation" / "data" / "sample-config.json"
        sample: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return sample

    def _configuration(self, health: bool) -> Dict[str, Any]:
        config = self.sample()
        ours = self._uuapp.configuration(
            token_path=config["oidcGrantToken"]["tokenPath"],
            commands={"weatherConditionsAdd": config["uuApp"]["uuCmdList"]["weatherConditionsAdd"]},
        )
        assert shape(ours) == shape({key: config[key] for key in ours})
        config.update(ours)
        gateway = config["gateway"]
        gateway["moduleTimers"].update(
            heartbeat=0.2,
            config=0.2,
            weatherConditions={"get": 0.05, "send": 0.1},
            healthCheck={"weatherConditions": 0.2},
        )
        gateway["moduleBackupStorage"]["weatherConditions"]["limit"] = 100_000
        gateway["weatherConditions"].update(ipAddress=self.console.url, timeout=TIMEOUT)
        gateway["healthCheck"]["modules"]["weatherConditions"]["leeway"] = 2 * TIMEOUT
        if not health:
            del gateway["healthCheck"], gateway["moduleTimers"]["healthCheck"]
        return config

    @property
    def gateway(self) -> Dict[str, Any]:
        """The ``gateway`` part of the configuration for the first run."""
        part: Dict[str, Any] = self.config["gateway"]
        return part

    def changed_gateway(self, **timers: Any) -> Dict[str, Any]:
        """Return a copy of the ``gateway`` part with other timers, to be published."""
        gateway = copy.deepcopy(self.gateway)
        gateway["moduleTimers"].update(timers)
        return gateway

    # -- running

    def start(self, *arguments: str) -> Run:
        """Run the application's console script; later runs find the files of earlier ones.

        Args:
            arguments: of its command line.
        """
        if not self.config_path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            self.config_path.write_text(json.dumps(self.config, indent=4), encoding="utf-8")
        self.console.begin_run()
        path = [str(self._installed), os.environ.get("PYTHONPATH", "")]
        env = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
        env.update(
            HOME=str(self.directory),
            PYTHONPATH=os.pathsep.join(filter(None, path)),
            PYTHONUNBUFFERED="1",
            PYTHONFAULTHANDLER="1",  # SIGABRT then shows the stack of each thread
        )
        script = str(self._installed / "bin" / SCRIPT)
        child = Child([sys.executable, script, *arguments], env=env, cwd=str(self.directory))
        return Run(self, child)

    # -- files

    def saved_config(self) -> Dict[str, Any]:
        """Return the configuration on the disk."""
        saved: Dict[str, Any] = json.loads(self.config_path.read_text(encoding="utf-8"))
        return saved

    def backup(self) -> List[Dict[str, Any]]:
        """Return the entries in the backup file and its journal."""
        try:
            entries = on_disk(self.backup_path)
        except FileNotFoundError:
            return []
        assert isinstance(entries, list)
        return entries

    # -- counting

    @property
    def delivered(self) -> List[int]:
        """The serials that the uuApp took in, in order."""
        return serials(self._uuapp.received(ADD))

    def note_stored(self) -> Set[int]:
        """Count what the backup file holds as produced, and return it; between runs."""
        stored = set(serials(self.backup()))
        self._found_stored |= stored
        return stored

    def account(self) -> Account:
        """Return what became of the entries; between runs.

        An entry counts as produced when the backup file held it after a run, or when a later
        request to the console shows that the application was done with storing it.
        """
        self.note_stored()
        produced = self.console.merged() | self._found_stored
        return Account(produced, self.delivered, serials(self.backup()))


class Run:
    """One process of the application; a context manager that ends it.

    Attributes:
        child: the process.
    """

    def __init__(self, station: Station, child: Child) -> None:
        self.child = child
        self._station = station

    @property
    def output(self) -> str:
        """All that it has written, to standard output and error."""
        return "\n".join([*self.child.lines, *self.child.errors])

    def until(self, predicate: Callable[[], object], what: str) -> None:
        """Wait until something is so.

        Args:
            predicate: called without arguments.
            what: says it in words, for the failure.

        Raises:
            AssertionError: it is not so in time, or the process has ended without it; the
                text holds its output.
        """
        process = self.child.process
        eventually(lambda: predicate() or process.poll() is not None, PATIENCE)
        if not predicate():
            status = process.poll()
            why = f"in {PATIENCE:.0f} s" if status is None else f"before the exit with {status}"
            if status is None:  # where its threads are
                self.child.signal(signal.SIGABRT)
                self.child.wait(TIMEOUT)
            lines = [one for one in self.output.splitlines() if "is unreachable" not in one]
            stored = serials(self._station.backup())
            said = "\n".join(lines)[-9000:]
            raise AssertionError(f"not so {why}: {what}; stored: {stored}\n{said}")

    def until_delivered(self, batches: int = 2) -> None:
        """Wait until the uuApp has taken in so many more samples, of four entries each."""
        before = len(self._station.delivered)
        self.until(
            lambda: len(self._station.delivered) >= before + 4 * batches,
            f"{batches} more samples delivered",
        )

    def until_drained(self) -> None:
        """Wait until nothing is stored; the console gives nothing new meanwhile."""
        self.until(lambda: self._station.backup() == [], "the backlog drained")

    def until_all_delivered(self) -> None:
        """Let the console give nothing more, and wait until what it gave has been delivered."""
        console = self._station.console
        console.behave(CLOSED)
        visits = len(console.visits)
        # the next request shows that what was given last is stored, see `WeatherConsole.merged`
        self.until(lambda: len(console.visits) > visits, "a request to the closed console")
        self.until_drained()

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        return self.end_by(signal.SIGTERM)

    def end_by(self, number: int) -> int:
        """Send a signal and return the exit status.

        Raises:
            AssertionError: it does not end; the text holds where each of its threads is.
        """
        self.child.signal(number)
        if eventually(lambda: self.child.process.poll() is not None, TIMEOUT):
            return self.child.wait(TIMEOUT)
        self.child.signal(signal.SIGABRT)
        self.child.wait(TIMEOUT)
        raise AssertionError(f"it runs {TIMEOUT:.0f} s after the signal\n{self.output[-9000:]}")

    def kill(self) -> Set[int]:
        """Send SIGKILL; return the serials that the backup file held then."""
        self.child.kill()
        assert self.child.wait(TIMEOUT) == -signal.SIGKILL
        return self._station.note_stored()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.child.close()


def serials(entries: Iterable[Dict[str, Any]]) -> List[int]:
    """Return the serial numbers of entries as the application makes them."""
    return [entry["lsid"] for entry in entries]


def shape(value: Any) -> Any:
    """Return a configuration with its values left out: what is compared is the keys."""
    return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else None
