"""What went wrong where no reply came: one line for people, with nothing secret in it."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Tuple, Type
from urllib.parse import urlsplit

from .calls import Call, Ended
from .errors import network_error, protocol_error
from .redact import Redactor

if TYPE_CHECKING:
    import requests

__all__ = ["ended", "failure", "network_errors"]

# X509_V_ERR_* of OpenSSL
_CERT_NOT_YET_VALID, _CERT_EXPIRED = 9, 10
_CERT_OF_NOBODY_KNOWN = {18, 19, 20, 21}


@lru_cache(maxsize=None)
def network_errors() -> Tuple[Type[Exception], ...]:
    """Return what requests raises where there is no reply that can be read.

    Mostly it is one of its own, but some errors of ssl, sockets, HTTP's parser and urllib3 come
    through as they are.
    """
    from http.client import HTTPException

    import requests
    from urllib3.exceptions import HTTPError

    return requests.RequestException, HTTPError, HTTPException, OSError


def ended(call: Call, url: str, seconds: float, redact: Redactor) -> requests.RequestException:
    """Return the error of a request that was ended by force.

    Args:
        call: the request.
        url: where to.
        seconds: of its deadline.
        redact: hides secrets.
    """
    import requests

    where = urlsplit(url).netloc
    if call.ended is Ended.DEADLINE:
        text = f"{where}: Timeout: the reply had not come within the {seconds:.1f} s there were"
        return network_error(redact(text), requests.Timeout, call.may_have_arrived)
    text = (
        f"{where}: ConnectionError: the request was ended because the"
        " gateway stops, and its reply had not come in time"
    )
    return network_error(redact(text), requests.ConnectionError, call.may_have_arrived)


def failure(exc: Exception, call: Call, url: str, redact: Redactor) -> requests.RequestException:
    """Return an error of the client that says what happened, in one line.

    Args:
        exc: what requests raised; also errors of ssl and urllib3 come through as they are.
        call: the request.
        url: where to.
        redact: hides secrets.
    """
    import ssl  # only where requests has been imported, which takes most of its memory and time

    import requests

    cls: Type[requests.RequestException]
    if isinstance(exc, requests.RequestException):
        cls = type(exc)
    elif isinstance(exc, ssl.SSLError):
        cls = requests.exceptions.SSLError
    elif isinstance(exc, OSError):
        cls = requests.ConnectionError
    else:
        cls = requests.RequestException
    text = redact(f"{urlsplit(url).netloc}: {cls.__name__}: {_reason(exc)}")
    no_reply = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    )
    if issubclass(cls, no_reply):
        return network_error(text, cls, call.may_have_arrived)
    # what came was not understood: too many redirects, a redirect to nowhere, a damaged body
    return protocol_error(text, cls=cls)


def _root(exc: BaseException) -> BaseException:
    """Return what is at the bottom of an error: mostly the `OSError` of a socket."""
    seen = {id(exc)}
    while True:
        # not `__context__`: that may be what the caller was handling
        held = (getattr(exc, "reason", None), *exc.args, exc.__cause__)
        inner = [each for each in held if isinstance(each, BaseException) and id(each) not in seen]
        if not inner:
            return exc
        exc = inner[0]
        seen.add(id(exc))


def _reason(exc: BaseException) -> str:
    import ssl

    root = _root(exc)
    if isinstance(root, ssl.SSLCertVerificationError):
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if root.verify_code == _CERT_NOT_YET_VALID:
            return (
                f"the server's certificate is not yet valid by this device's date {now}:"
                " is its clock set?"
            )
        if root.verify_code == _CERT_EXPIRED:
            return f"the server's certificate has expired by this device's date {now}"
        said = f"the server's certificate is not accepted: {root.verify_message}"
        if root.verify_code in _CERT_OF_NOBODY_KNOWN:
            said += "; if the authority is your own, name its file in REQUESTS_CA_BUNDLE"
        return said
    if isinstance(root, OSError):
        return str(root) or type(root).__name__
    return type(root).__name__  # parsers of HTTP quote what they read
