"""Within a flow, by what the engine knows of an item: its arrival, its deadline."""

from operator import attrgetter
from typing import Final

import attrs

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue

__all__ = ["EarliestDeadlineFirst", "Fcfs"]

_BY_ENQUEUE_TIME: Final = ItemComparator(float, attrgetter("enqueue_time"))
_BY_DEADLINE: Final = ItemComparator(float, attrgetter("deadline"))
_NEEDS_FIFO: Final = frozenset({QueueCapability.FIFO})
_NEEDS_PRIORITY: Final = frozenset({QueueCapability.PRIORITY})


@attrs.frozen
class Fcfs:
    """First come, first served: the item that arrived first goes first. O(1) a choice.

    >>> from flowgate.policies import Fcfs
    >>> from flowgate.queues import ListQueue
    >>> Fcfs().select_item(ListQueue()) is None
    True
    """

    @property
    def name(self) -> str:
        """``"fcfs"``."""
        return "fcfs"

    @property
    def comparator(self) -> ItemComparator:
        """Order by the time of arrival, in seconds of the controller's clock."""
        return _BY_ENQUEUE_TIME

    @property
    def required_queue_capabilities(self) -> frozenset[QueueCapability]:
        """A queue whose head arrived first."""
        return _NEEDS_FIFO

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the queue's head."""
        return queue.peek_head()


@attrs.frozen
class EarliestDeadlineFirst:
    """The item whose deadline is nearest goes first, ties by arrival; those without a TTL go last. O(1) a choice.

    >>> from flowgate.policies import EarliestDeadlineFirst
    >>> EarliestDeadlineFirst().required_queue_capabilities
    frozenset({<QueueCapability.PRIORITY: 'priority'>})
    """

    @property
    def name(self) -> str:
        """``"edf"``."""
        return "edf"

    @property
    def comparator(self) -> ItemComparator:
        """Order by the deadline, in seconds of the controller's clock; infinite without a TTL."""
        return _BY_DEADLINE

    @property
    def required_queue_capabilities(self) -> frozenset[QueueCapability]:
        """A queue whose head has the smallest key."""
        return _NEEDS_PRIORITY

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the queue's head."""
        return queue.peek_head()
