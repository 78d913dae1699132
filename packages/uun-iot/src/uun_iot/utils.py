"""The documented home of timers, storage and helpers."""

from uun_iot_core import (
    LoggingSystemdHandler,
    RepeatTimer,
    classproperty,
    file_save,
    get_datetime_from_iso_timestamp,
    get_iso_timestamp,
    module_id,
    module_id_from_str,
)
from uun_iot_storage import Storage

__all__ = [
    "LoggingSystemdHandler",
    "RepeatTimer",
    "Storage",
    "classproperty",
    "file_save",
    "get_datetime_from_iso_timestamp",
    "get_iso_timestamp",
    "module_id",
    "module_id_from_str",
]
