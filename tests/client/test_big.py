"""Big files: they are streamed, so that a device with little memory can send them."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any, List

import pytest

from tests.client.wire import WireServer
from tests.support.processes import Child
from tests.support.sandbox import Sandbox

MIB = 1 << 20
SIZE = 100 * MIB

#: sends a form twice, first refused for its token, and says how much memory that took
SENDER = """
import json, resource, sys
from uun_iot_client import RetryPolicy, UuAppClient
client = UuAppClient(json.loads(sys.argv[1]))
with open(sys.argv[2], "rb") as small:
    assert client.multipart("image/add", {"data": ("s", small, "image/png")})[1] is None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[3], "rb") as big:
    _, exc = client.multipart("image/add", {"data": ("b", big, "image/png")})
assert exc is None, exc
print("kib more:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


class Sink:
    """Takes in requests of any size, and keeps only their digests.

    The first big one it refuses with 401, as if its token had been revoked.
    """

    def __init__(self) -> None:
        self.digests: List[str] = []
        self.sizes: List[int] = []

    def __call__(self, sock: Any, ending: threading.Event) -> None:
        with sock.makefile("rb") as file:
            while True:
                length = -1
                while True:
                    line = file.readline()
                    if not line:
                        return
                    if line == b"\r\n":
                        break
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                self.take(file, length)
                refused = length > MIB and len([each for each in self.sizes if each > MIB]) == 1
                status = b"401 Unauthorized" if refused else b"200 OK"
                sock.sendall(
                    b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 2\r\n\r\n{}"
                )

    def take(self, file: Any, length: int) -> None:
        # the content stands between the head of its part and the closing boundary
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.readline()
        boundary = head.partition(b"\r\n")[0]
        size = length - len(head) - len(b"\r\n" + boundary + b"--\r\n")
        digest, left = hashlib.sha256(), size
        while left:
            piece = file.read(min(left, MIB))
            assert piece
            digest.update(piece)
            left -= len(piece)
        file.read(length - len(head) - size)
        self.digests.append(digest.hexdigest())
        self.sizes.append(size)


@pytest.mark.slow
def test_a_hundred_megabytes_are_sent_twice_in_constant_memory(
    uuapp: Sandbox, token_path: Path, tmp_path: Path
) -> None:
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_bytes(b"small")
    block = bytes(range(256)) * (MIB // 256)
    expected = hashlib.sha256()
    with big.open("wb") as file:
        for number in range(SIZE // MIB):
            piece = number.to_bytes(4, "big") + block[4:]
            file.write(piece)
            expected.update(piece)
    sink = Sink()
    with WireServer(uuapp, sink) as server:
        config = json.dumps(server.configuration(str(token_path)))
        with Child.python(SENDER, config, str(small), str(big)) as child:
            more = int(child.wait_for_line(r"^kib more: (\d+)$", timeout=300).group(1))
            assert child.wait(30) == 0
    assert sink.sizes == [len(b"small"), SIZE, SIZE]
    assert sink.digests[1:] == [expected.hexdigest()] * 2
    assert more < 8 * 1024
    assert uuapp.grants == 2
