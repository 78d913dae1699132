"""Who may talk to the console: pages of its own, under a loopback name, and programs."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, MutableMapping, Optional
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_NAMES = ("localhost", "127.0.0.1", "::1")
_SAFE = ("GET", "HEAD")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what other web pages may send, and adds the headers that confine our own.

    A page elsewhere can make a browser send requests here. Under a name of its own that
    resolves to this machine (DNS rebinding) its ``Host`` gives it away; under ours its
    ``Origin`` or ``Sec-Fetch-Site`` does, one of which browsers always send.

    Args:
        app: what is guarded.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_confined(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = refusal(scope["method"], Headers(scope=scope))
        if refused is None:
            await self._app(scope, receive, send_confined)
        else:
            await JSONResponse({"error": refused}, 403)(scope, receive, send_confined)


def refusal(method: str, headers: Headers) -> Optional[str]:
    """Return why a request is refused, None where it is not.

    Args:
        method: of the request.
        headers: of the request.
    """
    hosts = headers.getlist("host")
    try:
        name = urlsplit(f"//{hosts[0]}").hostname if len(hosts) == 1 else None
    except ValueError:
        name = None
    if name not in _NAMES:
        return "the console answers only to localhost, 127.0.0.1 and [::1]"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{hosts[0]}":
        return "the console takes requests of its own pages only"
    site = headers.get("sec-fetch-site", "none")
    navigates = headers.get("sec-fetch-mode") == "navigate" and method in _SAFE
    if site not in ("same-origin", "none") and not navigates:
        return "the console takes requests of its own pages only"
    return None
