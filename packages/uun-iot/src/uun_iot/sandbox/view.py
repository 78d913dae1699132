"""What the console tells a browser, as plain data without secrets."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from .excerpt import Excerpts
from .figures import Point, SeriesKey
from .overview import Overview
from .records import Request
from .server import Sandbox
from .switches import SWITCHES

__all__ = ["View"]

#: characters of a body that are sent with the list; the whole is asked for
_SHOWN = 600
#: of a body that is asked for
_MOST = 200_000
#: of a body that is searched
_SEARCHED = 50_000
#: of a heartbeat, which is told again at each change, and of a header
_HEARTBEAT = 2000
_HEADER = 200


class View:
    """Turns a sandbox and its overview into what a browser draws.

    Args:
        sandbox: that is shown.
        overview: what was gathered of it.
    """

    def __init__(self, sandbox: Sandbox, overview: Overview) -> None:
        self._sandbox = sandbox
        self._overview = overview
        self._excerpts = Excerpts(sandbox)

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
            "gateways": [self._gateway(one) for one in self._overview.gateways],
            "moreGateways": self._overview.more_gateways,
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
            "headers": self._excerpts.of(dict(request.headers), _MOST).value,
            "requestId": request.request_id,
            "connection": request.connection,
        }

    def matching(self, words: List[str]) -> List[int]:
        """Return the numbers of the kept requests whose bodies have all of some words.

        Args:
            words: in lower case. Secrets are not found.
        """
        found = []
        for request in self._sandbox.records.requests:
            one = self._request(request, _SEARCHED)
            # as the page has it, which looks itself where the body is short
            text = (
                f"{one['method']} {one['command']} {one['status'] or 'none'} "
                f"{one['identity'] or ''} {' '.join(one['faults'])} {one['body']}"
            ).lower()
            if all(word in text for word in words):
                found.append(request.number)
        return found

    def figures(self, series: List[Tuple[SeriesKey, List[Point]]]) -> List[Dict[str, Any]]:
        """Return series of points; the time first, then the value."""
        return [
            {
                "gateway": gateway,
                "command": command,
                "name": self._excerpts.text(name),
                "points": [[point.time, point.value] for point in points],
            }
            for (gateway, command, name), points in series
        ]

    def _gateway(self, seen: Dict[str, Any]) -> Dict[str, Any]:
        heartbeat, agent = seen["heartbeat"], seen["agent"]
        return {
            **seen,
            "heartbeat": heartbeat and self._excerpts.of(heartbeat, _HEARTBEAT).value,
            "agent": self._excerpts.of(agent, _HEADER).value,
        }

    def _request(self, request: Request, most: int) -> Dict[str, Any]:
        body, cut = "", False
        if request.dto_in is not None:
            value, cut = self._excerpts.of(request.dto_in, most)
            body = json.dumps(value, ensure_ascii=False)
        return {
            "number": request.number,
            "time": request.time,
            "method": request.method,
            "command": self._excerpts.text(request.command or request.path),
            "status": request.status,
            "processed": request.processed,
            "answered": request.answered,
            "faults": request.faults,
            "identity": request.identity,
            "address": request.address,
            "body": body[:most],
            "cut": cut or len(body) > most,
        }

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
