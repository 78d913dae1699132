"""What the console tells a browser, as plain data without secrets."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple

from uun_iot_client.redact import HIDDEN, Redactor

from .figures import Point, SeriesKey
from .multipart import UploadedFile
from .overview import Overview
from .records import Request
from .server import Sandbox
from .switches import SWITCHES

__all__ = ["View"]

_SECRET = re.compile(r"(?i)access_?code|password|secret|token|api_?key|authorization|cookie")
#: characters of a body that are sent with the list; the whole is asked for
_SHOWN = 600
#: of a body that is asked for
_MOST = 200_000
_TOKENS = 100


class View:
    """Turns a sandbox and its overview into what a browser draws.

    Args:
        sandbox: that is shown.
        overview: what was gathered of it.
    """

    def __init__(self, sandbox: Sandbox, overview: Overview) -> None:
        self._sandbox = sandbox
        self._overview = overview
        self._redact = Redactor()
        for gateway in sandbox.uuapp.identity.gateways:
            self._redact.learn(*gateway.secrets)

    def state(self) -> Dict[str, Any]:
        """Return all that is not a list of what arrived."""
        sandbox, counts = self._sandbox, self._overview.counts
        return {
            "now": sandbox.clock.time(),
            "address": sandbox.gateway,
            "down": sandbox.down,
            "certificate": sandbox.certificate,
            "switches": {name: one.is_on(sandbox) for name, one in SWITCHES.items()},
            "faults": self._faults(),
            "script": self._script(),
            "configuration": self.configuration(),
            "gateways": [self._clean(one) for one in self._overview.gateways],
            "spans": self._overview.spans,
            "counts": {
                **counts._asdict(),
                **self._overview.totals,
                "connections": sandbox.connections,
            },
        }

    def configuration(self) -> str:
        """Return the published configuration as text."""
        return json.dumps(self._sandbox.published, indent=2, ensure_ascii=False)

    def requests_since(self, number: int, most: int) -> List[Dict[str, Any]]:
        """Return the requests after the one of a number, the latest where they are too many."""
        return [self._request(one, _SHOWN) for one in self._sandbox.records.since(number)[-most:]]

    def request(self, request: Request) -> Dict[str, Any]:
        """Return a request with its whole body and its headers."""
        return {
            **self._request(request, _MOST),
            "headers": self._clean(dict(request.headers)),
            "requestId": request.request_id,
            "connection": request.connection,
        }

    def figures(self, series: List[Tuple[SeriesKey, List[Point]]]) -> List[Dict[str, Any]]:
        """Return series of points; the time first, then the value."""
        return [
            {
                "gateway": gateway,
                "command": command,
                "name": self._redact(name),
                "points": [[point.time, point.value] for point in points],
            }
            for (gateway, command, name), points in series
        ]

    def _request(self, request: Request, most: int) -> Dict[str, Any]:
        body = "" if request.dto_in is None else self._text(request.dto_in)
        return {
            "number": request.number,
            "time": request.time,
            "method": request.method,
            "command": self._redact(request.command or request.path),
            "status": request.status,
            "processed": request.processed,
            "answered": request.answered,
            "faults": request.faults,
            "identity": request.identity,
            "address": request.address,
            "body": body[:most],
            "cut": len(body) > most,
        }

    def _text(self, value: Any) -> str:
        return json.dumps(self._clean(value), ensure_ascii=False)

    def _clean(self, value: Any, key: str = "") -> Any:
        """Return JSON data in which no secret is seen."""
        if isinstance(value, str):
            if _SECRET.search(key) and value:
                return HIDDEN
            for token in self._sandbox.tokens.given_out[-_TOKENS:]:
                value = value.replace(token, HIDDEN)
            return self._redact(value)
        if isinstance(value, dict):
            return {
                self._clean(str(name)): self._clean(one, str(name)) for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._clean(one, key) for one in value]
        if isinstance(value, UploadedFile):
            return {"file": self._clean(value.as_json())}
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
            return str(value)  # Python reads such from JSON, browsers do not
        return value

    def _faults(self) -> List[Dict[str, Any]]:
        switched = [one.fault for one in SWITCHES.values()]
        return [
            {"id": id(fault), "text": fault.text, "switch": fault in switched}
            for fault in self._sandbox.faults.in_force()
        ]

    def _script(self) -> Any:
        timeline = self._sandbox.timeline
        if timeline is None:
            return None
        return {
            "name": timeline.script.name,
            "title": timeline.script.title,
            "seconds": timeline.seconds,
            "length": timeline.script.seconds,
            "done": timeline.done,
            "next": timeline.to_come[:6],
        }
