"""Between flows: by their first requests."""

from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Any, ClassVar

import attrs

from flowgate.contracts import FlowGroup, FlowQueueView, QueueItem
from flowgate.queues import LAST, take_key

__all__ = ["BestHead"]

# (no key?, key, arrival, serial, flow). The flag comes first, so that a key type which only knows its own kind never
# meets LAST. The serial settles the tie with a tombstone of the same item, so that flows are never compared.
_Entry = tuple[bool, Any, int, int, FlowQueueView]


@attrs.frozen
class BestHead:
    """The flow with the best first request goes next: smallest key of its dispatch policy, ties by arrival.

    It makes one queue of many, and shares nothing: a flow may take every slot. A choice is O(log n) in the number of
    waiting flows. All flows of a group must have comparators of one score type; `activated` raises TypeError otherwise.

    >>> from flowgate.policies import BestHead
    >>> BestHead().name
    'best-head'
    """

    memoryless: ClassVar[bool] = True
    """It remembers nothing of flows that do not wait, and need not be told of requests that did not."""

    @property
    def name(self) -> str:
        """``"best-head"``."""
        return "best-head"

    def new_group(self) -> FlowGroup:
        """Make an empty heap; the group is a `RankedGroup`."""
        return _Heads()


class _Heads:
    """A heap of the waiting flows' heads, corrected lazily.

    An entry whose flow has another one by now, or none, is a tombstone. It goes when it comes to the top, or as soon
    as tombstones outnumber live entries, so an empty group holds nothing, and a heap is at most twice its flows.
    """

    __slots__ = ("_entries", "_heap", "_score_type", "_serials")

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._entries: dict[FlowQueueView, _Entry] = {}
        self._score_type: type = object
        self._serials = count()

    def activated(self, flow: FlowQueueView) -> None:
        score_type = flow.comparator.score_type
        if not self._entries:
            self._score_type = score_type
        if score_type is not self._score_type:
            raise TypeError(
                f"best-head cannot compare flow {flow.flow_key.id!r}, with keys of type {score_type.__name__}, "
                f"to flows with keys of type {self._score_type.__name__}"
            )
        self.head_changed(flow)

    def head_changed(self, flow: FlowQueueView) -> None:
        head = flow.head
        if head is None:
            return self.emptied(flow)
        key, _ = take_key(flow.comparator, head)
        entry = (key is LAST, key, head.arrival, next(self._serials), flow)
        old = self._entries.get(flow)
        # The usual case, the flow that was selected: its entry is on top, and replacing it leaves no tombstone.
        if old is not None and self._heap[0] is old:
            heapreplace(self._heap, entry)
        else:
            heappush(self._heap, entry)
        self._entries[flow] = entry
        return self._compact()

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        """Nothing: only heads count."""

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        """Nothing: only heads count."""

    def emptied(self, flow: FlowQueueView) -> None:
        self._entries.pop(flow, None)
        self._compact()

    def select(self) -> FlowQueueView:
        return self._top()[4]

    def rank(self) -> tuple[object, int]:
        top = self._top()
        return top[1], top[2]

    def _top(self) -> _Entry:
        while self._entries.get((top := self._heap[0])[4]) is not top:
            heappop(self._heap)
        return top

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._entries):
            self._heap = list(self._entries.values())
            heapify(self._heap)
