"""Fixtures that all tests have; see `tests.support.fixtures`."""

pytest_plugins = ["tests.support.fixtures"]
