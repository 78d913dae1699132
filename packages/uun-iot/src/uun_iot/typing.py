"""The documented home of `IModule`; it comes from uun-iot-core."""

from uun_iot_core.typing import IModule, ModuleId, Numeric

__all__ = ["IModule", "ModuleId", "Numeric"]
