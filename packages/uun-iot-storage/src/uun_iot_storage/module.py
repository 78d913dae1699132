"""Module: the base of application modules, with settings, a storage, and sending from it."""

from __future__ import annotations

import inspect
import math
import threading
from dataclasses import asdict
from enum import Enum
from typing import Any, Callable, Dict, Optional, Tuple, Type, Union

from uun_iot_core.events import EvConfUpdate, EventType
from uun_iot_core.events.base import find_handlers
from uun_iot_core.exceptions import ConfigError, json_type
from uun_iot_core.logs import get_logger
from uun_iot_core.naming import module_id_from_str, module_id_of
from uun_iot_core.typing import IModule, ModuleId

from .errors import StorageError
from .sending import send_stored
from .storage import Storage

__all__ = ["ConfigScopeEnum", "Module"]

logger = get_logger(__name__)

UuCmd = Callable[..., Any]

_STORAGES_KEY = "moduleBackupStorage"
#: where an instance keeps an id that was assigned to it
_ID = "_Module__id"
#: seconds that the status waits for a storage's lock at most
_LOCK_TIMEOUT = 1.0

#: key of the configuration -> argument of `Storage`, its types, what it must be
SETTINGS: Dict[str, Tuple[str, Tuple[Union[Type[int], Type[float]], ...], str]] = {
    "limit": ("maxlen", (int,), "must be a whole number of entries, 0 for no limit"),
    "limitBytes": ("max_bytes", (int,), "must be a whole number of bytes, 0 for no limit"),
    "maxAttempts": ("max_attempts", (int,), "must be a whole number, 0 for any number of attempts"),
    "syncInterval": ("sync_interval", (int, float), "must be seconds, 0 to sync each backup"),
}


class ConfigScopeEnum(Enum):
    """Which part of the configuration a key is looked up in."""

    GATEWAY = "gateway"
    """The whole ``gateway`` part."""
    SELF = "self"
    """The module's own part, ``gateway.<id>``."""
    MODULE = "self"  # noqa: PIE796 - an alias on purpose
    """Newer name of `SELF`."""
    BASED = "based"
    """Below what `Module._set_config_manager_base` has set; without that, as `SELF`."""


