"""Id tokens of the sandbox: real RS256 JWTs, issued, verified, expired and revoked."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, List, Set, Union

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["Grant", "TokenRefused", "Tokens"]

_key_lock = threading.Lock()


@functools.lru_cache(maxsize=1)
def _make_key() -> rsa.RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _signing_key() -> rsa.RSAPrivateKey:
    """Return this process's signing key; making one takes a good part of a second."""
    with _key_lock:
        return _make_key()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _encode_json(data: Dict[str, Any]) -> str:
    return _encode(json.dumps(data, separators=(",", ":")).encode("utf-8"))


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))


class TokenRefused(Exception):
    """A bearer token is not accepted; the message says why, without the token."""


@dataclass(frozen=True)
class Grant:
    """What one successful grant gave out.

    Args:
        id_token: the bearer.
        access_token: an opaque string that opens nothing.
        lifetime: seconds.
    """

    id_token: str
    access_token: str
    lifetime: float

    def __repr__(self) -> str:
        return f"Grant(lifetime={self.lifetime!r})"


class Tokens:
    """Issues id tokens and decides which of them still open a door.

    Attributes:
        lifetime: seconds that tokens issued from now on live.
        opaque: issue random strings instead of JWTs from now on.

    Args:
        lifetime: seconds.
        now: wall-clock seconds since 1970; a test passes that of its own clock.
    """

    def __init__(self, lifetime: float = 1800, now: Callable[[], float] = time.time) -> None:
        self.lifetime = lifetime
        self.opaque = False
        self._now = now
        self._key = _signing_key()
        self._lock = threading.Lock()
        self._claims: Dict[str, Dict[str, Any]] = {}
        self._expired: Set[str] = set()
        self._revoked: Set[str] = set()
        self._given_out: List[str] = []

    @property
    def given_out(self) -> List[str]:
        """Every token issued so far, in order: the id token and the access token of each grant."""
        with self._lock:
            return list(self._given_out)

    def latest(self, count: int) -> List[str]:
        """Return the latest of `given_out`.

        Args:
            count: how many at most.
        """
        with self._lock:
            return self._given_out[-count:]

    def issue(self, subject: str, audience: str) -> Grant:
        """Make a new token.

        Args:
            subject: the identity that asked for it.
            audience: the URL of the application that it opens.
        """
        now = self._now()
        lifetime = self.lifetime
        # whole seconds, as token services have them; but a test's short token lives exactly
        end: Union[int, float] = int(now + lifetime) if lifetime >= 60 else now + lifetime
        claims = {
            "iss": "uun-iot-sandbox",
            "sub": subject,
            "aud": audience,
            "iat": int(now),
            "nbf": int(now),
            "exp": end,
            "jti": secrets.token_hex(16),
        }
        id_token = secrets.token_urlsafe(48) if self.opaque else self._sign(claims)
        grant = Grant(id_token, secrets.token_urlsafe(32), lifetime)
        with self._lock:
            self._claims[id_token] = claims
            self._given_out += [grant.id_token, grant.access_token]
        return grant

    def verify(self, token: str, audiences: Collection[str]) -> Dict[str, Any]:
        """Return the claims of a token that is good now.

        Args:
            token: the bearer as it came.
            audiences: the URLs under which the asked application is known.

        Raises:
            TokenRefused: forged, damaged, unknown, expired, revoked, or for another audience.
        """
        with self._lock:
            claims = self._claims.get(token)
            expired, revoked = token in self._expired, token in self._revoked
        if "." in token:
            self._check_signature(token)
        if claims is None:  # signed by this process, but by another sandbox in it
            raise TokenRefused("the token is unknown")
        now = self._now()
        if expired or now >= claims["exp"]:
            raise TokenRefused("the token has expired")
        if now < claims["nbf"]:
            raise TokenRefused("the token is not valid yet")
        if revoked:
            raise TokenRefused("the token was revoked")
        if claims["aud"] not in audiences:
            raise TokenRefused("the token is for another audience")
        return claims

    def expire_all(self) -> None:
        """Treat every token issued so far as past its end; it keeps its ``exp``."""
        with self._lock:
            self._expired.update(self._claims)

    def revoke_all(self) -> None:
        """Withdraw every token issued so far."""
        with self._lock:
            self._revoked.update(self._claims)

    def _sign(self, claims: Dict[str, Any]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signed = f"{_encode_json({'alg': 'RS256', 'typ': 'JWT'})}.{_encode_json(claims)}"
        signature = self._key.sign(signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(signature)}"

    def _check_signature(self, token: str) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            signed, _, signature = token.rpartition(".")
            header, _ = signed.split(".")
            if json.loads(_decode(header)).get("alg") != "RS256":
                raise TokenRefused("the token is not signed with RS256")
            self._key.public_key().verify(
                _decode(signature), signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise TokenRefused("the token's signature is wrong") from None
        except (ValueError, AttributeError, binascii.Error):
            raise TokenRefused("the token is damaged") from None
