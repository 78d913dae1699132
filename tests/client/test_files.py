"""Files that are sent in forms, and change or fail meanwhile: no trouble of the network."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from requests_toolbelt.multipart.encoder import MultipartEncoder

from tests.client.wire import WireServer
from tests.support.sandbox import Sandbox
from uun_iot_client import DtoInError, RetryPolicy, UuAppClient

COMMAND = "weather/add"
SIZE = 100_000


class Meanwhile(io.FileIO):
    """A file to which something happens when it is read for the second time."""

    def __init__(self, path: Path, happen: Callable[[], object]) -> None:
        super().__init__(str(path), "rb")
        self._happen = happen
        self._reads = 0

    def read(self, *args: Any) -> Any:
        self._reads += 1
        if self._reads == 2:
            self._happen()
        return super().read(*args)


class Requests:
    """Reads requests off the wire, one after the other, as a server does."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def __call__(self, sock: Any, ending: threading.Event) -> None:
        with sock.makefile("rb") as file:
            while True:
                line = file.readline()
                if not line:
                    return
                self.lines.append(line.decode("latin-1").strip())
                length = 0
                for header in iter(file.readline, b"\r\n"):
                    if not header:
                        return
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if len(file.read(length)) < length:
                    return
                body = json.dumps({"to": self.lines[-1]}).encode()
                sock.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(b"a" * SIZE)
    return path


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"b" * 1000 + b"\r\n\r\nGET /stolen HTTP/1.1\r\nContent-Length: 0\r\n\r\n")


def test_a_file_that_grows_is_sent_as_long_as_it_was(
    uuapp: Sandbox, client: UuAppClient, path: Path
) -> None:
    with Meanwhile(path, lambda: append(path)) as file:
        assert client.multipart(COMMAND, {"data": ("log", file, "text/plain")})[1] is None
    assert uuapp.received(COMMAND)[0]["data"].content == b"a" * SIZE


@pytest.mark.parametrize("encoder", [False, True])
@pytest.mark.parametrize("grows", [False, True])
def test_what_is_sent_is_never_read_as_another_request(
    uuapp: Sandbox, token_path: Path, path: Path, grows: bool, encoder: bool
) -> None:
    def happen() -> None:
        if grows:
            append(path)
        else:
            os.truncate(path, 1000)

    served = Requests()
    with WireServer(uuapp, served) as server:
        client = UuAppClient(server.configuration(str(token_path)), read_timeout=10)
        assert client.post("x/before")[1] is None  # a kept connection carries the form
        with Meanwhile(path, happen) as file:
            fields = {"data": ("log", file, "text/plain")}
            retry = RetryPolicy(attempts=3, backoff=0.0)
            if encoder:
                _, exc = client.post("x/up", MultipartEncoder(fields), retry=retry)
            else:
                _, exc = client.multipart("x/up", fields, retry=retry, idempotent=True)
        if grows and not encoder:
            assert exc is None
        else:
            assert isinstance(exc, DtoInError)
            assert f"became {'longer' if grows else 'shorter'} while it was sent" in str(exc)
        for number in range(3):
            response, exc = client.post(f"x/call{number}")
            assert exc is None and response is not None
            assert f"x/call{number}" in response.json()["to"]
        del response, _  # which keep the pool of their connection alive
        client.close()
    assert [line.rpartition("x/")[2] for line in served.lines] == [
        f"{name} HTTP/1.1" for name in ("before", "up", "call0", "call1", "call2")
    ]


class Broken(io.BytesIO):
    """A file on a disk that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"a" * 1000)
        self._error = error
        self.reads = 0

    def read(self, *args: Any) -> bytes:
        self.reads += 1
        raise self._error


@pytest.mark.parametrize("error", [OSError(5, "disk"), BrokenPipeError(32, "pipe"), ValueError()])
@pytest.mark.parametrize("encoder", [False, True])
def test_a_file_that_cannot_be_read_is_no_failure_of_the_network(
    uuapp: Sandbox, config: Dict[str, Any], error: Exception, encoder: bool
) -> None:
    client = UuAppClient(config, breaker_failures=1)
    for _ in range(3):
        file = Broken(error)
        fields = {"data": ("x", _Unnamed(file) if encoder else file, "text/plain")}
        if encoder:
            _, exc = client.post(COMMAND, MultipartEncoder(fields))
        else:
            retry = RetryPolicy(attempts=3, backoff=0.0)
            _, exc = client.multipart(COMMAND, fields, retry=retry, idempotent=True)
        assert isinstance(exc, DtoInError)
        assert "cannot be read" in str(exc)
        assert file.reads == 1
    assert client.get(COMMAND)[1] is None
    assert uuapp.received(COMMAND) == [{}]


class _Unnamed:
    """A file that an encoder does not copy into memory."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.len = 1000

    def read(self, *args: Any) -> bytes:
        found: bytes = self._file.read(*args)
        return found
