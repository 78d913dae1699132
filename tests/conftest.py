"""Fixtures that all tests have; see `tests.support.fixtures`."""

import signal

pytest_plugins = ["tests.support.fixtures"]


def pytest_configure() -> None:
    # a shell starts what runs in its background with SIGINT ignored, and children inherit that
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
