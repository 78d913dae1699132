"""Types and interfaces that the library and applications share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Union

__all__ = ["IModule", "ModuleId", "Numeric"]

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
