"""A queue in the order of a dispatch policy's key."""

from collections.abc import Iterator
from typing import Any, ClassVar

from sortedcontainers import SortedList

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem
from flowgate.queues._keys import LAST, take_key

__all__ = ["PriorityQueue"]

# (no key?, key, arrival, item). The flag comes first, so that a key type which only knows its own kind never meets
# LAST; arrivals are unique, so that items are never compared.
_Rank = tuple[bool, Any, int, QueueItem]


class PriorityQueue:
    """Holds items in the order of a comparator's key, smallest first, ties by arrival.

    The key is taken once, when an item is added. An item whose key raises, is NaN or of another type goes after all
    that have one. To add or remove an item, wherever it stands, is O(log n); to look at either end O(1).

    Args:
        comparator: Whose key gives the order.

    >>> from flowgate.policies import EarliestDeadlineFirst
    >>> from flowgate.queues import PriorityQueue
    >>> queue = PriorityQueue(EarliestDeadlineFirst().comparator)
    >>> len(queue), queue.byte_size, queue.peek_head()
    (0, 0, None)
    """

    __slots__ = ("_byte_size", "_comparator", "_entries", "_order")

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset({QueueCapability.PRIORITY})

    def __init__(self, comparator: ItemComparator) -> None:
        self._comparator = comparator
        self._order: SortedList[_Rank] = SortedList()
        # By arrival: an item's rank, and the size that was booked for it. The item's own may change; the sum must not
        # drift.
        self._entries: dict[int, tuple[_Rank, int]] = {}
        self._byte_size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[QueueItem]:
        for rank in self._order:
            yield rank[3]

    def __repr__(self) -> str:
        return f"PriorityQueue({len(self._entries)} items, {self._byte_size} bytes)"

    @property
    def byte_size(self) -> int:
        """Sum of the items' sizes in bytes, as they were when added. O(1)."""
        return self._byte_size

    def add(self, item: QueueItem) -> None:
        """Put an item in its place by (key, arrival). O(log n).

        Raises:
            ValueError: The item is in the queue already.
        """
        arrival, size = item.arrival, item.byte_size
        if arrival in self._entries:
            raise ValueError(f"arrival {arrival} is in the queue already")
        key, _ = take_key(self._comparator, item)
        rank = (key is LAST, key, arrival, item)
        self._order.add(rank)  # first, for keys that cannot be compared raise here
        self._entries[arrival] = (rank, size)
        self._byte_size += size

    def remove(self, item: QueueItem) -> None:
        """Take an item out, wherever it stands. O(log n).

        Raises:
            ValueError: The item is not in the queue.
        """
        arrival = item.arrival
        entry = self._entries.get(arrival)
        if entry is None or entry[0][3] is not item:
            raise ValueError(f"arrival {arrival} is not in the queue")
        self._order.remove(entry[0])
        del self._entries[arrival]
        self._byte_size -= entry[1]

    def peek_head(self) -> QueueItem | None:
        """Return the item with the smallest key, or None when empty. O(1)."""
        return self._order[0][3] if self._entries else None

    def peek_tail(self) -> QueueItem | None:
        """Return the item with the largest key, or None when empty. O(1)."""
        return self._order[-1][3] if self._entries else None
