"""All errors of the library.

::

    UunIotError
     ├── UnsupportedEvent                  `on()` was given an event that does not exist
     ├── ConfigError                       a configuration that cannot be used
     ├── ModuleError                       modules that cannot form a gateway
     ├── StorageError                      stored data cannot be written, or another writes them
     └── UuAppClientException              what calls to a uuApp return or raise
          ├── TokenError                   no token could be had
          │    ├── TokenServiceUnreachable   for want of a network
          │    └── TokenCommandError         the token service refused
          ├── CommandError                 the uuApp refused a command
          ├── ProtocolError                the reply is none of a uuApp
          ├── NetworkError                 no reply came
          │    └── CircuitOpen               not tried, since many before had none
          ├── DtoInError                   the input cannot be sent
          └── GatewayStopping              no new calls while the gateway stops

Those from `CommandError` on are exceptions of requests, too; see `uun_iot_client.errors`.
"""

from uun_iot_client import (
    CircuitOpen,
    CommandError,
    DtoInError,
    GatewayStopping,
    NetworkError,
    ProtocolError,
    TokenCommandError,
    TokenError,
    TokenServiceUnreachable,
    UuAppClientException,
)
from uun_iot_core import ConfigError, ModuleError, UnsupportedEvent, UunIotError
from uun_iot_storage import StorageError

__all__ = [
    "CircuitOpen",
    "CommandError",
    "ConfigError",
    "DtoInError",
    "GatewayStopping",
    "ModuleError",
    "NetworkError",
    "ProtocolError",
    "StorageError",
    "TokenCommandError",
    "TokenError",
    "TokenServiceUnreachable",
    "UnsupportedEvent",
    "UuAppClientException",
    "UunIotError",
]
