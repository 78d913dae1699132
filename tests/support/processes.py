"""Child processes whose output is read line by line, and which never outlive their test."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO, List, Mapping, Optional, Sequence, Tuple, Type


class Child:
    """A running child process; a context manager that ends it.

    Standard output and error are read by threads of their own; `lines` and `errors` hold
    what came so far.

    Args:
        arguments: the command.
        env: its environment; that of this process where None.
        cwd: its directory.
        grace: seconds between SIGTERM and SIGKILL when the block is left.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
        grace: float = 5.0,
    ) -> None:
        self._grace = grace
        self._changed = threading.Condition()
        self._lines: List[str] = []
        self._errors: List[str] = []
        self._reading = 2
        self.process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=None if env is None else dict(env),
            cwd=cwd,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self._lines), (self.process.stderr, self._errors))
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def python(
        cls,
        script: str,
        *arguments: str,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> Child:
        """Run a script (its text) with this interpreter, its output unbuffered."""
        return cls([sys.executable, "-u", "-c", script, *arguments], env=env, cwd=cwd)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def lines(self) -> List[str]:
        """The lines of standard output so far."""
        with self._changed:
            return list(self._lines)

    @property
    def errors(self) -> List[str]:
        """The lines of standard error so far."""
        with self._changed:
            return list(self._errors)

    def wait_for_line(self, pattern: str, timeout: float = 10.0, start: int = 0) -> re.Match[str]:
        """Wait for a line of standard output or error that matches somewhere.

        Args:
            pattern: a regular expression.
            timeout: seconds.
            start: leave out this many lines of each stream, for lines that come again.

        Raises:
            AssertionError: none came in time, or the output ended without one; the text
                holds the output.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines[start:] + self._errors[start:]:
                    match = wanted.search(line)
                    if match is not None:
                        return match
                left = deadline - time.monotonic()
                if not self._reading or left <= 0:
                    why = "before the output ended" if not self._reading else f"in {timeout} s"
                    raise AssertionError(f"no line matched {pattern!r} {why}\n{self._output()}")
                self._changed.wait(left)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for the end of the process and of its output; return the exit status.

        Raises:
            AssertionError: it still runs; the text holds the output.
        """
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            with self._changed:
                output = self._output()
            raise AssertionError(f"still running after {timeout} s\n{output}") from None
        for reader in self._readers:
            reader.join(timeout)
        return status

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """End the process, politely first, and close its pipes."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self._grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for reader, pipe in zip(self._readers, (self.process.stdout, self.process.stderr)):
            # a grandchild may hold the pipe open; its reader then stays, a daemon
            reader.join(self._grace)
            if pipe is not None and not reader.is_alive():
                pipe.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _output(self) -> str:
        streams: Tuple[Tuple[str, List[str]], ...] = (
            ("output", self._lines),
            ("errors", self._errors),
        )
        return "\n".join(f"--- {name} ---\n" + "\n".join(lines) for name, lines in streams)

    def _read(self, pipe: IO[str], lines: List[str]) -> None:
        for line in pipe:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._reading -= 1
            self._changed.notify_all()
