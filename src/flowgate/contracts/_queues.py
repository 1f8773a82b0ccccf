"""Orders of waiting work: the item, how items compare, and the queue that holds them."""

import enum
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import attrs

from flowgate.contracts._requests import FlowControlRequest, FlowKey

__all__ = ["ItemComparator", "QueueCapability", "QueueItem", "SafeQueue"]


class QueueCapability(enum.Enum):
    """What a dispatch policy may ask of the queue that it selects from."""

    FIFO = "fifo"
    """The head is the item that arrived first."""
    PRIORITY = "priority"
    """The head is the item with the smallest key of the policy's comparator."""


class QueueItem(Protocol):
    """flowgate's own record around one queued request; policies, queues and observers read it."""

    @property
    def request(self) -> FlowControlRequest:
        """The request, as submitted."""
        ...

    @property
    def flow_key(self) -> FlowKey:
        """The request's flow."""
        ...

    @property
    def byte_size(self) -> int:
        """Size in bytes, as read at submit."""
        ...

    @property
    def arrival(self) -> int:
        """Place in the order of all arrivals at the controller; unique, and breaks every tie."""
        ...

    @property
    def enqueue_time(self) -> float:
        """When it arrived, in seconds of the controller's clock."""
        ...

    @property
    def effective_ttl(self) -> float:
        """Longest time in the queue, in seconds: the request's own TTL, else the controller's `default_ttl`."""
        ...

    @property
    def deadline(self) -> float:
        """`enqueue_time` + `effective_ttl`, fixed at enqueue; infinite without a TTL."""
        ...

    @property
    def cost(self) -> float:
        """What a fairness policy that is `Costed` charges for it, 1 or more; 1 where the policy counts requests."""
        ...


@attrs.frozen
class ItemComparator:
    """How a dispatch policy orders items: by a key, smallest first, ties by arrival.

    Args:
        score_type: The type of all keys; they must be totally ordered among themselves. An int passes for a float.
        key: Taken once for each item, at enqueue. It must not change the item. Where it raises, or answers NaN or
            another type, the item goes after all that have a key.
    """

    score_type: type
    key: Callable[[QueueItem], Any]  # any ordered type: score_type says which


@runtime_checkable
class SafeQueue(Protocol):
    """Holds the waiting items of one flow in one lane.

    The engine alone changes it, from one thread, and reads it between changes. Each operation is O(log n) or better;
    none may raise for an item that obeys its contract.
    """

    capabilities: ClassVar[frozenset[QueueCapability]]
    """What it promises of its head."""

    def __len__(self) -> int:
        """Return how many items wait."""
        ...

    def __iter__(self) -> Iterator[QueueItem]:
        """Iterate from head to tail."""
        ...

    @property
    def byte_size(self) -> int:
        """Sum of the items' sizes in bytes."""
        ...

    def add(self, item: QueueItem) -> None:
        """Put an item in its place; one that arrived earlier than others goes before those it ties with.

        Raises:
            ValueError: The item is in the queue already.
        """
        ...

    def remove(self, item: QueueItem) -> None:
        """Take an item out, wherever it stands.

        Raises:
            ValueError: The item is not in the queue.
        """
        ...

    def peek_head(self) -> QueueItem | None:
        """Return the first item without taking it, or None when empty."""
        ...

    def peek_tail(self) -> QueueItem | None:
        """Return the last item without taking it, or None when empty."""
        ...
