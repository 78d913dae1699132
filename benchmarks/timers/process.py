"""What the library costs a process that does next to nothing: its import, and an idle gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Tuple

IMPORT = """
import json, sys, time
before = set(sys.modules)
begin = time.perf_counter()
for name in {names!r}:
    __import__(name)
print(json.dumps([time.perf_counter() - begin, sorted(set(sys.modules) - before)]))
"""

IDLE = """
import sys
from {library} import Gateway, on
class Idle:
    id = "idle"
    @on("tick")
    def tick(self):
        pass
with Gateway(sys.argv[1], lambda config, client: Idle()) as gateway:
    print("started", flush=True)
    gateway.stopev.wait()
"""


def _environment() -> Dict[str, str]:
    """Return an environment in which bytecode is kept, as it is where the library is installed."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in left_out}


def _import(names: List[str]) -> Tuple[float, List[str]]:
    code = IMPORT.format(names=names)
    out = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, new = json.loads(out.stdout)
    return float(seconds), new


def imports(rounds: int) -> Dict[str, float]:
    """Return milliseconds of `import uun_iot_core`, and of the standard modules it brings.

    The least of the rounds: what else the machine does makes others longer, never shorter.
    """
    _, new = _import(["uun_iot_core"])
    standard = [name for name in new if name.partition(".")[0] != "uun_iot_core"]
    own, theirs = [], []
    for _ in range(rounds):
        own.append(_import(["uun_iot_core"])[0])
        theirs.append(_import(standard)[0])
    return {"own": min(own) * 1e3, "standard": min(theirs) * 1e3}


def _switches(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep of their own accord."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text(encoding="ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def idle(library: str, period: float, seconds: float) -> Dict[str, float]:
    """Return resident memory and wake-ups of a gateway with one timer that does nothing.

    Args:
        library: where `Gateway` is imported from.
        period: of the timer, in seconds.
        seconds: how long its wake-ups are counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({"gateway": {"moduleTimers": {"idle": period}}}))
        process = subprocess.Popen(
            [sys.executable, "-c", IDLE.format(library=library), str(path)],
            env=_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.5)
            before, begin = _switches(process.pid), time.monotonic()
            time.sleep(seconds)
            switches, took = _switches(process.pid) - before, time.monotonic() - begin
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        finally:
            process.kill()
            process.communicate()
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "wakeups": switches / took,
        "ticks": 1 / period,
    }
