"""Runs one contender in a process of its own, with whatever interpreter has it.

A script: `worker.py NAME CONFIG`, then lines on standard input, `METHOD THREADS NUMBER` each,
answered with seconds for a request; `first` sends one request and says so.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, Callable, Dict

DTO = {"temperature": 21.5, "humidity": 40.25, "timestamp": "2026-11-24T12:00:00.000Z"}
COMMAND = "weather/add"


def bare(config: Dict[str, Any]) -> Dict[str, Callable[[], Any]]:
    import requests

    session = requests.Session()
    app = config["uuApp"]
    url = f"https://{app['gateway']}/{app['uuAppName']}/{app['awid']}/{COMMAND}"
    headers = {"Authorization": "Bearer " + "t" * 900}

    def get() -> Any:
        return session.get(url, json=DTO, headers=headers, timeout=(10, 30)).raise_for_status()

    def post() -> Any:
        return session.post(url, json=DTO, headers=headers, timeout=(10, 30)).raise_for_status()

    return {"get": get, "post": post, "session": post}


def ours(config: Dict[str, Any]) -> Dict[str, Callable[[], Any]]:
    from uun_iot_client import UuAppClient, UuCmdSession

    return _calls(UuAppClient(config), UuCmdSession)


def published(config: Dict[str, Any]) -> Dict[str, Callable[[], Any]]:
    from uun_iot import UuAppClient, UuCmdSession  # of 0.12.14

    return _calls(UuAppClient(config), UuCmdSession)


def _calls(client: Any, session_class: Any) -> Dict[str, Callable[[], Any]]:
    session = session_class(client, COMMAND)

    def checked(call: Callable[[], Any]) -> Callable[[], Any]:
        def checking() -> None:
            _, exc = call()
            if exc is not None:
                raise exc

        return checking

    return {
        "get": checked(lambda: client.get(COMMAND, DTO)),
        "post": checked(lambda: client.post(COMMAND, DTO)),
        "session": checked(lambda: session.post(DTO)),
    }


def timed(call: Callable[[], Any], threads: int, number: int) -> float:
    """Return seconds for a request: of all threads together, divided by all requests."""
    each = max(1, number // threads)
    failures = []

    def work() -> None:
        try:
            for _ in range(each):
                call()
        except Exception as exc:
            failures.append(exc)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds / (each * threads)


def main() -> None:
    name, config = sys.argv[1], json.loads(sys.argv[2])
    calls = {"bare": bare, "ours": ours, "published": published}[name](config)
    for line in sys.stdin:
        if line.strip() == "first":
            calls["post"]()
            print("done", flush=True)
            continue
        method, threads, number = line.split()
        print(timed(calls[method], int(threads), int(number)), flush=True)


if __name__ == "__main__":
    main()
