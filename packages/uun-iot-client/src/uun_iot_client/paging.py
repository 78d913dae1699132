"""Lists that come page by page."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from uun_iot_core.logs import get_logger

from .errors import protocol_error

__all__ = ["pages"]

logger = get_logger(__name__)

_LISTS = ("itemList", "pageItemList")
_EQUAL_PAGES = 100  # in a row; then the server only repeats the index that it was asked for


def pages(
    ask: Callable[[Dict[str, Any]], Mapping[str, Any]],
    uucmd: str,
    dto_in: Mapping[str, Any],
    page_size: int,
) -> Iterator[Any]:
    """Iterate over the items of a list.

    Where the replies have a ``total``, it ends when so many have come; where they have none,
    at a page that is shorter than the first one and than was asked for. An empty page ends it.

    Args:
        ask: returns the reply to a dtoIn.
        uucmd: names the command in errors.
        dto_in: the input; a ``pageInfo`` in it says where to begin, and the size of pages.
        page_size: items to ask for at a time where that does not say it.

    Raises:
        ProtocolError: a reply has no list, or the same page comes without end.
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
    first: Optional[int] = None  # items of the first page: what the server gives at a time
    before: Optional[List[Any]] = None
    came = equal = 0
    while True:
        reply = ask({**dto_in, "pageInfo": {"pageIndex": index, "pageSize": size}})
        items = next((reply[key] for key in _LISTS if isinstance(reply.get(key), list)), None)
        if items is None:
            raise protocol_error(f"the reply of {uucmd} has no list: no {' and no '.join(_LISTS)}")
        said = reply.get("pageInfo")
        said = said if isinstance(said, Mapping) else {}
        used = _number(said.get("pageSize"), 1) or size  # a server may allow less than was wished
        total = _number(said.get("total", reply.get("total")), 0)
        if first is None:
            first = len(items)
            came = index * min(used, first)  # what stands before the place where it begins
        equal = equal + 1 if items and items == before else 0
        if equal and total is None:
            # equal readings are no reason to stop where the server says which page it is
            if said.get("pageIndex") != index:
                logger.warning(
                    "%s: page %d is the same as the one before, and the reply says neither its"
                    " index nor a total: taken for a command that knows no pages, and whose list"
                    " has ended",
                    uucmd,
                    index,
                )
                return
            if equal >= _EQUAL_PAGES:
                raise protocol_error(f"{uucmd} gave the same page again and again, without a total")
        yield from items
        came += len(items)
        if total is not None:
            if items and came < total:
                index, size, before = index + 1, used, items
                continue
            if came < total and index * used < total:
                logger.warning("%s: %d items were announced, %d came", uucmd, total, came)
            return
        # A server that gives fewer than asked for may give as many each time, whatever it says.
        if not items or len(items) < min(size, first):
            return
        index, size, before = index + 1, used, items


def _number(value: Any, least: int) -> Optional[int]:
    is_one = isinstance(value, int) and not isinstance(value, bool) and value >= least
    return value if is_one else None
