"""Certificates of the sandbox: a CA made at start, and server certificates good and bad."""

from __future__ import annotations

import os
import ssl
import threading
from datetime import datetime, timedelta, timezone
from typing import Dict, Tuple, Union

import trustme

__all__ = ["CERTIFICATE_KINDS", "Certificates"]

_DAY = timedelta(days=1)

CERTIFICATE_KINDS = ("valid", "expired", "not_yet_valid", "foreign_ca", "other_host")


class Certificates:
    """A certificate authority of its own, and TLS contexts for a server below it.

    The kinds of certificates are ``valid``, ``expired`` (yesterday), ``not_yet_valid``
    (tomorrow), ``foreign_ca`` (right names, of an authority nobody trusts) and
    ``other_host`` (the right authority, wrong name).

    Args:
        names: host names and addresses that the certificates are for.
    """

    def __init__(self, names: Tuple[str, ...] = ("localhost", "127.0.0.1")) -> None:
        self._names = names
        self._ca = trustme.CA(organization_name="uun-iot sandbox")
        self._contexts: Dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def write_ca(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Write the authority's certificate as PEM, as ``REQUESTS_CA_BUNDLE`` takes it.

        Args:
            path: the file; replaced where it exists.
        """
        self._ca.cert_pem.write_to_path(os.fspath(path))

    def context(self, kind: str = "valid") -> ssl.SSLContext:
        """Return the server's TLS context with a certificate of the given kind.

        Args:
            kind: one of `CERTIFICATE_KINDS`.

        Raises:
            ValueError: there is no such kind.
        """
        with self._lock:
            if kind not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                self._issue(kind).configure_cert(context)
                self._contexts[kind] = context
            return self._contexts[kind]

    def _issue(self, kind: str) -> trustme.LeafCert:
        now = datetime.now(timezone.utc)
        if kind == "valid":
            return self._ca.issue_cert(*self._names)
        if kind == "expired":
            return self._ca.issue_cert(
                *self._names, not_before=now - 30 * _DAY, not_after=now - _DAY
            )
        if kind == "not_yet_valid":
            return self._ca.issue_cert(
                *self._names, not_before=now + _DAY, not_after=now + 30 * _DAY
            )
        if kind == "foreign_ca":
            return trustme.CA(organization_name="another CA").issue_cert(*self._names)
        if kind == "other_host":
            return self._ca.issue_cert("other-host.invalid")
        raise ValueError(
            f"no certificate of kind {kind!r}; there are {', '.join(CERTIFICATE_KINDS)}"
        )