class Module(IModule):
    """Base of application modules: access to settings, a `Storage`, and sending.

    The id is that of the class (``id = "weather"``), or one assigned to the instance, else
    it is made from the name of the class: ``WeatherStation`` has the id ``weatherStation``.

    The storage is named after the module. With ``moduleBackupStorage.<id>`` in the
    configuration, a path or an object, it has a backup file. The keys of the object, of
    which only ``path`` is needed, with what they stand for in `Storage`:

    - ``path``: ``backup_path``; ``limit``: ``maxlen``; ``limitBytes``: ``max_bytes``;
    - ``maxAttempts``: ``max_attempts``. With it, `_send_storage` may call the usecase several
      times, with parts of the entries, to find those that the server refuses;
    - ``syncInterval``: ``sync_interval``, seconds. More than 0 weakens what is promised: a
      power cut may then lose what came in during the last so many seconds.

    >>> class Weather(Module):
    ...     id = "weather"
    ...     def measure(self):
    ...         self._storage.append({"temperature": 21.5}, backup=True)
    ...     def send(self):
    ...         self._send_storage()
    >>> weather = Weather({}, uucmd=lambda entries: [])
    >>> weather.measure()
    >>> weather.send()
    >>> weather._storage.is_empty()
    True

    Args:
        config: the ``gateway`` part of the configuration; it is kept, not copied. A
            ``_config`` that the subclass has set before counts instead.
        uucmd: what `_send_data` and `_send_storage` call by default.
        storage: the `Storage` to use, which is closed when the gateway stops; True for one of
            the module's own, False or None for none: ``_storage`` is None then.

    Raises:
        ConfigError: the entry in ``moduleBackupStorage`` cannot be used.
        StorageError: another process has the backup file open.
        TypeError: ``storage`` is something else.
    """

    # two underscores: applications have attributes of their own, also with one; and they may
    # not call __init__
    __given: Dict[str, Any] = {}
    __keeps = False  # `_config` was there before __init__
    __copied = False  # `_config` is a copy of what was given
    __base: Optional[str] = None

    def __init__(
        self,
        config: Optional[Dict[str, Any]] = None,
        uucmd: Optional[UuCmd] = None,
        *,
        storage: Union[Storage, bool, None] = True,
    ) -> None:
        self.__given = {} if config is None else config
        if self.id is None:  # of the class
            self.id = module_id_of(self)
        self.__keeps = getattr(self, "_config", None) is not None
        if not self.__keeps:
            self._config: Dict[str, Any] = self.__given
        if not isinstance(self._config, dict):
            raise ConfigError(
                f"gateway: the configuration of module `{self.id}` must be an object (dict), "
                f"got {type(self._config).__name__}"
            )
        if uucmd is not None or not hasattr(self, "_uucmd"):
            self._uucmd: Optional[UuCmd] = uucmd
        self.__sending = threading.RLock()
        if storage is True:
            storage = Storage(self.id, **_storage_settings(self.id, self._config))
        used = storage if isinstance(storage, Storage) else None
        if used is None and storage is not False and storage is not None:
            raise TypeError(
                f"module `{self.id}`: storage must be a Storage, True or False, "
                f"got {json_type(storage)}"
            )
        # declared as what it is for all but those who asked for none
        self._storage: Storage = used  # type: ignore[assignment]  # see above

    @property
    def id(self) -> ModuleId:
        """The module's id: the key of its timers and settings in the configuration."""
        own: Optional[ModuleId] = self.__dict__.get(_ID)
        return module_id_from_str(type(self).__name__) if own is None else own

    @id.setter
    def id(self, value: ModuleId) -> None:
        self.__dict__[_ID] = value

    # -- configuration ---------------------------------------------------------------

    @EvConfUpdate.subscribe_first
    def _gateway_updated(self, new_config: Dict[str, Any]) -> None:
        own = any(
            info.event_type is EventType.CONF_UPDATE and not info.kwargs.get("first")
            for handler, info in find_handlers(self)
            if getattr(handler, "__self__", self) is self  # not of a submodule
        )
        if not own and _takes(self._update_config, new_config):
            self._update_config(new_config)

    def _update_config(self, new_config: Dict[str, Any]) -> None:
        """Take the new ``gateway`` part of an update, where no handler of the module does.

        A configuration that the subclass has set by itself stays, unless it is a copy of what
        the module was given. It may be overridden.
        """
        if self.__copied or self._config is self.__given:
            self._config = self.__given = new_config

    def _set_config_manager_base(self, base: Optional[str]) -> None:
        """Set where keys of the scope ``BASED`` begin.

        Args:
            base: a path below ``gateway``, its parts separated by ``/``; ``""`` for ``gateway``
                itself, None for the module's own part.
        """
        self.__base = base

    def _config_manager(
        self,
        key: Optional[str] = None,
        scope: ConfigScopeEnum = ConfigScopeEnum.BASED,
        must_exist: bool = True,
    ) -> Any:
        """Return a value of the configuration, as it is now.

        Args:
            key: path to the value, its parts separated by ``/``; None for the whole part.
            scope: where the path begins: at ``gateway.<id>`` (SELF), at ``gateway``, or, by
                default, at what `_set_config_manager_base` has set, else at ``gateway.<id>``.
            must_exist: False to get None where there is no such value.

        Raises:
            KeyError: there is no such value; the message has the full path.
            TypeError: ``scope`` is no `ConfigScopeEnum`.
        """
        if not isinstance(scope, ConfigScopeEnum):
            raise TypeError(f"scope must be a ConfigScopeEnum, got {type(scope).__name__}")
        base = {ConfigScopeEnum.GATEWAY: "", ConfigScopeEnum.BASED: self.__base}.get(scope)
        parts = [self.id] if base is None else base.split("/") if base else []
        if key is not None:
            parts += key.split("/")
        value: Any = self._config
        for depth, part in enumerate(parts):
            if not isinstance(value, dict) or part not in value:
                if not must_exist:
                    return None
                wanted = ".".join(["gateway", *parts])
                missing = ".".join(["gateway", *parts[: depth + 1]])
                raise KeyError(f"{wanted}: the configuration has no {missing}; add it there")
            value = value[part]
        return value

    def _c(
        self,
        key: Optional[str] = None,
        scope: ConfigScopeEnum = ConfigScopeEnum.BASED,
        must_exist: bool = True,
    ) -> Any:
        """Return a value of the configuration: short for `_config_manager`."""
        # subclasses of older applications override it without the third parameter
        further = {} if must_exist else {"must_exist": False}
        return self._config_manager(key, scope, **further)

    # -- sending ---------------------------------------------------------------------

    def _send_data(self, data: Any, usecase: Optional[UuCmd] = None) -> Any:
        """Send data at once, past the storage.

        Args:
            data: what to send.
            usecase: called with the data; by default the module's ``uucmd``.

        Returns:
            What the usecase returns.

        Raises:
            TypeError: there is neither ``usecase`` nor ``uucmd``.
        """
        usecase = self.__chosen(usecase)
        logger.info("module `%s` sends data", self.id)
        return usecase(data)

    def _send_storage(self, usecase: Optional[UuCmd] = None) -> None:
        """Send the stored entries; what was not sent stays stored.

        The usecase gets a list of the entries present and returns a list of those that
        were not sent; the latter stay in front of what came meanwhile, in order. No lock of
        the storage is held while it runs: entries may be added. If it raises, nothing
        leaves the storage. Calls of several threads take turns. With nothing stored,
        nothing is called.

        Args:
            usecase: called with the list; by default the module's ``uucmd``.

        Raises:
            TypeError: there is neither ``usecase`` nor ``uucmd``, or it returned no list;
                nothing leaves the storage. Or the module has no storage.
        """
        if self._storage is None:
            raise TypeError(f"module `{self.id}` has no storage to send (storage=False)")
        with self.__sending:
            if not self._storage.is_empty():
                send_stored(self._storage, self.__chosen(usecase), self.id)

    def __chosen(self, usecase: Optional[UuCmd]) -> UuCmd:
        chosen = self._uucmd if usecase is None else usecase
        if not callable(chosen):
            raise TypeError(
                f"module `{self.id}` has nothing to send with: pass `usecase`, or give the "
                "module a callable `uucmd`"
            )
        return chosen

    # -- called by the gateway -------------------------------------------------------

    def _gateway_started(self) -> None:
        """Open the storage again, if an earlier stop of the gateway has closed it."""
        given = self.__given
        if given and not self.__keeps and self._config is not given and self._config == given:
            self.__copied = True
        storage = self.__stored()
        if storage is not None:
            storage.reopen()

    def __stored(self) -> Optional[Storage]:
        # absent without super().__init__(), and an application may put there what it likes
        storage = getattr(self, "_storage", None)
        return storage if isinstance(storage, Storage) else None

    def _gateway_status(self) -> Dict[str, Any]:
        """Tell the gateway's status command how the storage fares."""
        storage = self.__stored()
        if storage is None:
            return {}
        told: Dict[str, Any] = {"path": storage.backup_path}
        # who holds the lock for long is a reason to ask for the status
        if storage.write_lock.acquire(timeout=_LOCK_TIMEOUT):
            storage.write_lock.release()
            told.update((_camel(name), value) for name, value in asdict(storage.stats()).items())
        else:
            told["locked"] = True
        return {"storages": {self.id: told}}

    def _gateway_stopped(self) -> None:
        """Close the storage: its last state is on the disk then."""
        storage = self.__stored()
        if storage is None:
            return
        try:
            storage._rest()
        except StorageError as exc:
            logger.error(
                "module `%s`: the last state of its storage is not saved: %s", self.id, exc
            )


