"""Certificates of the sandbox: its CA, made or kept, and server certificates good and bad."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Optional, Tuple, Union

from .extra import missing_extra

if TYPE_CHECKING:
    import trustme

__all__ = ["CERTIFICATE_KINDS", "Certificates"]

_DAY = timedelta(days=1)
_KEY_BEGINS = b"-----BEGIN"

#: key and certificate of an authority that is kept, in its directory
AUTHORITY = "authority.pem"

CERTIFICATE_KINDS = ("valid", "expired", "not_yet_valid", "foreign_ca", "other_host")


class Certificates:
    """A certificate authority of its own, and TLS contexts for a server below it.

    The kinds of certificates are ``valid``, ``expired`` (yesterday), ``not_yet_valid``
    (tomorrow), ``foreign_ca`` (right names, of an authority nobody trusts) and
    ``other_host`` (the right authority, wrong name).

    Args:
        names: host names and addresses that the certificates are for.
        directory: where the authority is kept, key and certificate in one file that its
            owner alone can read; made where there is none yet. None makes an authority
            that is gone with this object.

    Raises:
        ModuleNotFoundError: trustme or cryptography is not installed; the text says how.
        ValueError: the kept authority is damaged.
        OSError: the directory or the file cannot be made or read.
    """

    def __init__(
        self,
        names: Tuple[str, ...] = ("localhost", "127.0.0.1"),
        directory: Optional[Union[str, "os.PathLike[str]"]] = None,
    ) -> None:
        self._names = names
        self._ca = _new_authority() if directory is None else _kept_authority(Path(directory))
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
            return _new_authority("another CA").issue_cert(*self._names)
        if kind == "other_host":
            return self._ca.issue_cert("other-host.invalid")
        raise ValueError(
            f"no certificate of kind {kind!r}; there are {', '.join(CERTIFICATE_KINDS)}"
        )


def _new_authority(name: str = "uun-iot sandbox") -> trustme.CA:
    missing = missing_extra(console=False)
    if missing is not None:
        raise ModuleNotFoundError(missing)
    import trustme

    return trustme.CA(organization_name=name)


def _kept_authority(directory: Path) -> trustme.CA:
    """Load the authority of a directory, or make it there."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / AUTHORITY
    if not path.exists():
        new = _new_authority()
        _create(path, new.private_key_pem.bytes() + new.cert_pem.bytes())
    # loaded also when it was just made: another process may have been quicker
    return _load(path)


def _create(path: Path, data: bytes) -> None:
    """Make a file whole and for its owner alone, unless there is one."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _load(path: Path) -> trustme.CA:
    missing = missing_extra(console=False)
    if missing is not None:
        raise ModuleNotFoundError(missing)
    import trustme

    key, begin, certificate = path.read_bytes().rpartition(_KEY_BEGINS)
    try:
        return trustme.CA.from_pem(begin + certificate, key)
    except (ValueError, TypeError):
        raise ValueError(
            f"{path}: this is not a key and a certificate; remove it, and a new authority is made"
        ) from None
