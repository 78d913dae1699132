"""In place of the library of this name: a camera that is at rest wherever it is sent.

The snapshots come from an HTTP server at the configured address, as those of a camera do.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class ONVIFError(Exception):
    """Never raised: this camera does what it is told."""


class ONVIFCamera:
    """A camera whose services are all one object."""

    def __init__(self, host: str, port: int, user: str, password: str, wsdl: str) -> None:
        self._address = f"http://{host}:{port}/snapshot"
        self.create_ptz_service = self.create_media_service = lambda: self
        self.create_devicemgmt_service = lambda: self

    def create_type(self, name: str) -> Any:
        return SimpleNamespace()

    def GetProfiles(self) -> Any:
        return [SimpleNamespace(token="profile", PTZConfiguration=SimpleNamespace(token="ptz"))]

    def GetSnapshotUri(self, request: Any) -> Any:
        return SimpleNamespace(Uri=self._address)

    def GetConfigurationOptions(self, request: Any) -> Any:
        reach = SimpleNamespace(Min=-1.0, Max=1.0)
        space = [SimpleNamespace(XRange=reach, YRange=reach)]
        names = ("AbsolutePanTiltPosition", "AbsoluteZoomPosition", "PanTiltSpeed", "ZoomSpeed")
        return SimpleNamespace(Spaces=SimpleNamespace(**{f"{name}Space": space for name in names}))

    def AbsoluteMove(self, request: Any) -> None: ...

    def GetStatus(self, request: Any) -> Any:
        return SimpleNamespace(MoveStatus=SimpleNamespace(PanTilt="IDLE", Zoom="IDLE"))

    def SystemReboot(self, request: Any) -> str:
        print("the camera reboots", flush=True)
        return "rebooting"
