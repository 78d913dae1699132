"""The console's pages and its HTTP interface, as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
import json
from importlib import resources
from typing import Any, AsyncIterator, Callable, Dict, List, Mapping, Tuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..actions import parse_action
from ..overview import Overview
from ..script import Script
from ..server import Sandbox
from ..switches import SWITCHES
from ..view import View
from .editor import check
from .feed import Feed
from .guard import Guard

__all__ = ["make_app"]

_STATIC = {
    "": ("index.html", "text/html; charset=utf-8"),
    "console.css": ("console.css", "text/css; charset=utf-8"),
    "console.js": ("console.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_JSON = "application/json"
_TOML = "application/toml"
_MOST_BYTES = 1024 * 1024
#: requests that a browser is sent at once
_MOST_REQUESTS = 300
#: seconds between two looks of a stream, and between two signs of life
_PAUSE = 0.2
_IDLE = 15.0


class _Json(JSONResponse):
    """JSON also of what a request may hold but UTF-8 does not know: half a pair of surrogates."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def make_app(sandbox: Sandbox, overview: Overview, feed: Feed) -> Starlette:
    """Return the application.

    Args:
        sandbox: that it shows and changes.
        overview: what was gathered of it.
        feed: wakes its streams.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        feed.open()
        try:
            yield
        finally:
            feed.leave()

    api = _Api(sandbox, overview, feed)
    routes = [Route("/" + path, _static(*file)) for path, file in _STATIC.items()]
    routes += [Route(f"/api/{path}", call, methods=[method]) for method, path, call in api.routes]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard)],
        exception_handlers={HTTPException: _explain},
        lifespan=lifespan,
    )


async def _explain(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return _Json({"error": exc.detail}, exc.status_code, headers=exc.headers)


def _static(name: str, media_type: str) -> Callable[[Request], Response]:
    content = resources.files(__package__).joinpath("static").joinpath(name).read_bytes()

    def page(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return page


async def _body(request: Request, content_type: str) -> str:
    """Return the text of a body; of one content type only, which no form can have."""
    got = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if got != content_type:
        raise HTTPException(415, f"expected Content-Type: {content_type}")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _MOST_BYTES:
            raise HTTPException(413, f"expected at most {_MOST_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not UTF-8") from None


async def _object(request: Request) -> Mapping[str, Any]:
    """Return the JSON object of a body."""
    try:
        value = json.loads(await _body(request, _JSON))
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "expected a JSON object")
    return value


def _done(**data: Any) -> Response:
    return _Json({"done": True, **data})


class _Api:
    """The HTTP interface of a sandbox.

    Args:
        sandbox: that it shows and changes.
        overview: what was gathered of it.
        feed: wakes its streams.
    """

    def __init__(self, sandbox: Sandbox, overview: Overview, feed: Feed) -> None:
        self._sandbox = sandbox
        self._overview = overview
        self._feed = feed
        self._view = View(sandbox, overview)
        self.routes: List[Tuple[str, str, Callable[..., Any]]] = [
            ("GET", "state", self.state),
            ("GET", "events", self.events),
            ("GET", "requests", self.requests),
            ("GET", "requests/{number:int}", self.request),
            ("GET", "search", self.search),
            ("GET", "configuration", self.configuration),
            ("PUT", "configuration", self.publish),
            ("POST", "configuration/check", self.check),
            ("POST", "actions", self.act),
            ("PUT", "switches/{name}", self.switch),
            ("DELETE", "faults", self.clear),
            ("DELETE", "faults/{id:int}", self.remove),
            ("PUT", "script", self.play),
            ("DELETE", "script", self.end_script),
        ]

    # -- looking

    async def state(self, request: Request) -> Response:
        return _Json(await run_in_threadpool(self._view.state))

    async def requests(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):
            raise HTTPException(400, "since: expected the number of a request")
        return _Json(await run_in_threadpool(self._view.requests_since, int(since), _MOST_REQUESTS))

    async def request(self, request: Request) -> Response:
        found = self._sandbox.records.get(request.path_params["number"])
        if found is None:
            raise HTTPException(404, "this request is not kept any more")
        return _Json(await run_in_threadpool(self._view.request, found))

    async def search(self, request: Request) -> Response:
        words = request.query_params.get("words", "").lower().split()
        return _Json({"numbers": await run_in_threadpool(self._view.matching, words)})

    async def configuration(self, request: Request) -> Response:
        return Response(self._view.configuration(), media_type=_JSON)

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        """Tell a browser all there is, then what changes, a few times in a second at most."""
        number = point = second = 0
        changed = self._feed.subscribe()
        try:
            while not self._feed.closed:
                try:
                    await asyncio.wait_for(changed.wait(), _IDLE)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                changed.clear()
                news = await run_in_threadpool(self._news, number, point, second)
                number, point, second = news.pop("cursor")
                for name, data in news.items():
                    yield f"event: {name}\ndata: {json.dumps(data)}\n\n"
                await asyncio.sleep(_PAUSE)
        finally:
            self._feed.unsubscribe(changed)

    def _news(self, number: int, point: int, second: int) -> Dict[str, Any]:
        requests = self._view.requests_since(number, _MOST_REQUESTS)
        latest, series = self._overview.figures_since(point)
        activity = self._overview.activity_since(second)
        return {
            "cursor": (
                requests[-1]["number"] if requests else number,
                latest,
                activity[-1][0] if activity else second,
            ),
            "figures": self._view.figures(series),
            "activity": activity,
            "requests": requests,
            "state": self._view.state(),
        }

    # -- changing

    async def check(self, request: Request) -> Response:
        checked = await run_in_threadpool(check, await _body(request, _JSON))
        return _Json({"problems": [one._asdict() for one in checked.problems]})

    async def publish(self, request: Request) -> Response:
        """Publish what is JSON; what a gateway would refuse only with ``?anyway``."""
        checked = await run_in_threadpool(check, await _body(request, _JSON))
        found = [one._asdict() for one in checked.problems]
        if checked.value is None or (found and "anyway" not in request.query_params):
            return _Json({"error": "it is not published", "problems": found}, 422)
        try:
            await run_in_threadpool(self._sandbox.publish, checked.value)
        except OSError as exc:
            raise HTTPException(500, f"it cannot be kept: {exc}") from None
        return _done(problems=found)

    async def act(self, request: Request) -> Response:
        """Do what a step of a script says."""
        try:
            action = parse_action(await _object(request))
        except ValueError as exc:
            raise HTTPException(400, str(exc)) from None
        await run_in_threadpool(action.apply, self._sandbox)
        return _done(text=action.text)

    async def switch(self, request: Request) -> Response:
        switch = SWITCHES.get(request.path_params["name"])
        if switch is None:
            raise HTTPException(404, f"there is no such switch; there are {', '.join(SWITCHES)}")
        on = (await _object(request)).get("on")
        if not isinstance(on, bool):
            raise HTTPException(400, "on: expected true or false")
        await run_in_threadpool(switch.turn, self._sandbox, on)
        return _done(on=switch.is_on(self._sandbox))

    async def clear(self, request: Request) -> Response:
        await run_in_threadpool(self._sandbox.clear)
        return _done()

    async def remove(self, request: Request) -> Response:
        for fault in self._sandbox.faults.in_force():
            if id(fault) == request.path_params["id"]:
                self._sandbox.faults.remove(fault)
                return _done()
        raise HTTPException(404, "this fault is not in force any more")

    async def play(self, request: Request) -> Response:
        try:
            script = Script.parse(await _body(request, _TOML))
        except (ValueError, ModuleNotFoundError) as exc:
            raise HTTPException(400, str(exc)) from None
        await run_in_threadpool(self._sandbox.play, script)
        self._feed.notify()
        return _done(seconds=script.seconds)

    async def end_script(self, request: Request) -> Response:
        timeline = self._sandbox.timeline
        if timeline is not None:
            await run_in_threadpool(timeline.stop)
        self._feed.notify()
        return _done()
