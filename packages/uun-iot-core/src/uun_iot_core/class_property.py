"""`classproperty`: a property of a class."""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, TypeVar

__all__ = ["classproperty"]

T = TypeVar("T")


class classproperty(Generic[T]):
    """A decorator that makes a method a read-only property of its class and of instances.

    >>> class Station:
    ...     @classproperty
    ...     def name(cls):
    ...         return cls.__name__.lower()
    >>> Station.name
    'station'

    Args:
        fget: the method; it gets the class.
    """

    def __init__(self, fget: Callable[[Any], T]) -> None:
        self.fget = getattr(fget, "__func__", fget)
        self.__doc__ = fget.__doc__

    def __get__(self, instance: Any, owner: Optional[type] = None) -> T:
        found: T = self.fget(type(instance) if owner is None else owner)
        return found
