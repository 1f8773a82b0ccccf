"""A queue in the order of arrival."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile
from typing import ClassVar

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem

__all__ = ["ListQueue"]


class ListQueue:
    """Holds items in the order of their arrival.

    Every operation is O(1), at both ends and in the middle; but an item that arrived before the tail, because it moved
    here from another lane, costs O(k) for the k items that arrived after it.

    Args:
        comparator: Ignored. It is there so that this class and `PriorityQueue` are made alike.

    >>> from flowgate.queues import ListQueue
    >>> queue = ListQueue()
    >>> len(queue), queue.byte_size, queue.peek_head()
    (0, 0, None)
    """

    __slots__ = ("_byte_size", "_entries")

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset({QueueCapability.FIFO})

    def __init__(self, comparator: ItemComparator | None = None) -> None:  # noqa: ARG002 - see the docstring
        # By arrival: an item, and the size that was booked for it. The item's own may change; the sum must not drift.
        self._entries: OrderedDict[int, tuple[QueueItem, int]] = OrderedDict()
        self._byte_size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[QueueItem]:
        for item, _ in self._entries.values():
            yield item

    def __repr__(self) -> str:
        return f"ListQueue({len(self._entries)} items, {self._byte_size} bytes)"

    @property
    def byte_size(self) -> int:
        """Sum of the items' sizes in bytes, as they were when added. O(1)."""
        return self._byte_size

    def add(self, item: QueueItem) -> None:
        """Put an item in its place by arrival: the tail, if it arrived last.

        Raises:
            ValueError: The item is in the queue already.
        """
        arrival, size, entries = item.arrival, item.byte_size, self._entries
        if arrival in entries:
            raise ValueError(f"arrival {arrival} is in the queue already")
        overtaken = bool(entries) and next(reversed(entries)) > arrival
        entries[arrival] = (item, size)
        self._byte_size += size
        if overtaken:
            self._restore_order(arrival)

    def _restore_order(self, arrival: int) -> None:
        newest_first = reversed(self._entries)
        next(newest_first)
        later = list(takewhile(lambda other: other > arrival, newest_first))
        for other in reversed(later):
            self._entries.move_to_end(other)

    def remove(self, item: QueueItem) -> None:
        """Take an item out, wherever it stands. O(1).

        Raises:
            ValueError: The item is not in the queue.
        """
        arrival = item.arrival
        entry = self._entries.get(arrival)
        if entry is None or entry[0] is not item:
            raise ValueError(f"arrival {arrival} is not in the queue")
        del self._entries[arrival]
        self._byte_size -= entry[1]

    def peek_head(self) -> QueueItem | None:
        """Return the item that arrived first, or None when empty. O(1)."""
        for item, _ in self._entries.values():
            return item
        return None

    def peek_tail(self) -> QueueItem | None:
        """Return the item that arrived last, or None when empty. O(1)."""
        for item, _ in reversed(self._entries.values()):
            return item
        return None
