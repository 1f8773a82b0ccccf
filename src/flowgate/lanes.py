"""Where requests wait: lanes, their groups (one for each band), and the queues of flows.

A *lane* holds the requests that share one candidate selection; a *group* those of them in one band, with the fairness
state that chooses between flows.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from flowgate.candidates import Candidates
from flowgate.contracts import FlowGroup, FlowKey, ItemComparator, QueueItem, SafeQueue
from flowgate.items import Item
from flowgate.meters import DrainMeter
from flowgate.pods import PodState

if TYPE_CHECKING:
    from flowgate.registry import Band, Flow

__all__ = ["FlowQueue", "Group", "Lane"]


@attrs.define(eq=False, repr=False, weakref_slot=False)
class FlowQueue:
    """The waiting items of one flow in one lane: the `FlowQueueView` of fairness policies. Made when needed."""

    flow: "Flow"
    group: "Group"
    queue: SafeQueue
    weight: float = 1.0
    """What the flow weighs, taken when it began to wait."""
    waiting: int = 0
    """How many items the engine has put into the queue: asking that is a call in Python, several times a request."""

    def __repr__(self) -> str:
        return f"<FlowQueue of {self.flow.key}: {len(self.queue)} waiting>"

    @property
    def flow_key(self) -> FlowKey:
        """The flow's name."""
        return self.flow.key

    @property
    def comparator(self) -> ItemComparator:
        """How its items compare, by the key taken at enqueue."""
        return self.group.band.comparator

    @property
    def byte_size(self) -> int:
        """Waiting bytes."""
        return self.queue.byte_size

    @property
    def head(self) -> QueueItem | None:
        """The queue's first item."""
        return self.queue.peek_head()

    @property
    def tail(self) -> QueueItem | None:
        """The queue's last item."""
        return self.queue.peek_tail()

    def __len__(self) -> int:
        return len(self.queue)


@attrs.define(eq=False, repr=False)
class Group:
    """The requests of one lane and band, and who goes next among their flows.

    Attributes:
        policy: The fairness state; None after a failure, until a fresh one takes over.
        retry_at: When to try that, in seconds of the controller's clock.
        flows: Those with waiting items, longest waiting first.
        waiting: Items.
        activation: How often the group began to wait.
        served: How far it was served on each pod that it shares with other lanes (`take_turn`).
        is_listed: Whether the lane's list of bands has an entry for it.
        is_ranked: Whether the fairness state compares lanes by their best request.
    """

    lane: "Lane"
    band: "Band"
    policy: FlowGroup | None
    retry_at: float = 0.0
    flows: "dict[Flow, FlowQueue]" = attrs.Factory(dict["Flow", FlowQueue])
    waiting: int = 0
    activation: int = 0
    served: dict[PodState, tuple[float, int, int]] = attrs.Factory(dict[PodState, tuple[float, int, int]])
    is_listed: bool = False
    is_ranked: bool = False

    def __repr__(self) -> str:
        return f"<Group of band {self.band.priority}: {self.waiting} waiting>"

    def best_head(self) -> FlowQueue:
        """Return the flow with the best head, by looking at every one: what is left when the policy fails."""
        return min(self.flows.values(), key=_head_rank)


def _head_rank(flow: FlowQueue) -> tuple[object, int]:
    head = flow.queue.peek_head()
    assert isinstance(head, Item)  # noqa: S101 - only flows with items are asked
    return head.score, head.arrival


@attrs.define(eq=False, repr=False)
class Lane:
    """The requests that share one candidate selection.

    Attributes:
        key: The selection's key.
        is_keyed: False for the lane of one flow, whose candidates are those of its head.
        candidates: The pods, as resolved last.
        epoch: The locator's epoch in which they were.
        cursor: How far they follow what the locator has told since of pods that came and went.
        resolved_for: In the lane of one flow, the item whose metadata they were resolved from: it is the one to go.
        source: What the locator answered, if it cannot change: the same answer again needs no work.
        fault: Why they could not be resolved.
        regime_since: When the lane last went from having pods to having none, or back; minus infinity for never.
        groups: By priority.
        waiting: Items.
        budgeted: The items without a TTL of their own, in order of arrival.
        alarm: The cell among the deadlines that stands for them.
        is_attached: Whether its pods know of it.
        meter: How fast it drains; made when somebody waits.
    """

    key: object
    is_keyed: bool
    candidates: Candidates
    regime_since: float = -math.inf
    epoch: int = -1
    cursor: int = 0
    resolved_for: Item | None = None
    source: object = None
    fault: BaseException | None = None
    groups: dict[int, Group] = attrs.Factory(dict[int, Group])
    waiting: int = 0
    budgeted: OrderedDict[Item, None] = attrs.Factory(OrderedDict[Item, None])
    alarm: list[Any] | None = None
    is_attached: bool = False
    meter: DrainMeter | None = None
    _tops: list[int] = attrs.Factory(list[int])

    def __repr__(self) -> str:
        return f"<Lane {self.key!r}: {self.waiting} waiting for {len(self.candidates)} pods>"

    def top(self) -> Group | None:
        """Return the group of the highest band in which requests wait here. O(1), amortised O(log bands)."""
        tops = self._tops
        while tops:
            group = self.groups.get(-tops[0])
            if group is not None:
                if group.waiting:
                    return group
                group.is_listed = False
            heapq.heappop(tops)  # nobody waits in it, or its band is gone
        return None

    def group(self, band: "Band") -> Group | None:
        """Return the group of a band, if requests of it wait here."""
        group = self.groups.get(band.priority)
        return group if group is not None and group.waiting else None

    def list_group(self, group: Group) -> None:
        """Note that requests wait in a group."""
        if not group.is_listed:
            group.is_listed = True
            heapq.heappush(self._tops, -group.band.priority)

    def items(self) -> Iterator[Item]:
        """Iterate over everything that waits here, band by band, flow by flow."""
        for group in self.groups.values():
            for flow in group.flows.values():
                for item in flow.queue:
                    assert isinstance(item, Item)  # noqa: S101 - the engine put it there
                    yield item

    def any_flow(self) -> FlowQueue:
        """Return a flow of a lane in which requests wait, in the highest band."""
        group = self.top()
        assert group is not None  # noqa: S101 - somebody waits
        return next(iter(group.flows.values()))
