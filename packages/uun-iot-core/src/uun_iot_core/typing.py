"""Types and interfaces that the library and applications share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Dict, Optional, Protocol, Tuple, Union

__all__ = ["Client", "IModule", "ModuleId", "Numeric"]

ModuleId = str
Numeric = Union[float, int]


class IModule(ABC):
    """Interface of a module: an object with an ``id``.

    A class attribute (``id = "weather"``), an instance attribute or a property will do.
    """

    @property
    @abstractmethod
    def id(self) -> ModuleId:
        """The module's id: the key of its timers and settings in the configuration."""


class Client(Protocol):
    """What the gateway needs of a client of a uuApp: asking for the configuration."""

    def get(
        self, uucmd: str, dto_in: Optional[Dict[str, Any]] = None, log_level: int = 30
    ) -> Tuple[Any, Optional[Exception]]:
        """Return the response, and the exception if the call failed."""
