"""Starting threads where a signal handler may raise."""

from __future__ import annotations

import threading

__all__ = ["start"]


def start(thread: threading.Thread) -> None:
    """Start a thread.

    What a signal handler raises meanwhile comes out as it is; the thread may have begun then,
    or may not. `Thread.start` would hide it behind a `KeyError` of its own cleaning up.

    Args:
        thread: not started before.

    Raises:
        RuntimeError: the system has no thread to give.
    """
    raised: BaseException
    try:
        thread.start()
        return
    except KeyError as exc:
        raised = exc
        if exc.args == (thread,) and exc.__context__ is not None:
            raised = exc.__context__
    raise raised
