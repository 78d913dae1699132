"""`Config`: the gateway's configuration, and taking a new one from the uuApp."""

from __future__ import annotations

import json
import logging
import os
import threading
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Union,
)

from .config import canonical, load_config, problems
from .events.base import EventType, find_handlers
from .events.calling import running_here
from .events.decorators import on
from .events.update import EvConfUpdate
from .exceptions import json_type
from .files import StagedFile, atomic_write
from .forks import watch_forks
from .logs import get_logger
from .no_trial import NoTrial
from .polls import Polls
from .rollback import Trial
from .savable import content_of, not_savable, pretty, same, settled
from .timers import period_problem
from .trial_file import FILE_MODE
from .typing import IModule

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Config"]

logger = get_logger(__name__)


class Config(IModule):
    """The configuration of a gateway, and its update from the uuApp.

    An update is applied whole or not at all. It is fetched, parsed and validated, the file is
    replaced, the live configuration takes the new values in place (modules hold references
    to it), timers are re-armed, and the ``update`` handlers are called. The file comes first
    of what changes, since writing it is what may fail. The configuration before is kept, and
    comes back if the process ends badly again and again: see `rollback`.

    Args:
        gateway_instance: the gateway whose configuration this is.
        config_file: path of the JSON file; None for an empty configuration that is not kept.

    Raises:
        ConfigError: the file is missing, damaged or not valid.
    """

    id: str = "config"

    def __init__(self, gateway_instance: Gateway, config_file: Optional[str]) -> None:
        self.g = gateway_instance
        # absolute, since the application may change its working directory later
        self._path = "" if config_file is None else os.path.abspath(config_file)
        self.trial: Union[Trial, NoTrial]
        #: the live configuration, one object for as long as the gateway lives
        self.config: Dict[str, Any]
        if config_file is None:
            self.trial, self.config = NoTrial(), {"gateway": {}}
        else:
            self.trial = Trial(self._path, gateway_instance._clock)
            to_load = self.trial.open()
            try:
                self.config = load_config(config_file if to_load == self._path else to_load)
            except BaseException:
                self.trial.failed()
                raise
        #: when the last update was taken, or the file was written before; wall-clock seconds
        self.updated = os.path.getmtime(self._path) if self._path else None
        self.event = EvConfUpdate(self.config)
        self._asking = threading.RLock()  # what is fetched first is applied first
        self._saving = threading.Lock()
        self._saved = canonical(self.config)
        self._accepted: Optional[str] = None  # the last reply that was taken
        self._refused: Optional[str] = None  # the last that was not valid, or its type
        self._left_out: List[str] = []
        self._reachable = True
        self._polls = Polls()
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: threads that are no more may hold the locks."""
        self._asking, self._saving = threading.RLock(), threading.Lock()

    def register_callbacks(self, modules: Union[Mapping[str, Any], Iterable[Any]]) -> None:
        """Register the ``update`` handlers of modules, in place of those registered before.

        Args:
            modules: the modules, or a dictionary of them by id.
        """
        self.event.clear_handlers()
        for module in modules.values() if isinstance(modules, Mapping) else modules:
            self.event.add_handlers(
                (handler, info)
                for handler, info in find_handlers(module)
                if info.event_type is EventType.CONF_UPDATE
            )

    @on("tick")
    def on_tick(self) -> None:
        """Get the configuration from the uuApp and apply it, if it is a new one.

        What cannot be used is logged and changes nothing. While calls fail, ticks are skipped
        in growing runs (1, 3, 7, …), of an hour at most; a call by hand never is. Threads that
        call at once take turns.
        """
        called_by = [(info.event_type, info.owner_id) for info in running_here()[-1:]]
        if called_by == [(EventType.TICK, self.id)] and self._polls.skip(self._period()):
            return
        with self._asking:
            reply = self._fetch()
            if reply is not None:
                self._take(reply)

    # -- fetch ------------------------------------------------------------------------------

    def _fetch(self) -> Optional[Dict[str, Any]]:
        """Return the uuApp's reply without its error map, or None if there is no usable one."""
        commands = (self.config.get("uuApp") or {}).get("uuCmdList") or {}
        command = commands.get("gatewayGetConfiguration")
        client = self.g.uuapp_client
        if not command or client is None or not self._path:
            logger.debug("uuApp.uuCmdList.gatewayGetConfiguration is not set: nothing to ask")
            return None
        response, error = client.get(command, log_level=logging.DEBUG)
        if error is not None or response is None:
            # the first failure is worth a warning, the same ones after it are not
            level = logging.WARNING if self._reachable else logging.DEBUG
            logger.log(level, "the configuration cannot be fetched: %s", error)
            self._reachable = False
            self._polls.failed(self._period())
            return None
        self._polls.succeeded()
        if not self._reachable:
            logger.info("the configuration can be fetched again")
            self._reachable = True
        try:
            reply = response.json()
        except (ValueError, RecursionError):
            reply, shown = None, "something else than JSON"
        else:
            shown = json_type(reply)
        if not isinstance(reply, dict):
            if self._refused != shown:  # a broken server would say it at each poll
                logger.error(
                    "`%s` answered with %s instead of an object; the configuration stays",
                    command,
                    shown,
                )
            self._refused = shown
            return None
        reply.pop("uuAppErrorMap", None)  # of the call, not of the configuration
        return reply

    def _period(self) -> float:
        """Return the seconds between two ticks."""
        timers = (self.config.get("gateway") or {}).get("moduleTimers") or {}
        period = timers.get(self.id, inf) if isinstance(timers, dict) else inf
        return inf if period_problem(period) else float(period)  # a handler may have broken it

    # -- apply ------------------------------------------------------------------------------

    def _take(self, reply: Dict[str, Any]) -> None:
        text = canonical(reply)
        self.event.retry(after=self._save_if_changed)
        if text in (self._accepted, self._refused) or not reply:
            return
        if self._accepted is None and self.trial.was_accepted(text):  # by an earlier process
            self._accepted = text
            return
        if self.trial.rejects(text):
            self._refused = text
            logger.warning(
                "the configuration from the uuApp is the one that was rolled back; it is not taken"
            )
            return
        old = self.config.setdefault("gateway", {})
        new = self._completed(old, reply)
        found = problems({**self.config, "gateway": new}, self._path) or self.g._misfits(new)
        if not found and not _is_json(reply):
            found = ["gateway: expected JSON, which knows neither NaN nor infinities"]
        if found:
            self._refused = text
            logger.error(
                "the configuration from the uuApp is refused, nothing was changed: %s",
                "; ".join(found),
            )
            return
        changed = settled(
            lambda: [key for key in new if key not in old or not same(old[key], new[key])]
        )
        if changed:
            with self.g._reloading():
                applied = self._apply(new, changed, text)
            if not applied:
                return
        self._accepted, self._refused = text, None
        if changed:
            logger.info("configuration updated: %s", ", ".join(changed))
            self.event.announce(after=self._save_if_changed)

    def _completed(self, old: Dict[str, Any], reply: Dict[str, Any]) -> Dict[str, Any]:
        """Return the reply with what it leaves out taken from the present configuration."""
        left_out = [key for key in old if key not in reply]
        new = {**old, **reply}
        timers, old_timers = new.get("moduleTimers"), old.get("moduleTimers")
        if isinstance(timers, dict) and isinstance(old_timers, dict):
            # without this period the device would never ask again
            if self.id in old_timers and self.id not in timers:
                new["moduleTimers"] = {**timers, self.id: old_timers[self.id]}
                left_out.append(f"moduleTimers.{self.id}")
        if left_out and left_out != self._left_out:
            logger.warning(
                "the configuration from the uuApp leaves out gateway.%s; the present value is kept",
                ", gateway.".join(left_out),
            )
        self._left_out = left_out
        return new

    def _apply(self, new: Dict[str, Any], changed: List[str], reply: str) -> bool:
        """Apply new values of ``gateway`` in memory and on disk; False if that failed."""
        gateway = self.config["gateway"]
        with self._saving:
            whole = {**self.config, "gateway": {**gateway, **new}}
            broken = settled(lambda: not_savable(whole))
            if broken:
                logger.error(
                    "an update handler left a configuration that cannot be saved (%s), so the one "
                    "from the uuApp is not applied",
                    broken,
                )
                return False
            text = settled(lambda: pretty(whole))
            try:
                # what may fail for want of space or rights comes before any other change
                with StagedFile(self._path, text, FILE_MODE) as staged:
                    self._keep_edits()
                    self.trial.take(text, reply, self._saved)
                    try:
                        staged.commit()
                    except BaseException:
                        self.trial.withdraw()
                        raise
            except OSError as exc:
                logger.error(
                    "the configuration from the uuApp cannot be saved, nothing was changed: %s: %s",
                    self._path,
                    exc.strerror,
                )
                return False
            # of the text, since a handler that still runs may have changed the values meanwhile
            self._saved = canonical(json.loads(text))
            gateway.update((key, new[key]) for key in changed)
            self.updated = self.g._clock.time()
            self._accepted = reply
            if "moduleTimers" in changed:
                self.g._rearm_timers()
        for key in ("moduleBackupStorage", "socket", "timerSpread"):
            if key in changed:
                logger.info("gateway.%s has changed: it takes effect at the next start", key)
        return True

    def _keep_edits(self) -> None:
        """Keep a file that somebody has edited since it was read, before it is replaced."""
        content, is_known = content_of(self._path, self._saved)
        if is_known or not content:
            return
        kept = f"{self._path}.edited"
        try:
            atomic_write(kept, content, FILE_MODE)
        except OSError as exc:
            kept = f"nowhere, since {kept} cannot be written ({exc.strerror})"
        logger.warning(
            "%s was edited since it was read; the update from the uuApp replaces it, and what it "
            "held is kept in %s",
            self._path,
            kept,
        )

    def _save_if_changed(self) -> None:
        """Save what an update handler changed in the live configuration."""
        with self._saving:
            try:
                text = settled(lambda: canonical(self.config))
                if text == self._saved:
                    return
                found = problems(self.config, self._path) or self.g._misfits(
                    self.config.get("gateway", {})
                )
                if found:
                    logger.error(
                        "an update handler left a configuration that is not valid; "
                        "it is not saved: %s",
                        "; ".join(found),
                    )
                    return
                whole = pretty(self.config)
                self.trial.saved_again(whole, self._accepted)
                atomic_write(self._path, whole, FILE_MODE)
                self._saved = text
                if "moduleTimers" in self.config.get("gateway", {}):
                    self.g._rearm_timers()
            except (TypeError, ValueError, RuntimeError) as exc:
                logger.error(
                    "what an update handler made of the configuration cannot be saved as JSON (%s)",
                    type(exc).__name__,
                )
            except OSError as exc:
                logger.error("the configuration cannot be saved: %s: %s", self._path, exc.strerror)


def _is_json(value: Any) -> bool:
    """Return whether other programs can read it, too: Python takes more than JSON has."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
