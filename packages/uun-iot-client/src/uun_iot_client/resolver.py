"""Addresses of hosts, found within a time: the system's resolver knows of no deadline.

It cannot be interrupted either, so it is asked in a thread that is left behind where it does not
answer. Callers that want the same host meanwhile wait for the same answer; nothing is kept of it.
"""

from __future__ import annotations

import copy
import ipaddress
import socket
import threading
import time
from typing import Any, Dict, List, Optional, Set

from uun_iot_core.forks import watch_forks

from .threads import start

__all__ = ["Resolver", "is_address"]

#: Seconds after which nobody new waits for an answer that has not come: the device may be in
#: another network by now, whose servers answer.
PATIENCE = 30.0
#: threads that ask at a time, those left behind included
MOST = 8


def is_address(host: str) -> bool:
    """Return whether a host is an address itself, for which nobody need be asked.

    Args:
        host: without brackets.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Question:
    """A host that the system is asked for."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.begun = time.monotonic()
        self.answered = threading.Event()
        self.addresses: List[str] = []
        self.error: Optional[Exception] = None

    def ask(self) -> None:
        from urllib3.util.connection import allowed_gai_family

        try:
            found = socket.getaddrinfo(self.host, None, allowed_gai_family(), socket.SOCK_STREAM)
            self.addresses = [_numeric(each[4]) for each in found]
        except Exception as exc:  # raised again where it is waited for
            self.error = exc
        finally:
            self.answered.set()


class Resolver:
    """Asks the system for addresses.

    Args:
        patience: seconds after which an answer is not expected any more, and asked for anew.
        most: threads that ask at a time.
    """

    def __init__(self, patience: float = PATIENCE, most: int = MOST) -> None:
        self._patience = patience
        self._most = most
        self._lock = threading.Lock()
        self._questions: Dict[str, _Question] = {}
        self._asking: Set[_Question] = set()
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the threads that ask are not there."""
        self._lock = threading.Lock()
        self._questions, self._asking = {}, set()

    def addresses(self, host: str, seconds: float) -> List[str]:
        """Return the addresses of a host, in the order in which they should be tried.

        Args:
            host: its name.
            seconds: that this may take.

        Raises:
            TimeoutError: the system does not answer in time.
            OSError: the host has none, or too many are asked for already.
        """
        question = self._question(host)
        if not question.answered.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise TimeoutError(f"the address of {host} was not found within {seconds:.1f} s")
        if question.error is not None:
            raise copy.copy(question.error)  # others raise it, too, each with its own traceback
        return question.addresses

    def _question(self, host: str) -> _Question:
        mine: Optional[_Question] = None
        try:
            with self._lock:
                question = self._questions.get(host)
                may_ask = len(self._asking) < self._most
                if question is not None:
                    age = time.monotonic() - question.begun
                    if age <= self._patience or not may_ask:
                        return question
                if not may_ask:
                    raise socket.gaierror(
                        socket.EAI_AGAIN, "the system does not answer for other hosts either"
                    )
                mine = self._questions[host] = _Question(host)
                self._asking.add(mine)
            name = f"uun_iot address of {host}"
            start(threading.Thread(target=self._ask, args=(mine,), name=name, daemon=True))
        except RuntimeError:
            if mine is None:
                raise
            self._ask(mine)  # no thread can be started: better late than never
        except BaseException:  # a signal handler's, perhaps before the thread has begun
            if mine is not None:
                self._forget(mine)
                mine.error = socket.gaierror(socket.EAI_AGAIN, "nobody was asked")
                mine.answered.set()
            raise
        return mine

    def _ask(self, question: _Question) -> None:
        try:
            question.ask()
        finally:
            self._forget(question)

    def _forget(self, question: _Question) -> None:
        with self._lock:
            self._asking.discard(question)
            if self._questions.get(question.host) is question:
                del self._questions[question.host]


def _numeric(sockaddr: Any) -> str:
    """Return an address of `socket.getaddrinfo` as a host, a link-local one with its link."""
    link = sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{sockaddr[0]}%{link}" if link else str(sockaddr[0])
