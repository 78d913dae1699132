"""A stand-in for the weather console that the application reads, with moods."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple, Type

PATH = "/v1/current_conditions"
TYPES = (1, 2, 3, 4)
FIRST_TS = 1_700_000_000

#: what it answers instead of samples: status, body, and how many bytes too many it announces
_REPLIES: Dict[str, Tuple[int, bytes, int]] = {
    "status 500": (500, b"<html><body>Internal Server Error</body></html>", 0),
    "status 500 with JSON": (500, b'{"data": null, "error": {"code": 500}}', 0),
    "garbage": (200, b"\x00\xff\xfe{]" * 40, 0),
    "an empty body": (200, b"", 0),
    "null": (200, b"null", 0),
    "a list": (200, b"[1, 2]", 0),
    "no data": (200, b'{"error": "no sensors"}', 0),
    "data of another shape": (200, b'{"data": {"conditions": [{"lsid": 1}]}}', 0),
    "half a body": (200, b'{"data": {"did": "0', 400),
}

#: no reply at all
CLOSED, HANGING = "a closed connection", "no answer"
#: a sensor that measures nothing
NULL_VALUES = "null for a main value"

BROKEN = (*_REPLIES, CLOSED, NULL_VALUES)


class Visit(NamedTuple):
    """One request of the application.

    Args:
        run: number of the process that made it, from 1.
        serials: those of the entries that it was given.
        time: monotonic seconds.
    """

    run: int
    serials: Tuple[int, ...]
    time: float


class WeatherConsole:
    """Serves current conditions, each entry of them with a serial number of its own.

    The serial number is the entry's ``lsid``, which the application passes on; ``ts`` grows
    by a second a request. A context manager.

    Attributes:
        did: the device's id, in every sample.
        problems: what went wrong in its own threads; tests expect none.
    """

    def __init__(self, did: str = "001D0A700002") -> None:
        self.did = did
        self.problems: List[BaseException] = []
        self._changed = threading.Condition()
        self._mood: Optional[str] = None
        self._run = 0
        self._active = 0
        self._closing = False
        self._visits: List[Visit] = []
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="weather console", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> WeatherConsole:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # also waits for the threads of its requests

    # -- moods

    def behave(self, mood: Optional[str] = None) -> None:
        """Answer with samples (None), or in one of the ways of `BROKEN`, or `HANGING`."""
        assert mood is None or mood in (*BROKEN, HANGING)
        with self._changed:
            self._mood = mood
            self._changed.notify_all()

    # -- who asked, and what it was given

    def begin_run(self) -> None:
        """Count further requests as those of another process; the one before has ended.

        What it asked before its end is answered first.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._server.server_port, timeout=10)
        try:
            # accepted in turn: when this is answered, all earlier requests have their threads
            connection.request("GET", "/in-turn")
            connection.getresponse().read()
        finally:
            connection.close()
        with self._changed:
            assert self._changed.wait_for(lambda: self._active == 0, 10), "a request never ends"
            self._run += 1

    @property
    def visits(self) -> List[Visit]:
        """All requests so far (a copy)."""
        with self._changed:
            return list(self._visits)

    @property
    def batches(self) -> int:
        """How many requests were given samples."""
        return sum(1 for visit in self.visits if visit.serials)

    def merged(self) -> Set[int]:
        """Return the serials that a process has certainly stored.

        It asks again only when it is done with the answer before: a later request of the
        same process shows that storing had returned.
        """
        visits = self.visits
        last = {visit.run: number for number, visit in enumerate(visits)}
        return {
            serial
            for number, visit in enumerate(visits)
            if number < last[visit.run]
            for serial in visit.serials
        }

    # -- within

    def _entered(self) -> None:
        with self._changed:
            self._active += 1

    def _left(self) -> None:
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def _visited(self) -> Optional[Tuple[int, bytes, int]]:
        """Note a request; return status, body and surplus of the length, or None for no reply."""
        with self._changed:
            mood = self._mood
            number = len(self._visits) + 1
            serials = tuple(10 * number + kind for kind in TYPES) if mood is None else ()
            self._visits.append(Visit(self._run, serials, time.monotonic()))
            if mood == HANGING:
                # no samples afterwards: who asked may have given up meanwhile
                self._changed.wait_for(lambda: self._closing or self._mood != HANGING)
        if mood in (CLOSED, HANGING):
            return None
        if mood is None or mood == NULL_VALUES:
            reply = sample(self.did, number, null=mood == NULL_VALUES)
            return 200, json.dumps(reply).encode("utf-8"), 0
        return _REPLIES[mood]


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, console: WeatherConsole) -> None:
        self.console = console
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.console._entered()  # in the accepting thread, so in turn
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.console._left()

    def handle_error(self, request: Any, client_address: Any) -> None:
        exc = sys.exc_info()[1]
        # killed processes leave connections behind
        if exc is not None and not isinstance(exc, (ConnectionError, socket.timeout)):
            self.console.problems.append(exc)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # of each read
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/in-turn":
            reply: Optional[Tuple[int, bytes, int]] = (204, b"", 0)
        elif self.path == PATH:
            reply = self.server.console._visited()
        else:
            reply = (404, b"", 0)
        if reply is None:
            return
        status, body, surplus = reply
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + surplus))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # the test's output is not the place


