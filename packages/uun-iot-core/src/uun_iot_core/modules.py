"""`Modules`: the modules of a gateway, and the hooks by which it tells them what happens."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

from .events.base import OWNERS, Event, HandlerInfo, find_handlers, own, parts_of
from .events.decorators import EventRegister
from .exceptions import ModuleError, json_type
from .logs import get_logger
from .naming import module_id_of

__all__ = ["Modules", "call_init", "events_in", "modules_in", "owners_in", "tell"]

logger = get_logger(__name__)


class Modules(Dict[str, Any]):
    """The modules of a gateway by their ids, in the order in which they were taken in."""

    def __init__(self) -> None:
        super().__init__()
        #: ids of the library's modules that give way to one of the application
        self.replaceable: Set[str] = set()

    def take(self, module: Any) -> None:
        """Take in a module.

        Raises:
            ModuleError: it has neither an id nor handlers, or another one has its id.
        """
        if isinstance(module, type):
            raise ModuleError(f"{module.__name__} is a class; give an object of it")
        own_id = getattr(module, "id", None)
        if own_id is None and next(find_handlers(module), None) is None:
            raise ModuleError(
                f"{type(module).__name__} is no module: it has neither an id nor handlers; "
                "set `id`, or mark its methods with @on(…)"
            )
        module_id = module_id_of(module)
        if self.get(module_id) is module:
            return  # it is given twice
        if module_id in self and module_id not in self.replaceable:
            other = type(self[module_id]).__name__
            raise ModuleError(
                f"two modules have the id `{module_id}` ({other} and {type(module).__name__}); "
                "give one of them another `id`"
            )
        self.replaceable.discard(module_id)
        self[module_id] = module

    def idle_storages(self, gateway: Dict[str, Any]) -> List[str]:
        """Return which backup files are of no module, as ``path: message`` lines.

        Args:
            gateway: the ``gateway`` part of a valid configuration.
        """
        ids = [*self, *(getattr(part, "id", None) for _, part in self.parts())]
        return [
            f"gateway.moduleBackupStorage.{key}: no module has this id; the modules are "
            f"{', '.join(self)}"
            for key in gateway.get("moduleBackupStorage", {})
            if key not in ids
        ]

    def parts(self) -> List[Tuple[str, Any]]:
        """Return the modules and their submodules, each once, with what the log calls them."""
        named: Dict[int, Tuple[str, Any]] = {}
        for module_id, module in self.items():
            for part in parts_of(module):
                of = "" if part is module else f"{type(part).__name__} of "
                named.setdefault(id(part), (f"{of}module `{module_id}`", part))
        return list(named.values())

    def tell(self, hook: str) -> None:
        """Call a hook of all modules and submodules that have it, whatever interrupts one.

        One that is interrupted is called once more, at the end.

        Args:
            hook: name of the method.
        """
        interruption: Optional[BaseException] = None
        left = self.parts()
        for _ in range(2):
            parts, left = left, []
            for name, part in parts:
                try:
                    tell(part, hook, name)
                except BaseException as exc:  # Ctrl-C: all must be closed all the same
                    interruption = exc
                    left.append((name, part))
        if interruption is not None:
            raise interruption


def call_init(init: Callable[..., Any], config: Dict[str, Any], uuclient: Any) -> Any:
    """Return what an ``init`` function returns; one of three parameters gets a registrar first."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(init).parameters.values())
    except (TypeError, ValueError):  # of a function that is not written in Python
        parameters = []
    required = sum(one.default is one.empty and one.kind in kinds for one in parameters)
    return init(*([EventRegister()] if required == 3 else []), config, uuclient)


def events_in(result: Any) -> List[Event]:
    """Return the event sources in what an ``event_init`` function returned.

    Raises:
        ModuleError: it is no iterable of event sources.
    """
    found: List[Any]
    if isinstance(result, (str, bytes, dict)) or not isinstance(result, Iterable):
        found, place = [result], ""
    else:
        found, place = list(result), " in an iterable"
    for one in found:
        if not place or not isinstance(one, Event):
            shown = f"the class {one.__name__}" if isinstance(one, type) else json_type(one)
            raise ModuleError(
                "event_init must return an iterable of event sources, as attach_handlers does; "
                f"it returned {shown}{place}"
            )
    return found


def owners_in(events: Iterable[Event]) -> List[Any]:
    """Return the objects whose handlers event sources have, each once."""
    found: List[Any] = []
    for event in events:
        found += vars(event).get(OWNERS, ())
        # of handlers that the application gave to a source by itself
        for _, info in filter(_is_registration, vars(event).get("_handlers") or ()):
            found += [] if info.owner is None else [info.owner]
    return list({id(one): one for one in found}.values())


def _is_registration(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], HandlerInfo)


def modules_in(result: Any) -> Iterable[Any]:
    """Return the modules in what an ``init`` function returned.

    Raises:
        ModuleError: it is neither a module, nor an iterable, nor None.
    """
    if result is None:
        return []
    if getattr(result, "id", None) is not None or next(find_handlers(result), None) is not None:
        return [result]
    if isinstance(result, (str, bytes, dict)) or not isinstance(result, Iterable):
        raise ModuleError(
            "module_init must return a module, an iterable of modules, or None; "
            f"it returned {json_type(result)}"
        )
    return result


def tell(target: Any, hook: str, name: str, *args: Any) -> None:
    """Call a hook of a module or client if it has it; log what it raises.

    Args:
        target: the module or client.
        hook: name of the method.
        name: what the log is to call it.
        args: what the hook is given.
    """
    function = own(target, hook)
    if function is None:
        return
    try:
        function(*args)
    except Exception:
        logger.error("%s: %s failed", name, hook, exc_info=True)
