"""The newest items first: whom a full band or controller may push out."""

from collections import OrderedDict
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from flowgate.longest import LongestFlow

if TYPE_CHECKING:
    from flowgate.items import Item
    from flowgate.registry import Flow

__all__ = ["Newest"]


class Newest:
    """The waiting items of one band by arrival; made only where somebody may be displaced.

    Args:
        by_flow: Whether to list them by flow, too, and to know the longest.
    """

    __slots__ = ("_all", "_by_flow", "_largest", "_longest")

    def __init__(self, *, by_flow: bool) -> None:
        self._all: OrderedDict[Item, None] = OrderedDict()
        self._by_flow: dict[Flow, OrderedDict[Item, None]] | None = {} if by_flow else None
        self._longest = LongestFlow(attrgetter("queued"))
        self._largest = LongestFlow(attrgetter("queued_bytes"))

    def add(self, item: "Item", flow: "Flow") -> None:
        """List an item that waits, newer than all others; its flow counts it already. O(1), by flow O(log flows)."""
        self._all[item] = None
        if self._by_flow is not None:
            self._by_flow.setdefault(flow, OrderedDict())[item] = None
            self._measure(flow)

    def remove(self, item: "Item", flow: "Flow") -> None:
        """Take an item off the list; its flow counts it no longer. O(1), by flow O(log flows)."""
        del self._all[item]
        if self._by_flow is not None:
            items = self._by_flow[flow]
            del items[item]
            if not items:
                del self._by_flow[flow]
            self._measure(flow)

    def _measure(self, flow: "Flow") -> None:
        self._longest.changed(flow)
        self._largest.changed(flow)

    def in_band(self) -> Iterable["Item"]:
        """Iterate over all items, the newest first."""
        return reversed(self._all)

    def in_longest_flow(self, *, by_bytes: bool) -> tuple["Flow", Iterable["Item"]] | None:
        """Return the flow with most requests, or bytes, and its items, the newest first; None when nobody waits."""
        flow = (self._largest if by_bytes else self._longest).get()
        if flow is None or self._by_flow is None:
            return None
        return flow, reversed(self._by_flow[flow])