def sample(did: str, number: int, null: bool = False) -> Dict[str, Any]:
    """Return the reply to the request of a number: one entry of each of the four types.

    Args:
        did: the device's id.
        number: of the request; the serial of an entry is ten times that plus its type.
        null: leave out the temperature.
    """
    makers: Tuple[Callable[[], Dict[str, Any]], ...] = (_outside, _soil, _barometer, _inside)
    conditions = [
        {"lsid": 10 * number + kind, "data_structure_type": kind, **make()}
        for kind, make in zip(TYPES, makers)
    ]
    if null:
        conditions[0]["temp"] = None
    return {"data": {"did": did, "ts": FIRST_TS + number, "conditions": conditions}, "error": None}


def _outside() -> Dict[str, Any]:
    wind = (
        *("wind_speed_avg_last_1_min", "wind_dir_scalar_avg_last_1_min"),
        *("wind_speed_avg_last_2_min", "wind_dir_scalar_avg_last_2_min"),
        *("wind_speed_hi_last_2_min", "wind_dir_at_hi_speed_last_2_min"),
        *("wind_speed_avg_last_10_min", "wind_dir_scalar_avg_last_10_min"),
        *("wind_speed_hi_last_10_min", "wind_dir_at_hi_speed_last_10_min"),
    )
    rain = (
        *("rain_size", "rain_rate_last", "rain_rate_hi", "rainfall_last_15_min"),
        *("rain_rate_hi_last_15_min", "rainfall_last_60_min", "rainfall_last_24_hr"),
        *("rain_storm", "rainfall_daily", "rainfall_monthly", "rainfall_year", "rain_storm_last"),
    )
    return {
        "txid": 1,
        "temp": 72.5,
        "hum": 48.1,
        **dict.fromkeys(("dew_point", "wet_bulb", "heat_index", "wind_chill"), 50.0),
        **dict.fromkeys(("thw_index", "thsw_index"), None),
        "wind_speed_last": 10.0,
        "wind_dir_last": 271,
        **dict.fromkeys(wind, 5),
        **dict.fromkeys(rain, 2),
        "rain_storm_start_at": FIRST_TS,
        "rain_storm_last_start_at": None,
        "rain_storm_last_end_at": None,
        "solar_rad": 747,
        "uv_index": 5.5,
        "rx_state": 0,
        "trans_battery_flag": 0,
    }


def _soil() -> Dict[str, Any]:
    numbered = ("temp_{}", "moist_soil_{}")
    return {
        "txid": 3,
        **{name.format(number): 32 for name in numbered for number in (1, 2, 3, 4)},
        "wet_leaf_1": None,
        "wet_leaf_2": None,
        "rx_state": None,
        "trans_battery_flag": None,
    }


def _barometer() -> Dict[str, Any]:
    return {"bar_sea_level": 30.0, "bar_trend": None, "bar_absolute": 29.5}


def _inside() -> Dict[str, Any]:
    return {"temp_in": 77.0, "hum_in": 36.0, "dew_point_in": 48.2, "heat_index_in": 76.1}
