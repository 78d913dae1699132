"""The token: obtained by one thread, used by all, kept in a file."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Tuple

from uun_iot_core.clock import Clock
from uun_iot_core.logs import get_logger

from .backoff import Backoff
from .errors import TokenError
from .grant import Grant, is_usable, number
from .tokenfile import BINDING_KEY, read_token_file, write_token_file

if TYPE_CHECKING:
    import requests

    from .redact import Redactor
    from .settings import Settings
    from .transport import Transport

__all__ = ["Token"]

logger = get_logger(__name__)


@dataclass(frozen=True)
class _Held:
    """A token at hand: `ends` in monotonic seconds, `lifetime` (all of it) in seconds."""

    value: str = field(repr=False)
    ends: float
    lifetime: float


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
        self._lock = threading.Lock()  # of whoever obtains a token
        self._state = threading.Lock()  # of changes below, held for no time; taken after `_lock`
        self._obtaining: Optional[int] = None  # the thread that has the lock
        self._held: Optional[_Held] = None
        self._file_was_read = False
        self._grants = Backoff(clock)
        self._reason = ""  # why the last grant failed
        self._renewals = Backoff(clock)
        self._refused: Optional[str] = None  # fresh, and refused all the same

    def __repr__(self) -> str:
        held = self._held
        state = "none" if held is None else "expired" if self._is_due(held) else "valid"
        return f"Token({state})"

    def is_expired(self) -> bool:
        """Return whether there is no token, or one so near its end that it is to be refreshed."""
        held = self._held
        return held is None or self._is_due(held)

    def _is_due(self, held: _Held) -> bool:
        # a leeway of the whole life would ask for a new token at each request
        leeway = self._leeway if self._leeway < held.lifetime else held.lifetime / 2
        return self._clock.monotonic() >= held.ends - leeway

    def _lives(self, held: Optional[_Held]) -> bool:
        return held is not None and self._clock.monotonic() < held.ends

    def bearer(self) -> str:
        """Return a token that lives, refreshed if that was due.

        Raises:
            TokenError: there is none, and none could be obtained.
        """
        return self._ensure()[0].value

    def refresh(self) -> bool:
        """Refresh the token if that is due; return whether this call obtained a new one.

        Raises:
            TokenError: see `bearer`.
        """
        return self._ensure()[1]

    def _ensure(self) -> Tuple[_Held, bool]:
        held = self._held
        if held is not None and not self._is_due(held):
            return held, False
        if held is not None and self._lives(held):
            if not self._lock.acquire(blocking=False):
                return held, False  # another thread refreshes it; until then this one serves
            with self._owned():
                return self._ensure_locked()
        with self._turn():
            return self._ensure_locked()

    def _ensure_locked(self) -> Tuple[_Held, bool]:
        if not self._file_was_read:
            found = self._from_file()
            with self._state:
                self._held = found
        held = self._held  # perhaps just obtained by the thread before
        if held is not None and not self._is_due(held):
            return held, False
        if held is not None and self._lives(held) and self._grants.left() > 0:
            return held, False
        try:
            return self._grant(), True
        except TokenError as exc:
            if held is None or not self._lives(held):
                raise
            logger.warning("token not refreshed, the present one still serves: %s", exc)
            return held, False

    def renew(self, failed: str) -> Optional[str]:
        """Return another token after the server refused one; None if it is not the time for it.

        Args:
            failed: the token that was refused. If it is no longer the current one, another
                thread has renewed it already.

        Raises:
            TokenError: none could be obtained.
        """
        with self._turn():
            held = self._held
            if held is not None and held.value != failed and self._lives(held):
                return held.value
            if self._renewals.left() > 0:
                return None  # fresh tokens are refused too: each grant sends the access codes
            with self._state:
                self._held = None
            return self._grant().value

    def forget(self, failed: str) -> None:
        """Drop a token that the server refused, if it is still the current one.

        Args:
            failed: the token. The request that carried it cannot be repeated.
        """
        with self._state:
            is_current = self._held is not None and self._held.value == failed
            if is_current and self._renewals.left() <= 0:
                self._held = None
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

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the lock, while the gateway stops no longer than there is time."""
        if self._obtaining == threading.get_ident():
            raise TokenError(
                "fn_token_request used the client that waits for its token; let it send by itself"
            )
        left = self._time_left()
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise TokenError("no token while the gateway stops: another thread still waits for one")
        with self._owned():
            yield

    @contextmanager
    def _owned(self) -> Iterator[None]:
        self._obtaining = threading.get_ident()
        try:
            yield
        finally:
            self._obtaining = None
            self._lock.release()

    def _time_left(self) -> Optional[float]:
        try:
            return self._transport.time_left()
        except OSError as exc:
            raise TokenError(f"no token: {exc}") from exc

    def _grant(self) -> _Held:
        """Ask the token service; keep the token in memory and in the file."""
        url, body = self._settings.grant_url(), self._settings.grant_body()
        path, binding = self._settings.token_path(), self._settings.binding()
        self._redact.learn(*self._settings.secrets())
        self._time_left()
        pause = self._grants.left()
        if pause > 0:
            raise TokenError(
                f"no token: the last attempt failed, the next one is in {pause:.1f} s"
                f" ({self._reason})"
            )
        # before the request, so that the token never seems to live longer than it does
        start, wall = self._clock.monotonic(), self._clock.time()
        try:
            reply = self._grant_request.request(url, body)
        except TokenError as exc:
            self._grants.failed()
            self._reason = str(exc)
            raise
        self._grants.succeeded()
        lifetime = number(reply["expires_in"]) or 0.0
        held = _Held(reply["id_token"], start + lifetime, lifetime)
        with self._state:
            self._held = held
        logger.info("token obtained, valid for %.0f s", lifetime)
        if path is not None:
            write_token_file(path, {**reply, "expires_at": wall + lifetime, BINDING_KEY: binding})
        return held

    def _from_file(self) -> Optional[_Held]:
        path = self._settings.token_path()
        binding = self._settings.binding() if path is not None else ""
        self._file_was_read = True
        content = None if path is None else read_token_file(path)
        if content is None:
            return None
        token, ends = content.get("id_token"), number(content.get("expires_at"))
        self._redact.learn_token(token, content.get("access_token"))
        if not isinstance(token, str) or not is_usable(token) or ends is None:
            logger.warning(
                "token file %s has no usable `id_token` and `expires_at`: a new token is obtained",
                path,
            )
            return None
        if content.get(BINDING_KEY, binding) != binding:
            logger.info("token file %s is of another configuration: a new token is obtained", path)
            return None
        lifetime = number(content.get("expires_in")) or math.inf
        # no more than a whole life is left, whatever the clock was set to since
        left = min(ends - self._clock.time(), lifetime)
        if left <= 0:
            return None
        logger.debug("token taken from the file, valid for %.0f s", left)
        return _Held(token, self._clock.monotonic() + left, lifetime)
