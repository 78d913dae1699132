"""`BaseHealthCheck`: watches whether modules still send, and records what they do."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from uun_iot_core import (
    SYSTEM_CLOCK,
    Clock,
    ConfigError,
    DiagnosticEvent,
    EvConfUpdate,
    GatewayDiagnosticEvent,
    GeneralDiagnosticEvent,
    module_id,
    on,
)
from uun_iot_core.logs import get_logger
from uun_iot_core.timers import period_problem
from uun_iot_core.typing import ModuleId
from uun_iot_storage import Module

__all__ = ["BaseHealthCheck"]

logger = get_logger(__name__)

#: entries of one diagnostic; older ones make room, so a diagnostic never fills the memory
MOST_ENTRIES = 10_000

#: stands for the gateway itself among the watched modules
GATEWAY = "gateway"


class _Diagnostic:
    """What was recorded of one module between start and save."""

    def __init__(self, begin: datetime) -> None:
        self.begin = begin
        self.entries: Deque[Tuple[datetime, str]] = deque(maxlen=MOST_ENTRIES)
        self.dropped = 0

    def add(self, when: datetime, line: str) -> None:
        self.dropped += len(self.entries) == MOST_ENTRIES
        self.entries.append((when, line))

    def text(self, mid: ModuleId, end: datetime) -> str:
        head = [f"Module: {mid}", f"Start: {_local(self.begin)}", f"End: {_local(end)}"]
        if self.dropped:
            head.append(f"Dropped: {self.dropped} older events")
        lines = [f"{_local(when)} {line}" for when, line in self.entries]
        return "\n".join([*head, "", *(lines or ["no events"]), ""])


class BaseHealthCheck(Module):
    """Base of a module that checks at run time whether other modules do their work.

    Watched modules report events through `notify`. Where a module has not tried to send for
    longer than its leeway, `_act_if_data_not_sent` first starts a diagnostic of it (a
    record of all its events), and the next time ends the process with SIGUSR1, so that its
    supervisor starts it anew. An application derives its own class, with a tick handler
    for each watched module::

        class HealthCheck(BaseHealthCheck):
            @on("tick", "weather")
            def check(self):
                self._act_if_data_not_sent("weather", self._leeways["weather"], datetime.now())

    Configuration::

        "healthCheck": {
            "diagnosticsPath": "diagnostics",
            "modules": {"weather": {"leeway": 120}}
        }

    A leeway (seconds) should be longer than the period of the watched module's timers.

    Args:
        gconfig: the ``gateway`` part of the configuration.
        on_stop: save all diagnostics when the gateway stops.
        on_update: take new leeways when the configuration is updated.
        clock: what elapsed time is read from.

    Raises:
        ConfigError: the module's part of the configuration is missing or not valid.
    """

    def __init__(
        self,
        gconfig: Dict[str, Any],
        on_stop: bool = True,
        on_update: bool = True,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        named = module_id(type(self))
        if not isinstance(getattr(type(self), "id", None), str) and named not in gconfig:
            self.id = "healthCheck"  # whatever the application calls its class
        super().__init__(config=gconfig)
        # two underscores: applications have attributes of their own, also with one
        self.__clock = clock
        self.__on_stop = on_stop
        self.__on_update = on_update
        self.__diagnostics_lock = threading.RLock()
        self.__diagnostics: Dict[ModuleId, _Diagnostic] = {}
        self._leeways: Dict[ModuleId, timedelta] = self.__read_leeways(gconfig)
        self.__started = clock.monotonic()
        self.__attempted: Dict[ModuleId, float] = {}

    def _configuration_problems(self, gateway: Dict[str, Any]) -> List[str]:
        """Tell the gateway what is wrong with a new configuration, before it is applied."""
        try:
            self.__read_leeways(gateway)
        except ConfigError as exc:
            return [str(exc)]
        return []

    def __read_leeways(self, gateway: Dict[str, Any]) -> Dict[ModuleId, timedelta]:
        part = gateway.get(self.id)
        place = f"gateway.{self.id}"
        if not isinstance(part, dict) or not isinstance(part.get("modules"), dict):
            raise ConfigError(
                f"{place}.modules: expected an object with the watched module ids as keys"
            )
        if not isinstance(part.get("diagnosticsPath"), str):
            raise ConfigError(f"{place}.diagnosticsPath: expected the path of a directory")
        leeways = {}
        for mid, settings in part["modules"].items():
            leeway = settings.get("leeway") if isinstance(settings, dict) else None
            problem = period_problem(leeway)
            if problem is not None:
                raise ConfigError(f"{place}.modules.{mid}.leeway: {problem}")
            if not mid or os.path.basename(mid) != mid or mid in (".", "..", GATEWAY):
                raise ConfigError(f"{place}.modules: a module cannot have the id {mid!r}")
            leeways[mid] = timedelta(seconds=min(float(leeway or 0), 1e9))
        return leeways

    @on("start")
    def _health_check_started(self, evs: Any) -> None:
        self.__started = self.__clock.monotonic()

    @on("stop")
    def _health_check_stopped(self) -> None:
        if self.__on_stop:
            self.save_all_diagnostics()

    @EvConfUpdate.subscribe_first
    def _health_check_updated(self, new_config: Dict[str, Any]) -> None:
        if not self.__on_update:
            return
        try:
            leeways = self.__read_leeways(new_config)
        except ConfigError as exc:
            logger.error("%s; the present leeways stay", exc)
            return
        self._leeways.update(leeways)

    # -- events ---------------------------------------------------------------------------------

    def notifier(self, mid: ModuleId) -> Callable[..., None]:
        """Return `notify` with the module filled in.

        Args:
            mid: id of a watched module.

        Raises:
            ValueError: the module is not watched.
        """
        self.__check_watched(mid)
        return partial(self.notify, mid)

    def notify(
        self, mid: ModuleId, event: GeneralDiagnosticEvent, *args: Any, **kwargs: Any
    ) -> None:
        """Take note of an event of a module.

        Args:
            mid: id of a watched module, or ``"gateway"``.
            event: what happened.
            args: recorded with the event while a diagnostic of the module runs.
            kwargs: likewise.

        Raises:
            ValueError: the module is not watched, or the event is none.
        """
        if mid != GATEWAY:
            self.__check_watched(mid)
        if not isinstance(event, GeneralDiagnosticEvent):
            raise ValueError(
                f"notify(`{mid}`, …): expected a diagnostic event, got {type(event).__name__}"
            )
        with self.__diagnostics_lock:
            if event is DiagnosticEvent.DATA_SEND_ATTEMPTED:
                self.__attempted[mid] = self.__clock.monotonic()
            diagnostic = self.__diagnostics.get(mid)
            if diagnostic is not None:
                details = [*map(str, args), *(f"{key}={value}" for key, value in kwargs.items())]
                diagnostic.add(self.__now(), " ".join([event.name, ", ".join(details)]).rstrip())

    def __check_watched(self, mid: ModuleId) -> None:
        if mid not in self._leeways:
            raise ValueError(
                f"module `{mid}` is not watched; add it to gateway.{self.id}.modules "
                f"(there are: {', '.join(sorted(self._leeways))})"
            )

    # -- diagnostics ------------------------------------------------------------------------------

    def start_diagnostic(self, mid: ModuleId) -> None:
        """Begin to record all events of a module; does nothing where that is so already.

        Args:
            mid: id of a watched module.

        Raises:
            ValueError: the module is not watched.
        """
        self.__check_watched(mid)
        with self.__diagnostics_lock:
            if mid in self.__diagnostics:
                return
            self.__diagnostics[mid] = _Diagnostic(self.__now())
            self.notify(mid, DiagnosticEvent.DIAGNOSTICS_START)

    def save_diagnostic(self, mid: ModuleId) -> None:
        """End the diagnostic of a module and save it; does nothing where none runs.

        The file is ``<diagnosticsPath>/<mid>/<mid>_diagnostic_<local time>.log``. One that
        cannot be written is logged.

        Args:
            mid: id of a watched module.

        Raises:
            ValueError: the module is not watched.
        """
        self.__check_watched(mid)
        with self.__diagnostics_lock:
            if mid not in self.__diagnostics:
                return
            self.notify(mid, DiagnosticEvent.DIAGNOSTICS_STOP)
            diagnostic = self.__diagnostics.pop(mid)
        end = self.__now()
        try:
            path = self.__write(mid, end, diagnostic.text(mid, end))
        except OSError as exc:
            logger.error("the diagnostic of `%s` cannot be saved: %s", mid, exc)
        else:
            logger.info("the diagnostic of `%s` is saved in %s", mid, path)

    def save_all_diagnostics(self) -> None:
        """End and save every diagnostic that runs."""
        for mid in sorted(self._leeways):
            self.save_diagnostic(mid)

    def __write(self, mid: ModuleId, end: datetime, text: str) -> str:
        directory = os.path.join(self._config[self.id]["diagnosticsPath"], mid)
        os.makedirs(directory, exist_ok=True)
        name = f"{mid}_diagnostic_{end.astimezone():%Y-%m-%d_%H-%M-%S}"
        number = 0
        while True:
            suffix = f"_{number}" if number else ""
            path = os.path.join(directory, f"{name}{suffix}.log")
            try:
                with open(path, "x", encoding="utf-8") as file:
                    file.write(text)
                return path
            except FileExistsError:
                number += 1

    # -- the check ------------------------------------------------------------------------------

    def _act_if_data_not_sent(
        self, mid: ModuleId, send_leeway: timedelta, now: Optional[datetime] = None
    ) -> None:
        """Act where a module has not tried to send within a leeway.

        What counts is the last ``DATA_SEND_ATTEMPTED``, or the start of the gateway where
        there was none. The first time a diagnostic of the module is started; the next time
        the process gets SIGUSR1. Otherwise a running diagnostic is saved.

        Args:
            mid: id of a watched module.
            send_leeway: how long ago the last attempt may be.
            now: the present moment; naive datetimes are local time.
        """
        self.__check_watched(mid)
        last = self.__attempted.get(mid, self.__started)
        elapsed = self.__clock.monotonic() - last
        if now is not None:
            # Measured on the monotonic clock, so that setting the wall clock restarts no
            # device; `now` counts by how far it is from the present.
            elapsed += now.timestamp() - self.__clock.time()
        if elapsed <= send_leeway.total_seconds():
            self.save_diagnostic(mid)
        elif mid not in self.__diagnostics:
            logger.warning("module `%s` has not tried to send for %.0f s", mid, elapsed)
            self.start_diagnostic(mid)
        else:
            logger.error(
                "module `%s` has still not tried to send, for %.0f s: ending the process with "
                "SIGUSR1, so that its supervisor starts it anew",
                mid,
                elapsed,
            )
            self.notify(mid, GatewayDiagnosticEvent.GATEWAY_SIGNAL, "SIGUSR1")
            self.notify(GATEWAY, GatewayDiagnosticEvent.GATEWAY_SIGNAL, "SIGUSR1")
            if not hasattr(signal, "SIGUSR1"):
                raise RuntimeError("this system has no SIGUSR1; the health check needs POSIX")
            os.kill(os.getpid(), signal.SIGUSR1)

    def __now(self) -> datetime:
        return datetime.fromtimestamp(self.__clock.time()).astimezone()


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="milliseconds")
