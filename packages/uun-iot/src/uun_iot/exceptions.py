"""All errors of the library.

::

    UunIotError
     ├── UnsupportedEvent             `on()` was given an event that does not exist
     ├── ConfigError                  a configuration that cannot be used
     ├── ModuleError                  modules that cannot form a gateway
     ├── StorageError                 stored data cannot be written, or another writes them
     └── UuAppClientException
          └── TokenError              no token could be had
               └── TokenCommandError  the token service refused
"""

from uun_iot_client import TokenCommandError, TokenError, UuAppClientException
from uun_iot_core import ConfigError, ModuleError, UnsupportedEvent, UunIotError
from uun_iot_storage import StorageError

__all__ = [
    "ConfigError",
    "ModuleError",
    "StorageError",
    "TokenCommandError",
    "TokenError",
    "UnsupportedEvent",
    "UuAppClientException",
    "UunIotError",
]
