"""The documented home of `Module`; it comes from uun-iot-storage."""

from uun_iot_storage import ConfigScopeEnum, Module

__all__ = ["ConfigScopeEnum", "Module"]
