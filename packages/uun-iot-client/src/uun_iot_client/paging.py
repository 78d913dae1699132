"""Lists that come page by page."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from .errors import protocol_error

__all__ = ["pages"]

_LISTS = ("itemList", "pageItemList")


def pages(
    ask: Callable[[Dict[str, Any]], Mapping[str, Any]],
    uucmd: str,
    dto_in: Mapping[str, Any],
    page_size: int,
) -> Iterator[Any]:
    """Iterate over the items of a list.

    Args:
        ask: returns the reply to a dtoIn.
        uucmd: names the command in errors.
        dto_in: the input; a ``pageInfo`` in it says where to begin, and the size of pages.
        page_size: items to ask for at a time where that does not say it.

    Raises:
        ProtocolError: a reply has no list.
        ValueError: the index or the size of pages is no whole number of the right range.
    """
    wish = dto_in.get("pageInfo")
    wish = wish if isinstance(wish, Mapping) else {}
    index = _whole("pageIndex", wish.get("pageIndex", 0), 0)
    size = _whole("page_size", wish.get("pageSize", page_size), 1)
    return _items(ask, uucmd, dto_in, index, size)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, got {value!r}")
    return value


def _items(
    ask: Callable[[Dict[str, Any]], Mapping[str, Any]],
    uucmd: str,
    dto_in: Mapping[str, Any],
    index: int,
    size: int,
) -> Iterator[Any]:
    before: Optional[List[Any]] = None
    while True:
        reply = ask({**dto_in, "pageInfo": {"pageIndex": index, "pageSize": size}})
        items = next((reply[key] for key in _LISTS if isinstance(reply.get(key), list)), None)
        if items is None:
            raise protocol_error(f"the reply of {uucmd} has no list: no {' and no '.join(_LISTS)}")
        said = reply.get("pageInfo")
        said = said if isinstance(said, Mapping) else {}
        used = _positive(said.get("pageSize")) or size  # a server may allow less than was wished
        total = said.get("total", reply.get("total"))
        if total is None and items == before:
            return  # the server knows no pages, and answers the whole each time
        yield from items
        index += 1
        if not items or len(items) < used:
            return
        if isinstance(total, int) and index * used >= total:
            return
        size, before = used, items


def _positive(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
