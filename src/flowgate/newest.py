"""The newest items first: whom a full band or controller may push out."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from flowgate.longest import Longest

if TYPE_CHECKING:
    from flowgate.contracts import FlowKey
    from flowgate.items import Item

__all__ = ["Backlog", "Newest"]


# Slotted and not frozen: written to for each request that waits, where room is shared by flow.
@attrs.define(eq=False)
class Backlog:
    """The waiting items of one flow, and their bytes."""

    items: "OrderedDict[Item, None]" = attrs.Factory(OrderedDict["Item", None])
    size: int = 0

    def newest_first(self) -> Iterable["Item"]:
        """Iterate over the items."""
        return reversed(self.items)


class Newest:
    """The waiting items of one band by arrival; made only where somebody may be displaced.

    Args:
        by_flow: Whether to list them by flow, too, and to know the longest. Flows are known by their own names here,
            also those that share the overflow flow.
    """

    __slots__ = ("_all", "_by_flow", "_largest", "_longest")

    def __init__(self, *, by_flow: bool) -> None:
        self._all: OrderedDict[Item, None] = OrderedDict()
        self._by_flow: dict[FlowKey, Backlog] | None = {} if by_flow else None
        self._longest: Longest[FlowKey] = Longest()
        self._largest: Longest[FlowKey] = Longest()

    def add(self, item: "Item") -> None:
        """List an item that waits, newer than all others. O(1), by flow O(log flows)."""
        self._all[item] = None
        if self._by_flow is not None:
            backlog = self._by_flow.setdefault(item.flow_key, Backlog())
            backlog.items[item] = None
            backlog.size += item.byte_size
            self._measure(item.flow_key, backlog)

    def remove(self, item: "Item") -> None:
        """Take an item off the list. O(1), by flow O(log flows)."""
        del self._all[item]
        if self._by_flow is not None:
            backlog = self._by_flow[item.flow_key]
            del backlog.items[item]
            backlog.size -= item.byte_size
            self._measure(item.flow_key, backlog)
            if not backlog.items:
                del self._by_flow[item.flow_key]

    def _measure(self, key: "FlowKey", backlog: Backlog) -> None:
        self._longest.put(key, len(backlog.items))
        self._largest.put(key, backlog.size)

    def in_band(self) -> Iterable["Item"]:
        """Iterate over all items, the newest first."""
        return reversed(self._all)

    def longest(self, *, by_bytes: bool) -> Backlog | None:
        """Return the flow with most requests, or bytes; None when nobody waits, or flows are not listed."""
        key = (self._largest if by_bytes else self._longest).get()
        return None if key is None or self._by_flow is None else self._by_flow[key]
