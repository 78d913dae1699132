"""The documented home of `on`; it comes from uun-iot-core."""

from uun_iot_core import on

__all__ = ["on"]
