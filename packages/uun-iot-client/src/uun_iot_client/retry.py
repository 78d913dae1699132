"""When a call may be repeated, and after which pause: the one place that decides it.

These are a few lines of our own, since none of the libraries for it sees what decides here.
`urllib3.Retry` works beneath the body: it would send a multipart encoder that was read
already, which looks well and carries nothing, and it knows neither whether a POST left the
device nor that the token must be fresh. `stamina` and `tenacity` repeat a function for an
exception; a refusal with 503 is none here, and their pauses know no gateway that stops.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .errors import CircuitOpen, NetworkError, TokenError
from .servertime import parse_date

if TYPE_CHECKING:
    import requests

__all__ = ["ONE_ATTEMPT", "RetryPolicy", "retry_after"]

# The server is too busy, or not there: another time it may answer.
_AGAIN = frozenset({408, 429, 502, 503, 504})
# It has refused before it did anything.
_REFUSED = frozenset({429, 503})


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is attempted, and how long it waits in between.

    A GET is repeated after a network error and the statuses 408, 429, 502, 503 and 504. A
    POST only if the server certainly did not receive it, or refused it with 429 or 503; a
    POST that the caller says is ``idempotent``, like a GET. Where no token could be had for
    want of a network, nothing was sent, so any call is repeated. Everything else the server
    means, and `CircuitOpen` and `GatewayStopping` end the attempts.

    >>> RetryPolicy(attempts=3, deadline=60).attempts
    3

    Attributes:
        attempts: how many there are at most, the first included.
        backoff: the longest pause after the first attempt, seconds. It doubles with each
            further one, and the pause is random between nothing and that, so that devices
            which failed together do not come back together.
        longest_backoff: what it does not grow beyond, seconds.
        longest_retry_after: what counts of a ``Retry-After`` of the server, seconds. Up to
            that, the pause is no shorter than the server wishes.
        deadline: seconds for all attempts and pauses together; None for the deadline that
            the call has. A pause that would not end before it is not begun.

    Raises:
        ValueError: an attribute is out of its range.
    """

    attempts: int = 4
    backoff: float = 0.5
    longest_backoff: float = 20.0
    longest_retry_after: float = 60.0
    deadline: Optional[float] = None

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int):
            raise ValueError(f"attempts must be a whole number, got {self.attempts!r}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be 1 or more, got {self.attempts}")
        for name in ("backoff", "longest_backoff", "longest_retry_after", "deadline"):
            value = getattr(self, name)
            if name == "deadline" and value is None:
                continue
            if not isinstance(value, (int, float)) or not 0 <= value or math.isnan(value):
                raise ValueError(f"{name} must be seconds, 0 or more, got {value!r}")

    def pause_before(self, attempt: int, wished: Optional[float] = None) -> float:
        """Return the seconds to wait before an attempt.

        Args:
            attempt: its number; the first, before which there is no pause, is 1.
            wished: what the server wishes, see `retry_after`.
        """
        longest = min(self.longest_backoff, self.backoff * 2.0 ** min(attempt - 2, 60))
        return max(random.uniform(0.0, longest), min(wished or 0.0, self.longest_retry_after))

    def repeats_reply(self, status: int, idempotent: bool) -> bool:
        """Return whether a call is to be repeated after a reply.

        Args:
            status: its HTTP status.
            idempotent: whether the server may do the command twice.
        """
        return status in (_AGAIN if idempotent else _REFUSED)

    def repeats_failure(self, error: Exception, idempotent: bool) -> bool:
        """Return whether a call is to be repeated where there is no reply.

        Args:
            error: what was raised instead.
            idempotent: whether the server may do the command twice.
        """
        if isinstance(error, TokenError):
            return error.retry_in is not None
        if not isinstance(error, NetworkError) or isinstance(error, CircuitOpen):
            return False
        return idempotent or not error.may_have_arrived


ONE_ATTEMPT = RetryPolicy(attempts=1)


def retry_after(response: requests.Response) -> Optional[float]:
    """Return the seconds of a reply's ``Retry-After``, None if it has none that is one.

    A date in it is compared to the ``Date`` of the reply: the device's clock may be wrong.

    Args:
        response: the reply.
    """
    text = (response.headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    then, now = parse_date(text), parse_date(response.headers.get("Date") or "")
    return None if then is None or now is None else max(0.0, then - now)
