"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from tests.support.sandbox import Sandbox


@pytest.fixture
def uuapp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A running sandbox that HTTP clients of this process and of its children trust."""
    # not at the top: tests of the core alone run where trustme is not installed
    from tests.support.sandbox import Sandbox

    with Sandbox(directory=tmp_path / "uuapp") as sandbox:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "localhost,127.0.0.1")
        monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
        yield sandbox
