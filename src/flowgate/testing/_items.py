"""What the engine would hand to queues and policies, in its plainest form."""

from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from flowgate.contracts import FlowControlRequest, FlowKey, ItemComparator, QueueItem, SafeQueue

__all__ = ["BY_ARRIVAL", "SCORE", "Asked", "Flow", "Item", "QueueFactory", "read_score"]

NOTHING: Mapping[str, object] = MappingProxyType({})

arrivals = count()


@attrs.frozen(eq=False)
class Asked:
    """A request that says what it was told to.

    Args:
        key: Its flow.
        metadata: What policies read.
    """

    key: FlowKey = attrs.field(factory=lambda: FlowKey("a"))
    metadata: Mapping[str, object] = NOTHING

    def request_id(self) -> str:
        """Return one and the same id."""
        return "asked"

    def flow_key(self) -> FlowKey:
        """Return its flow."""
        return self.key

    def byte_size(self) -> int:
        """Return 0 bytes."""
        return 0

    def initial_effective_ttl(self) -> float | None:
        """Return None."""
        return None

    def get_metadata(self) -> Mapping[str, object]:
        """Return its metadata."""
        return self.metadata


@attrs.define(eq=False, order=False, repr=False, weakref_slot=True)
class Item:
    """A queued request, to hand to a queue or a policy without an engine. Like the engine's own it has no order.

    Args:
        score: Whatever a comparator of the test's own may sort by.
        byte_size: Bytes.
        arrival: Place in the order of all arrivals; each item made gets the next.
        enqueue_time: Seconds.
        effective_ttl: Seconds.
        deadline: Seconds.
        cost: In the unit of the fairness policy, 1 or more.
        request: What was submitted.

    >>> from flowgate import Request
    >>> from flowgate.policies import EarliestDeadlineFirst
    >>> EarliestDeadlineFirst().comparator.key(Item(deadline=2.5, request=Request("tenant-a")))
    2.5
    """

    if not TYPE_CHECKING:
        __hash__ = None  # nobody may need to hash an item

    score: Any = 0.0
    byte_size: int = 1
    arrival: int = attrs.field(factory=lambda: next(arrivals))
    enqueue_time: float = 0.0
    effective_ttl: float = 60.0
    deadline: float = 60.0
    cost: float = 1
    request: FlowControlRequest = attrs.field(factory=Asked)

    @property
    def flow_key(self) -> FlowKey:
        """The request's flow."""
        return self.request.flow_key()

    def __repr__(self) -> str:
        """Show its arrival and what is not the default: suites print many of them."""
        fields = [field for field in attrs.fields(Item) if field.name not in {"arrival", "request"}]
        said = {field.name: getattr(self, field.name) for field in fields}
        shown = "".join(f" {field.name}={said[field.name]!r}" for field in fields if said[field.name] != field.default)
        return f"<item {self.arrival}{shown}>"


def read_score(item: Any) -> Any:
    """Return an item's score; raise it where it is an exception."""
    if isinstance(item.score, Exception):
        raise item.score
    return item.score


SCORE = ItemComparator(float, read_score)
BY_ARRIVAL = ItemComparator(int, lambda item: item.arrival)

QueueFactory = Callable[[ItemComparator], SafeQueue]


class Flow:
    """One flow in one lane as fairness policies see it, over a real queue.

    Args:
        queue: The flow's items; the test adds and removes them.
        comparator: How they compare.
        name: The flow's id.
        weight: What it weighs.

    >>> from flowgate.queues import ListQueue
    >>> flow = Flow(ListQueue(), name="tenant-a")
    >>> flow.queue.add(Item(byte_size=7))
    >>> len(flow), flow.byte_size, flow.flow_key.id
    (1, 7, 'tenant-a')
    """

    def __init__(
        self, queue: SafeQueue, comparator: ItemComparator = SCORE, name: str = "a", weight: float = 1.0
    ) -> None:
        self.queue: SafeQueue = queue
        self.comparator: ItemComparator = comparator
        self.flow_key: FlowKey = FlowKey(name)
        self.weight: float = weight

    def __repr__(self) -> str:
        return f"<flow {self.flow_key.id}>"

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def byte_size(self) -> int:
        """Waiting bytes."""
        return self.queue.byte_size

    @property
    def head(self) -> QueueItem | None:
        """The first item, or None."""
        return self.queue.peek_head()

    @property
    def tail(self) -> QueueItem | None:
        """The last item, or None."""
        return self.queue.peek_tail()
