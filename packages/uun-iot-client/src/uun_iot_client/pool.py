"""The session of requests beneath the client: pooled, HTTPS only, and discreet."""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Iterator, Optional, Tuple, Type
from urllib.parse import urljoin, urlsplit

from .connections import tracked
from .redact import Secret

if TYPE_CHECKING:
    import requests

__all__ = ["bearer_auth", "new_session"]

_REDIRECTS = 5
# Connections kept to one host; more than this may be open at a time, and are closed after use.
_POOL_SIZE = 32


def _origin(url: str) -> Tuple[str, Optional[str], int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


def new_session(reply_limit: int) -> requests.Session:
    """Return a session with connections of its own.

    Args:
        reply_limit: bytes; a reply with a bigger body is an error.
    """
    session: requests.Session = _session_class()(reply_limit)
    return session


def bearer_auth(token: Optional[str]) -> Any:
    """Return what sets the bearer of a request, or none.

    Being there, it keeps .netrc and the URL from setting one.

    Args:
        token: the bearer.
    """
    return _auth_class()(token)


def _limit(raw: Any, limit: int) -> None:
    """Let the body of a response end with an error where it is too big for a device's memory.

    Args:
        raw: the response of urllib3, which whoever reads the body keeps alive.
        limit: bytes.
    """
    # weak, or each response would wait for the garbage collector
    found = weakref.ref(raw)

    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        raw = found()
        assert raw is not None  # who reads it has it
        return _limited(raw, limit, type(raw).stream(raw, *args, **kwargs))

    raw.stream = stream


def _limited(raw: Any, limit: int, chunks: Iterator[Any]) -> Iterator[Any]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raw.close()
            from requests.exceptions import ContentDecodingError

            raise ContentDecodingError(
                f"the reply is bigger than {limit} bytes, the client's `reply_limit`"
            )
        yield chunk


@lru_cache(maxsize=None)
def _session_class() -> Type[Any]:
    import requests
    from requests.adapters import BaseAdapter, HTTPAdapter
    from requests.cookies import RequestsCookieJar

    def track(manager: Any) -> None:
        classes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {**classes, "https": tracked(classes["https"])}

    class TrackedAdapter(HTTPAdapter):
        """Its connections, also those by a proxy, know the call that uses them."""

        def __init__(self, reply_limit: int, **kwargs: Any) -> None:
            self._reply_limit = reply_limit
            super().__init__(**kwargs)

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            track(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **proxy_kwargs)
            if is_new:
                track(manager)
            return manager

        def build_response(self, req: Any, resp: Any) -> requests.Response:
            _limit(resp, self._reply_limit)
            return super().build_response(req, resp)

    class NoCookies(RequestsCookieJar):
        """Takes none in: it is shared by all threads, and looking through them costs time."""

        def extract_cookies(self, response: Any, request: Any) -> None:
            pass

    class PooledSession(requests.Session):
        """HTTPS only, no cookies, no .netrc, and the bearer stays with its host."""

        def __init__(self, reply_limit: int) -> None:
            super().__init__()
            self.adapters.clear()
            adapter = TrackedAdapter(
                reply_limit, pool_connections=4, pool_maxsize=_POOL_SIZE, max_retries=0
            )
            self.mount("https://", adapter)
            self.max_redirects = _REDIRECTS
            self.cookies = NoCookies()

        def get_adapter(self, url: Any) -> BaseAdapter:
            if not str(url).lower().startswith("https://"):
                raise requests.exceptions.InvalidSchema(
                    "only HTTPS is spoken; a request, or a redirect, led to another scheme"
                )
            return super().get_adapter(url)

        def get_redirect_target(self, resp: requests.Response) -> Optional[str]:
            if resp.request.method != "GET":
                return None  # it is not followed; requests would prepare it all the same
            try:
                target = super().get_redirect_target(resp)
                if target is not None:
                    _origin(urljoin(str(resp.url), target))
                return target
            except ValueError:
                resp.close()  # nobody reads its body now
                text = "the reply is a redirect to what is no URL"
            raise requests.exceptions.InvalidURL(text)

        def rebuild_auth(self, prepared_request: Any, response: requests.Response) -> None:
            # stricter than requests (it follows to a subdomain's port), and without .netrc
            if _origin(str(response.request.url)) != _origin(prepared_request.url):
                prepared_request.headers.pop("Authorization", None)

    return PooledSession


@lru_cache(maxsize=None)
def _auth_class() -> Type[Any]:
    from requests.auth import AuthBase

    class Bearer(AuthBase):
        """Sets the bearer, or none."""

        def __init__(self, token: Optional[str]) -> None:
            self._token = token

        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            if self._token is not None:
                request.headers["Authorization"] = Secret(f"Bearer {self._token}")
            return request

    return Bearer