def _storage_settings(module_id: ModuleId, config: Dict[str, Any]) -> Dict[str, Any]:
    """Return the arguments of a module's storage, as configured."""
    place = f"gateway.{_STORAGES_KEY}"
    storages = config.get(_STORAGES_KEY, {})
    if not isinstance(storages, dict):
        raise _wrong(place, "must be an object with module ids as keys", storages)
    if module_id not in storages:
        return {"backup_path": None}
    place = f"{place}.{module_id}"
    settings = storages[module_id]
    if isinstance(settings, str):
        settings, path_place = {"path": settings}, place
    elif isinstance(settings, dict):
        path_place = f"{place}.path"
    else:
        raise _wrong(place, 'must be a path or {"path": …, "limit": …}', settings)
    path = settings.get("path")
    if not isinstance(path, str) or not path or "\0" in path:
        raise _wrong(path_place, "must be the path of a file", path)
    arguments: Dict[str, Any] = {"backup_path": path}
    for key, (name, kinds, rule) in SETTINGS.items():
        value = settings.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < math.inf:
            raise _wrong(f"{place}.{key}", rule, value)
        arguments[name] = value
    for key in settings.keys() - {"path", *SETTINGS}:
        logger.warning(
            "%s.%s is unknown and ignored; known are path, %s", place, key, ", ".join(SETTINGS)
        )
    return arguments


def _takes(function: Callable[..., Any], *args: Any) -> bool:
    """Return whether a function may be called so: one of that name may mean something else."""
    try:
        inspect.signature(function).bind(*args)
    except (TypeError, ValueError):
        return False
    return True


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return "".join([first, *(word.capitalize() for word in others)])


def _wrong(place: str, rule: str, value: Any) -> ConfigError:
    # the type is told, not the value: configurations hold secrets
    return ConfigError(
        f"{place}: {rule}, got {'nothing' if value is None else type(value).__name__}"
    )
