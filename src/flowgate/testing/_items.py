"""What the engine would hand to queues and policies, in its plainest form."""

from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

import attrs

from flowgate.contracts import FlowKey, ItemComparator, QueueItem, SafeQueue

NOTHING: Mapping[str, object] = MappingProxyType({})

arrivals = count()


@attrs.frozen(eq=False)
class Asked:
    """A request that says what it was told to."""

    key: FlowKey = attrs.field(factory=lambda: FlowKey("a"))
    metadata: Mapping[str, object] = NOTHING

    def request_id(self) -> str:
        return "asked"

    def flow_key(self) -> FlowKey:
        return self.key

    def byte_size(self) -> int:
        return 0

    def initial_effective_ttl(self) -> float | None:
        return None

    def get_metadata(self) -> Mapping[str, object]:
        return self.metadata


@attrs.define(eq=False, order=False, weakref_slot=True)
class Item:
    """A queued request; its score is what `SCORE` sorts by, and is raised where it is an exception."""

    __hash__ = None  # nobody may need to hash an item

    score: Any = 0.0
    byte_size: int = 1
    arrival: int = attrs.field(factory=lambda: next(arrivals))
    enqueue_time: float = 0.0
    effective_ttl: float = 60.0
    deadline: float = 60.0
    cost: float = 1
    request: Asked = attrs.field(factory=Asked)

    @property
    def flow_key(self) -> FlowKey:
        return self.request.key


def read_score(item: Any) -> Any:
    if isinstance(item.score, Exception):
        raise item.score
    return item.score


SCORE = ItemComparator(float, read_score)
BY_ARRIVAL = ItemComparator(int, lambda item: item.arrival)

QueueFactory = Callable[[ItemComparator], SafeQueue]


class Flow:
    """The engine's view of one flow in one lane, over a real queue."""

    def __init__(self, queue: SafeQueue, comparator: ItemComparator = SCORE, name: str = "a") -> None:
        self.queue = queue
        self.comparator = comparator
        self.flow_key = FlowKey(name)

    def __repr__(self) -> str:
        return f"<flow {self.flow_key.id}>"

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def byte_size(self) -> int:
        return self.queue.byte_size

    @property
    def head(self) -> QueueItem | None:
        return self.queue.peek_head()

    @property
    def tail(self) -> QueueItem | None:
        return self.queue.peek_tail()
