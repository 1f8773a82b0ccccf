"""Members by rank, the least first."""

from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Any, Generic, TypeVar

__all__ = ["Order"]

_Member = TypeVar("_Member")


class Order(Generic[_Member]):
    """A heap whose entries are corrected lazily; each call is O(log n), amortised.

    Among equals the one that was put first comes first. An entry whose member has another by now, or none, is a
    tombstone. It goes when it comes to the top, or as soon as tombstones outnumber live entries.
    """

    __slots__ = ("_entries", "_heap", "_serials")

    def __init__(self) -> None:
        # (rank, serial, member). The serial is unique, so that members are never compared.
        self._heap: list[tuple[Any, int, _Member]] = []
        self._entries: OrderedDict[_Member, tuple[Any, int, _Member]] = OrderedDict()
        self._serials = count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, member: _Member, rank: Any) -> None:
        """Give a member its rank, a new one or another; it goes behind its equals."""
        entry = (rank, next(self._serials), member)
        old = self._entries.pop(member, None)
        self._entries[member] = entry
        # The usual case, the member that was least: replacing its entry leaves no tombstone.
        if old is not None and self._heap[0] is old:
            heapreplace(self._heap, entry)
        else:
            heappush(self._heap, entry)
            self._compact()

    def discard(self, member: _Member) -> None:
        """Take a member out, if it is in."""
        self._entries.pop(member, None)
        self._compact()

    def least(self) -> _Member:
        """Return the member with the least rank; only of an order that is not empty."""
        while self._entries.get((top := self._heap[0])[2]) is not top:
            heappop(self._heap)
        return top[2]

    def stalest(self) -> _Member:
        """Return the member that was put longest ago; only of an order that is not empty. O(1)."""
        return next(iter(self._entries))

    def rerank(self, rank_of: Callable[[_Member], Any]) -> None:
        """Give every member the rank that it has by now. O(n)."""
        for member, (_, serial, _) in self._entries.items():
            self._entries[member] = (rank_of(member), serial, member)
        self._rebuild()

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._entries):
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = list(self._entries.values())
        heapify(self._heap)
