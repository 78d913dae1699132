"""The documented home of `on`; it comes from uun-iot-core."""

from uun_iot_core import UnsupportedEvent, on

__all__ = ["UnsupportedEvent", "on"]
