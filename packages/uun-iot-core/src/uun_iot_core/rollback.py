"""`Trial`: an updated configuration is on trial until it has shown that the gateway lives with it.

Two files stand beside the configuration, both for their owner alone:

``config.json.good``
    the configuration before the update, a plain copy to go back to
``config.json.update``
    what is known of the update: which content of the file is on trial and which reply it came
    from, with which of them a process has ended without a clean stop, which are not taken again;
    and which reply the file is of that an update handler has changed

They are written before the configuration is replaced, and the trial counts only while the
configuration has the very content that is on trial. So a power cut between any two steps
leaves either no trial or one that is complete, and what an administrator edits by hand is
never rolled back.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from typing import Any, Dict, List, Optional, Union

from .clock import Clock
from .config import load_config
from .exceptions import ConfigError
from .files import atomic_write
from .forks import watch_forks
from .logs import get_logger
from .process import is_failure, lives, moment, next_number, this_process
from .savable import content_of, pretty
from .timers import RepeatTimer
from .trial_file import FILE_MODE, read, remove, write, write_quietly

__all__ = ["Trial"]

logger = get_logger(__name__)

#: seconds after taking an update in which unclean ends count
TRIAL_SECONDS = 600.0
#: how many unclean ends lead back to the last good configuration
UNCLEAN_ENDS = 3
#: how many rejected replies are remembered
REMEMBERED = 16
#: nothing can be written beside the file, though the file itself can be
_NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM)


def _digest(content: Union[str, bytes]) -> str:
    import hashlib  # here, since it is 4 MB of a process that may never take an update

    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


class Trial:
    """Knows whether the configuration is on trial, and goes back to the last good one.

    Args:
        path: absolute path of the configuration file.
        clock: what the ten minutes are measured with.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._good = f"{path}.good"
        self._state = f"{path}.update"
        self._clock = clock
        self._process = this_process()
        self._holder = f"{self._process}/{next_number()}"
        self._lock = threading.RLock()
        watch_forks(self)
        self._timer: Optional[RepeatTimer] = None
        self._started = False
        self._known: Dict[str, Any] = read(self._state)
        #: whether the configuration was rolled back when this object was made
        self.rolled_back = False
        self._beside = False  # the file on trial stays, and is not what the process runs with

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread that is no more may hold the lock."""
        self._lock = threading.RLock()

    @property
    def _trial(self) -> Dict[str, Any]:
        trial: Dict[str, Any] = self._known.get("trial") or {}
        return trial

    @property
    def rejected(self) -> List[str]:
        """Digests of the replies that are not taken again."""
        found = self._known.get("rejected")
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def rejects(self, reply: str) -> bool:
        """Return whether a reply, as canonical JSON, is one that led to a roll-back."""
        rejected = self.rejected
        return bool(rejected) and _digest(reply) in rejected

    def was_accepted(self, reply: str) -> bool:
        """Return whether a reply is the one that the file is of, though handlers changed it."""
        accepted = self._known.get("accepted")
        return (
            isinstance(accepted, dict)
            and accepted.get("config") == self._present()
            and accepted.get("reply") == _digest(reply)
        )

    # -- the life of a process ------------------------------------------------------------------

    def open(self) -> str:
        """Look at how earlier processes ended, and go back if they ended badly too often.

        Returns:
            The path of the configuration to load: that of the file, unless it had to be rolled
            back and could not be written.
        """
        with self._lock:
            if not self._on_trial():
                self._known.pop("trial", None)
                return self._path
            trial = self._trial
            if trial["process"] is not None and not lives(trial["process"]):
                self._note_end()
                logger.info(
                    "%s: the process ended without a clean stop after an update, for the %d. "
                    "time; at the %d. the update is rolled back",
                    self._path,
                    len(trial["ends"]),
                    UNCLEAN_ENDS,
                )
                try:
                    write(self._state, self._known)
                except OSError as exc:
                    logger.warning("%s cannot be written: %s", self._state, exc.strerror)
                    if exc.errno not in _NO_PLACE:
                        # it could never be counted to the third; and what fills a disk may well
                        # be the update
                        return self._roll_back()
            if len(trial["ends"]) >= UNCLEAN_ENDS:
                return self._roll_back()
            if self._elapsed() >= TRIAL_SECONDS:
                self._pass()
            else:
                self._mark()
            return self._path

    def _on_trial(self) -> bool:
        """Return whether the trial is about the present content of the file."""
        return bool(self._trial) and self._present() in self._trial["configs"]

    def _present(self) -> str:
        """Return the digest of the file; "" where it cannot be read."""
        try:
            with open(self._path, "rb") as file:
                return _digest(file.read())
        except OSError:
            return ""

    def _note_end(self) -> None:
        """Note that a process has ended without a clean stop, and with which reply."""
        trial = self._trial
        trial["process"] = None
        trial["ends"] = [*trial["ends"], trial["configs"][self._present()]][-REMEMBERED:]
        trial["last_end"] = list(moment(self._clock))

    def _elapsed(self) -> float:
        """Return for how long the trial has been going on; it begins anew with a new boot."""
        trial, (boot, now) = self._trial, moment(self._clock)
        if trial.get("boot") == boot and now >= trial["since"]:
            return float(now - trial["since"])
        trial["boot"], trial["since"] = boot, now
        return 0.0

    def _mark(self) -> None:
        """Note that this process runs with the configuration on trial."""
        if self._trial["process"] is None:  # else another one that lives does
            self._trial["process"] = self._holder
            write_quietly(self._state, self._known)

    def started(self) -> None:
        """Note that the gateway has started; let the trial end when its time is over."""
        with self._lock:
            if self._process != this_process():  # built before a fork, started in the child
                if self._trial.get("process") == self._holder:
                    self._trial["process"] = None
                self._process = this_process()
                self._holder = f"{self._process}/{next_number()}"
            self._started = True
            if self._trial and not self._beside:
                self._mark()
                self._watch()

    def ended(self, clean: bool) -> None:
        """Note that the gateway has stopped.

        Args:
            clean: whether it was meant to.
        """
        if self._process != this_process():
            return  # a forked child; the gateway is its parent's
        with self._lock:
            self._started = False
            timer, self._timer = self._timer, None
            if clean and self._trial.get("process") == self._holder:
                self._trial["process"] = None
                write_quietly(self._state, self._known)
        if timer is not None:
            timer.stop()

    def unstarted(self) -> None:
        """Note that a gateway that was never started is let go, perhaps since the process ends.

        To look at one is no end. But where an exception of the application ends the process
        between making and starting it, that may well come from what is on trial.
        """
        process_ends = not threading.main_thread().is_alive()
        raised = getattr(sys, "last_value", None)  # what nobody has caught in the main thread
        self.ended(clean=not (process_ends and is_failure(raised)))

    def failed(self) -> None:
        """Note that the gateway could not be made."""
        with self._lock:
            if self._trial.get("process") == self._holder and self._on_trial():
                self._note_end()
                write_quietly(self._state, self._known)

    def _watch(self) -> None:
        left = TRIAL_SECONDS - self._elapsed()
        if left <= 0:
            self._pass()
            return
        if self._timer is not None:
            self._timer.stop(block=False)
        timer = RepeatTimer(
            left,
            lambda: self._time_is_over(timer),
            runonstart=False,
            clock=self._clock,
            name="update on trial",
        )
        self._timer = timer
        timer.start()

    def _time_is_over(self, timer: RepeatTimer) -> None:
        with self._lock:
            if timer is not self._timer:
                return  # while it waited here, another update was taken
            timer.stop(block=False)
            self._timer = None
            if self._trial and self._started:
                self._pass()

    def _pass(self) -> None:
        logger.debug("%s: the update has stood its trial", self._path)
        self._known.pop("trial", None)
        write_quietly(self._state, self._known)

    # -- an update ------------------------------------------------------------------------------

    def take(self, text: str, reply: str, before: str) -> None:
        """Keep the last good configuration, and put a new one on trial; before it is in place.

        Args:
            text: the new content of the file.
            reply: the reply it comes from, as canonical JSON.
            before: the configuration until now, as canonical JSON.

        Raises:
            OSError: the files could not be written; nothing has changed.
        """
        with self._lock:
            configs: Dict[str, str] = {}
            ends: List[str] = []
            boot, now = moment(self._clock)
            last_end = [boot, now]
            good_was_there = os.path.exists(self._good)
            try:
                if self._trial:  # what ran is not known to be good: the one before stays
                    present = self._present()
                    if present in self._trial["configs"]:  # nobody has edited it meanwhile
                        configs[present] = self._trial["configs"][present]
                    # else a server that hands out a new one at each start would go on for ever;
                    # but a gateway that has lived with it for ten minutes has stood that
                    last_end = self._trial["last_end"]
                    if last_end[0] != boot or now - last_end[1] < TRIAL_SECONDS:
                        ends = self._trial["ends"]
                else:
                    atomic_write(self._good, self._content(before), FILE_MODE)
                configs[_digest(text)] = _digest(reply)  # the newest comes last: `saved_again`
                trial = {
                    "configs": configs,
                    "boot": boot,
                    "since": now,
                    "ends": ends,
                    "last_end": last_end,
                    "process": self._holder,
                }
                previous, self._known = self._known, {**self._known, "trial": trial}
                try:
                    write(self._state, self._known)
                except BaseException:
                    self._known = previous
                    raise
            except OSError as exc:
                if exc.errno in _NO_PLACE:
                    logger.warning(
                        "%s: nothing can be written beside it (%s), so the update cannot be "
                        "rolled back if the process ends again and again",
                        self._path,
                        exc.strerror,
                    )
                    return
                if not good_was_there:
                    remove(self._good)
                raise
            self._beside = False
            if self._started:
                self._watch()

    def withdraw(self) -> None:
        """Forget an update that could not be put in place after all."""
        with self._lock:
            if not self._on_trial():
                self._known.pop("trial", None)
                remove(self._good)
                write_quietly(self._state, self._known)

    def saved_again(self, text: str, reply: Optional[str]) -> None:
        """Note that an update handler changed the configuration, before it is saved.

        Args:
            text: the new content of the file.
            reply: the last that was accepted, as canonical JSON.
        """
        with self._lock:
            config = _digest(text)
            if self._trial:
                replies = self._trial["configs"]
                replies[config] = list(replies.values())[-1]
            if reply is not None:
                self._known["accepted"] = {"config": config, "reply": _digest(reply)}
            write_quietly(self._state, self._known)

    def _content(self, before: str) -> Union[str, bytes]:
        """Return the file as it is, or what was in memory where it is gone or was edited."""
        content, is_before = content_of(self._path, before)
        return content if is_before else pretty(json.loads(before))

    # -- going back -----------------------------------------------------------------------------

    def _roll_back(self) -> str:
        """Put the last good configuration in place; return the path to load."""
        try:
            load_config(self._good)
            with open(self._good, "rb") as file:
                good = file.read()
        except (ConfigError, OSError) as exc:
            logger.error(
                "%s: the last good configuration cannot be used, the present one stays: %s",
                self._path,
                exc,
            )
            self._mark()
            return self._path
        self.rolled_back = True
        replies = set(self._trial["ends"])
        kept = [one for one in self.rejected if one not in replies]
        # remembered first: a power cut behind it repeats the roll-back, and forgets nothing
        self._known["rejected"] = [*kept, *sorted(replies)][-REMEMBERED:]
        write_quietly(self._state, self._known)
        logger.error(
            "%s: the process ended %s without a clean stop within %.0f minutes of an update; the "
            "last good configuration is put in place again, and the same reply of the uuApp is "
            "not taken any more (remove %s to have it taken)",
            self._path,
            "once" if len(self._trial["ends"]) == 1 else f"{len(self._trial['ends'])} times",
            TRIAL_SECONDS / 60,
            self._state,
        )
        try:
            atomic_write(self._path, good, FILE_MODE)
        except OSError as exc:
            logger.error(
                "%s cannot be written (%s); %s is used", self._path, exc.strerror, self._good
            )
            self._beside = True
            return self._good
        self._known.pop("trial", None)
        write_quietly(self._state, self._known)
        return self._path
