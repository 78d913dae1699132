"""The documented home of `Module`; it comes from uun-iot-storage."""

from uun_iot_core import IModule
from uun_iot_storage import ConfigScopeEnum, Module, Storage

__all__ = ["ConfigScopeEnum", "IModule", "Module", "Storage"]
