"""A store in a child process, told what to do line by line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Optional, Type

from benchmarks.machine import ROOT

from .stores import Store

Reply = Dict[str, Any]


class Failure(Exception):
    """A store did not do what it was told, or lost entries."""


class Child:
    """A child process with one store; a context manager that ends it.

    Args:
        store: which.
        python: the interpreter that has its library.
        directory: where its files are; made if it is missing.
    """

    def __init__(self, store: Type[Store], python: str, directory: Path) -> None:
        self.store = store
        directory.mkdir(parents=True, exist_ok=True)
        # what the machine puts on Python's path must not stand in for the store's library
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.storage.worker", store.__name__, str(directory)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def begin(self, do: str, **arguments: Any) -> None:
        """Tell it to do something, without waiting."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def end(self) -> Reply:
        """Wait until what was begun is done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise Failure(f"{self.store.label}: the child ended with status {status}")
        reply: Reply = json.loads(line)
        return reply

    def ask(self, do: str, **arguments: Any) -> Reply:
        """Tell it to do something, and wait until it is done."""
        self.begin(do, **arguments)
        return self.end()

    def check(self) -> None:
        """See that it holds what was put into it."""
        count = self.ask("count")
        if count["stored"] != count["put"]:
            raise Failure(f"{self.store.label}: {count['put']} put, {count['stored']} stored")

    def die(self) -> None:
        """End it as kill -9 would."""
        self.begin("die")
        self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if exc_type is not None:
            self._process.kill()
        self._process.communicate()


def fill(store: Type[Store], python: str, directory: Path, count: int) -> None:
    """Fill a store in a child of its own, so that the next one begins with little memory."""
    with Child(store, python, directory) as child:
        child.ask("fill", count=count)
