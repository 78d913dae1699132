"""The embedded uuApp for all tests, also where the distribution that holds it is not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uun_iot.sandbox import Fault, Ledger, Reply, Request, Sandbox, Script, UploadedFile
else:
    _BY_PATH = "uun_iot_sandbox_by_path"

    def _load_by_path() -> ModuleType:
        """Load the package from the source tree; it needs nothing but uun-iot-core."""
        root = Path(__file__).resolve().parents[2]
        package = root / "packages" / "uun-iot" / "src" / "uun_iot" / "sandbox"
        spec = importlib.util.spec_from_file_location(
            _BY_PATH, package / "__init__.py", submodule_search_locations=[str(package)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[_BY_PATH] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[_BY_PATH]
            raise
        return module

    try:
        import uun_iot.sandbox as _sandbox
    except ModuleNotFoundError as exc:
        if exc.name not in ("uun_iot", "uun_iot.sandbox"):
            raise  # it is installed, and something that it needs is missing
        _sandbox = _load_by_path()

    Fault = _sandbox.Fault
    Ledger = _sandbox.Ledger
    Reply = _sandbox.Reply
    Request = _sandbox.Request
    Sandbox = _sandbox.Sandbox
    Script = _sandbox.Script
    UploadedFile = _sandbox.UploadedFile

__all__ = ["Fault", "Ledger", "Reply", "Request", "Sandbox", "Script", "UploadedFile"]
