"""Buffering on a gateway: a durable list of entries, and the module that sends it."""

from __future__ import annotations

from uun_iot_core.files import file_save

from .entries import Batch
from .errors import StorageError
from .module import ConfigScopeEnum, Module
from .stats import StorageStats
from .storage import Storage

__all__ = [
    "Batch",
    "ConfigScopeEnum",
    "Module",
    "Storage",
    "StorageError",
    "StorageStats",
    "file_save",
]
