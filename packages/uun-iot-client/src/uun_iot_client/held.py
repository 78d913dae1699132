"""A token at hand, and how long it lives."""

from __future__ import annotations

import base64
import binascii
import enum
import json
import math
import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional

from uun_iot_core.clock import Clock
from uun_iot_core.timestamps import get_iso_timestamp

from .redact import Secret
from .servertime import ServerTime

__all__ = ["Held", "Stage", "from_file", "is_usable", "number"]

# What may stand in a header. Anything else would be quoted in the error of the HTTP library.
_USABLE = re.compile(r"[\x21-\x7e]+")
# The part of its life that is left when a token is to be refreshed ahead of need. Not the same
# for all, or devices that were switched on together would ask together for ever.
_EARLY = (0.20, 0.25)


class Stage(enum.IntEnum):
    """How near its end a token is."""

    FRESH = 0
    #: one call may refresh it, without need
    EARLY = 1
    #: within the leeway: each call tries to refresh it
    DUE = 2
    #: it has ended
    DEAD = 3


@dataclass(frozen=True)
class Held:
    """A token.

    Attributes:
        value: the bearer.
        ends: when it ends, in monotonic seconds.
        lifetime: all its life, seconds; infinity if unknown.
        expires: when it ends by the server's clock, seconds since 1970; None if only the
            device's clock can tell.
        early: seconds before its end from which it may be refreshed ahead of need.
    """

    value: str = field(repr=False)
    ends: float
    lifetime: float
    expires: Optional[float] = None
    early: float = field(default_factory=lambda: random.uniform(*_EARLY), repr=False)

    def left(self, clock: Clock, server_time: ServerTime) -> float:
        """Return the seconds that it still lives.

        Args:
            clock: says what time it is.
            server_time: says it better, where it knows.
        """
        ends = None if self.expires is None else server_time.monotonic_of(self.expires)
        return (self.ends if ends is None else ends) - clock.monotonic()

    def end(self, left: float, clock: Clock) -> Dict[str, Any]:
        """Return when it ends, by the device's clock, and in how many seconds; None if unknown.

        Args:
            left: see `left`.
            clock: says what time it is.
        """
        if not math.isfinite(left):
            return {"expires": None, "expiresIn": None}
        try:
            moment = datetime.fromtimestamp(clock.time() + left, timezone.utc)
        except (OverflowError, ValueError, OSError):  # nobody lives that long
            return {"expires": None, "expiresIn": left}
        return {"expires": get_iso_timestamp(moment), "expiresIn": left}

    def stage(self, left: float, leeway: float) -> Stage:
        """Return how near its end it is.

        Args:
            left: see `left`.
            leeway: drift between the clocks, seconds.
        """
        if left <= 0:
            return Stage.DEAD
        # a leeway of the whole life would ask for a new token at each request
        if left <= (leeway if leeway < self.lifetime else self.lifetime / 2):
            return Stage.DUE
        return Stage.EARLY if left <= self.lifetime * self.early < math.inf else Stage.FRESH


def number(value: Any) -> Optional[float]:
    """Return a finite number, also one written as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_usable(token: Any) -> bool:
    """Return whether something can be sent as a bearer."""
    return isinstance(token, str) and _USABLE.fullmatch(token) is not None


def _claims(token: str) -> Dict[str, Any]:
    """Return what a JWT says; nothing if it is none. Its signature is the server's business."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def from_file(
    content: Mapping[str, Any], clock: Clock, server_time: ServerTime, ahead: float
) -> Optional[Held]:
    """Return the token of a token file, None if it has none that can be used.

    A JWT ends at its ``exp``, which is a moment of the server's time: where that is not known
    yet, the device's clock is taken to be as wrong as it was when the file was written.
    Anything else lives by ``expires_at``, which is a moment of the device's clock.

    Args:
        content: the file.
        clock: of the device.
        server_time: by the ``Date`` of the server's replies.
        ahead: seconds that the server was ahead of the device when the file was written.
    """
    token, written = content.get("id_token"), number(content.get("expires_at"))
    if not isinstance(token, str) or not is_usable(token):
        return None
    claims = _claims(token)
    expires, issued = number(claims.get("exp")), number(claims.get("iat"))
    lifetime = number(content.get("expires_in"))
    if lifetime is None or lifetime <= 0:
        lifetime = expires - issued if expires is not None and issued is not None else math.inf
    if expires is not None:
        left = expires - (clock.time() + ahead)
    elif written is not None:
        left = written - clock.time()
    else:
        return None
    # no more than a whole life is left, whatever the clock was set to since
    return Held(Secret(token), clock.monotonic() + min(left, lifetime), lifetime, expires)
