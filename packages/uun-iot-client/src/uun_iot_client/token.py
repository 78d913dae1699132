"""The token: obtained by one thread of one process, used by all, kept in a file."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterator, Optional, Tuple

from uun_iot_core.clock import Clock
from uun_iot_core.forks import watch_forks
from uun_iot_core.logs import get_logger

from .backoff import Backoff
from .deadline import Deadline
from .errors import TokenCommandError, TokenError
from .grant import Grant
from .held import Held, Stage, from_file, number
from .redact import Secret
from .tokenfile import AHEAD_KEY, BINDING_KEY, file_state, read_token_file, write_token_file
from .turns import turn

if TYPE_CHECKING:
    import requests

    from .redact import Redactor
    from .settings import Settings
    from .transport import Transport

__all__ = ["Token"]

logger = get_logger(__name__)

# Seconds from one attempt to refresh ahead of need to the next: each sends the access codes.
_EARLY_PAUSE = 60.0
# Seconds of the first pause after a permanent refusal, and of the longest. Somebody may unlock
# the account at the server, so there is another attempt some day.
_REFUSED_PAUSE, _LONGEST_REFUSED_PAUSE = 10.0, 900.0
# Seconds to wait for another process that asks for the token: as long as a grant takes at most.
_LONGEST_TURN = 45.0
# The part of a call's time that a refresh may take which the call does not need.
_SHARE = 0.5


class Token:
    """Holds the token of one client.

    Life is measured in monotonic seconds; wall time stands only in the token file.

    Args:
        settings: whose token, and where from.
        send: called as ``send(url, headers=…, json=…, timeout=…)`` for a grant; `post` means
            the transport.
        leeway: a refresh is attempted from so many seconds before the end.
        transport: sends grants, and knows whether the gateway stops.
        redact: is told each new token.
        clock: measures life and pauses.
    """

    def __init__(
        self,
        settings: Settings,
        send: Callable[..., requests.Response],
        leeway: float,
        transport: Transport,
        redact: Redactor,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._grant_request = Grant(send, transport, redact)
        self._leeway = leeway
        self._transport = transport
        self._redact = redact
        self._clock = clock
        self._lock = threading.RLock()  # of whoever obtains a token; such a lock knows whose it is
        self._state = threading.Lock()  # of changes below, held for no time; taken after `_lock`
        self._obtaining: Optional[int] = None  # the thread that has the lock
        self._held: Optional[Held] = None
        # tokens that were held once: what stands in the file is news only if it is none of them
        self._known: Deque[str] = deque(maxlen=16)
        self._file_was_read = False
        self._file_state: object = None  # when it was read or written last
        self._next_early = 0.0  # monotonic
        self._failures = Backoff(clock)
        self._refusals = Backoff(clock, _REFUSED_PAUSE, _LONGEST_REFUSED_PAUSE)
        self._reason = ""  # why the last grant failed
        self._episode: Optional[object] = None
        self._refused_binding = ""  # the configuration that was refused for good
        self._renewals = Backoff(clock)
        self._doubted: Optional[str] = None  # refused once: due, however long it would live
        self._refused: Optional[str] = None  # fresh, and refused all the same
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: another thread that obtains a token is not there."""
        self._lock, self._state = threading.RLock(), threading.Lock()
        if self._obtaining == threading.get_ident():
            self._lock.acquire()  # fn_token_request forked
        else:
            self._obtaining = None

    def __repr__(self) -> str:
        held = self._held
        state = "none" if held is None else self._stage(held).name.lower()
        return f"Token({state})"

    def status(self) -> Dict[str, Any]:
        """Return how long the token lives, for the gateway's status command."""
        held = self._held
        if held is None:
            return {"state": "none", "expires": None, "expiresIn": None}
        left = held.left(self._clock, self._transport.server_time)
        return {"state": self._stage(held).name.lower(), **held.end(left, self._clock)}

    def is_expired(self) -> bool:
        """Return whether there is no token, or one so near its end that it is to be refreshed."""
        held = self._held
        return held is None or self._stage(held) >= Stage.DUE

    def _stage(self, held: Optional[Held]) -> Stage:
        if held is None:
            return Stage.DEAD
        left = held.left(self._clock, self._transport.server_time)
        stage = held.stage(left, self._leeway)
        return max(stage, Stage.DUE) if held.value == self._doubted else stage

    def bearer(self, deadline: Optional[Deadline] = None) -> str:
        """Return a token that lives, refreshed if that was due, or is due soon.

        Args:
            deadline: that of the call.

        Raises:
            TokenError: there is none, and none could be obtained.
        """
        return self._ensure(deadline, early=True)[0].value

    def refresh(self) -> bool:
        """Refresh the token if that is due; return whether this call obtained a new one.

        Raises:
            TokenError: see `bearer`.
        """
        return self._ensure(None, early=False)[1]

    def _ensure(self, deadline: Optional[Deadline], *, early: bool) -> Tuple[Held, bool]:
        held = self._held
        stage = self._stage(held)
        if held is not None:
            if not self._is_time(stage, early):
                return held, False
            if stage < Stage.DEAD:
                if self._obtaining == threading.get_ident():
                    return held, False  # fn_token_request calls
                with self._owned(0.0) as is_ours:
                    # or another thread refreshes it; until then this one serves
                    return self._ensure_locked(deadline, early) if is_ours else (held, False)
        with self._turn(deadline):
            return self._ensure_locked(deadline, early)

    def _is_time(self, stage: Stage, early: bool) -> bool:
        """Return whether a call at this stage of the token tries to refresh it."""
        if stage is Stage.EARLY:
            return early and self._clock.monotonic() >= self._next_early
        return stage >= Stage.DUE

    def _ensure_locked(self, deadline: Optional[Deadline], early: bool) -> Tuple[Held, bool]:
        if not self._file_was_read:
            self._adopt(self._from_file())
        held = self._held  # perhaps just obtained by the thread before
        stage = self._stage(held)
        if held is None or stage is Stage.DEAD:
            return self._obtain(deadline, None)
        if not self._is_time(stage, early) or self._pause_left() > 0:
            return held, False
        self._next_early = self._clock.monotonic() + _EARLY_PAUSE
        # the call can do without, so there must be time for the call itself
        part = (self._transport.deadline() if deadline is None else deadline).sooner(_SHARE)
        try:
            return self._obtain(part, held)
        except TokenError as exc:
            if self._stage(held) is Stage.DEAD:
                raise
            logger.warning("token not refreshed, the present one still serves: %s", exc)
            return held, False

    def renew(self, failed: str, deadline: Optional[Deadline] = None) -> Optional[str]:
        """Return another token after the server refused one; None if it is not the time for it.

        Args:
            failed: the token that was refused. If it is no longer the current one, another
                thread has renewed it already.
            deadline: that of the call.

        Raises:
            TokenError: none could be obtained.
        """
        with self._turn(deadline):
            held = self._held
            if held is not None and held.value != failed and self._stage(held) < Stage.DEAD:
                return held.value
            if self._renewals.left() > 0:
                return None  # fresh tokens are refused too: each grant sends the access codes
            try:
                return self._obtain(deadline, None)[0].value
            except TokenError as exc:
                if self._stage(held) is Stage.DEAD:
                    raise
                # other commands may take it: a 401 may be of the command alone
                logger.warning("refused token not renewed, it is kept while it lives: %s", exc)
                return None

    def forget(self, failed: str) -> None:
        """Have the next call refresh a token that was refused, if it is still the current one.

        Args:
            failed: the token. The request that carried it cannot be repeated.
        """
        with self._state:
            is_current = self._held is not None and self._held.value == failed
            if is_current and self._renewals.left() <= 0:
                self._doubted = failed
                self._renewals.failed()

    def renewed(self, token: str, accepted: bool) -> None:
        """Note whether the server took a renewed token.

        Args:
            token: what `renew` returned.
            accepted: False if it was refused like the one before.
        """
        with self._state:
            if accepted:
                self._renewals.succeeded()
            elif token != self._refused:  # many threads report the same one
                self._refused = token
                self._renewals.failed()

    # -- turns

    @contextmanager
    def _turn(self, deadline: Optional[Deadline]) -> Iterator[None]:
        """Wait for the lock, no longer than the call or the stopping gateway has time."""
        if self._obtaining == threading.get_ident():
            raise TokenError(
                "fn_token_request used the client that waits for its token; let it send by itself"
            )
        left = self._time_left(deadline)
        with self._owned(min(left, threading.TIMEOUT_MAX)) as is_ours:
            if not is_ours:
                why = "while the gateway stops" if self._transport.is_stopping else "in time"
                raise TokenError(f"no token {why}: another thread still waits for one")
            yield

    @contextmanager
    def _owned(self, seconds: float) -> Iterator[bool]:
        """Hold the lock within the block, if it comes in time."""
        me = threading.get_ident()
        try:
            is_ours = self._lock.acquire(timeout=seconds)
            if is_ours:
                self._obtaining = me
            yield is_ours
        finally:
            if self._obtaining == me:
                self._obtaining = None
            # also if it is not noted, and after no call: that is where signal handlers raise
            try:
                self._lock.release()
            except RuntimeError:
                pass

    def _time_left(self, deadline: Optional[Deadline]) -> float:
        try:
            return self._transport.time_left(deadline)
        except OSError as exc:
            raise TokenError(f"no token: {exc}") from exc

    def _pause(self, seconds: float) -> None:
        try:
            self._transport.pause(seconds)
        except OSError as exc:
            raise TokenError(f"no token: {exc}") from exc

    # -- obtaining one; the caller has the lock

    def _adopt(self, held: Optional[Held]) -> None:
        with self._state:
            self._held = held
            if held is not None:
                self._known.append(held.value)

    def _pause_left(self) -> float:
        return max(self._failures.left(), self._refusals.left())

    def _obtain(self, deadline: Optional[Deadline], present: Optional[Held]) -> Tuple[Held, bool]:
        """Take the token that another process has obtained, or obtain one.

        Args:
            deadline: that of the call.
            present: a token that still serves, if there is one.

        Returns:
            The token, and whether this process has obtained it.
        """
        binding = self._settings.binding()  # first of all, since it names what is missing
        if binding != self._refused_binding:
            self._refusals.succeeded()  # the configuration was mended
        self._check_pause()
        path = self._settings.token_path()
        if path is None:
            return self._grant(deadline), True
        left = min(self._time_left(deadline), _LONGEST_TURN)
        with turn(path, 0.0 if present is not None else left, self._pause) as is_ours:
            if not is_ours and present is not None:
                return present, False  # another process refreshes it, and writes the file
            if not is_ours:
                logger.warning(
                    "token file %s: another process has been at it for %.0f s, it is not waited"
                    " for any longer",
                    path,
                    left,
                )
            found = self._from_file() if file_state(path) != self._file_state else None
            if found is not None and found.value not in self._known:
                if self._stage(found) < Stage.DUE:
                    self._adopt(found)
                    return found, False
            return self._grant(deadline), True

    def _grant(self, deadline: Optional[Deadline]) -> Held:
        """Ask the token service; keep the token in memory and in the file."""
        url, body = self._settings.grant_url(), self._settings.grant_body()
        path, binding = self._settings.token_path(), self._settings.binding()
        self._redact.learn(*self._settings.secrets())
        self._time_left(deadline)
        # before the request, so that the token never seems to live longer than it does
        start, wall = self._clock.monotonic(), self._clock.time()
        try:
            reply = self._grant_request.request(url, body, deadline or self._transport.deadline())
        except TokenError as exc:
            self._failed(exc, binding)
            raise
        self._failures.succeeded()
        self._refusals.succeeded()
        lifetime = number(reply["expires_in"]) or 0.0
        held = Held(Secret(reply["id_token"]), start + lifetime, lifetime)
        self._adopt(held)
        logger.info("token obtained, valid for %.0f s", lifetime)
        if path is not None:
            content = {**reply, "expires_at": wall + lifetime, BINDING_KEY: binding}
            ahead = self._transport.server_time.ahead()
            if ahead is not None:
                content[AHEAD_KEY] = round(ahead, 1)
            write_token_file(path, content)
            self._file_state = file_state(path)
        return held

    def _check_pause(self) -> None:
        pause = self._pause_left()
        if pause > 0:
            error = TokenError(
                f"no token: the last attempt failed, the next one is in {pause:.1f} s"
                f" ({self._reason})"
            )
            error.episode = self._episode
            error.retry_in = None if self._refusals.left() > 0 else pause
            raise error

    def _failed(self, exc: TokenError, binding: str) -> None:
        self._reason = str(exc)
        self._episode = object()
        if isinstance(exc, TokenCommandError) and exc.permanent:
            self._refused_binding = binding
            self._refusals.failed()
            exc.retry_in = None
        else:
            self._failures.failed(at_least=exc.retry_in or 0.0)
            exc.retry_in = self._failures.left()

    def _from_file(self) -> Optional[Held]:
        path = self._settings.token_path()
        binding = self._settings.binding() if path is not None else ""
        self._file_was_read = True
        if path is None:
            return None
        self._file_state = file_state(path)
        content = read_token_file(path)
        if content is None:
            return None
        self._redact.learn_token(content.get("id_token"), content.get("access_token"))
        ahead = number(content.get(AHEAD_KEY)) or 0.0
        held = from_file(content, self._clock, self._transport.server_time, ahead)
        if held is None:
            logger.warning(
                "token file %s has no usable `id_token` and `expires_at`: a new token is obtained",
                path,
            )
            return None
        if content.get(BINDING_KEY, binding) != binding:
            logger.info("token file %s is of another configuration: a new token is obtained", path)
            return None
        left = held.left(self._clock, self._transport.server_time)
        if left <= 0:
            return None
        logger.debug("token taken from the file, valid for %.0f s", left)
        return held
