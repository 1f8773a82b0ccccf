"""Where requests wait: lanes, their groups (one for each band), and the queues of flows.

A *lane* holds the requests that share one candidate selection; a *group* those of them in one band, with the fairness
state that chooses between flows. `Candidates` keeps a lane's pods in the order in which requests want them.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from flowgate.contracts import FlowGroup, FlowKey, ItemComparator, QueueItem, SafeQueue
from flowgate.items import Item
from flowgate.meters import DrainMeter
from flowgate.pods import PodState, PodTable

if TYPE_CHECKING:
    from flowgate.registry import Band, Flow

__all__ = ["Candidates", "FlowQueue", "Group", "Lane"]


_Entry = tuple[float, int, int, PodState]


class Candidates:
    """A lane's pods, least saturated first.

    Keeps itself up to date from the table's log of changes, or by looking at every pod where that is less work. So a
    change costs nothing until somebody asks, and then O(log n) for each changed pod, whatever their number. So does one
    that comes or goes.
    """

    __slots__ = ("_cursor", "_entries", "_epoch", "_fresh", "_heap", "_open", "_pods", "_table")

    def __init__(self, pods: tuple[PodState, ...], table: PodTable) -> None:
        self._pods: tuple[PodState, ...] | None = pods
        self._table = table
        # The entry of each open pod; others in the heap are void, and go when they surface or outnumber these.
        self._entries: dict[PodState, _Entry | None] = dict.fromkeys(pods)
        self._heap: list[_Entry] = []
        self._fresh: list[PodState] = []
        self._open: tuple[PodState, ...] | None = ()
        self._cursor = 0
        self._epoch = -1

    def __contains__(self, state: PodState) -> bool:
        return state in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pods(self) -> tuple[PodState, ...]:
        """All pods, in the locator's order."""
        if self._pods is None:
            self._pods = tuple(self._entries)
        return self._pods

    def add(self, state: PodState) -> None:
        """Take a pod that has come, after all others. O(1)."""
        self._entries[state] = None
        self._fresh.append(state)
        self._pods = None

    def discard(self, state: PodState) -> None:
        """Let a pod go that is there. O(1)."""
        if self._entries.pop(state) is not None:
            self._open = None
        self._pods = None

    def best(self, ceiling: float) -> PodState | None:
        """Return the least saturated pod that is below the ceiling; ties go to the one that fewest lanes name."""
        table = self._table
        if self._cursor != table.changes_end or self._epoch != table.watch.epoch or self._fresh:
            self._catch_up()
        heap, entries = self._heap, self._entries
        while heap:
            entry = heap[0]
            state = entry[3]
            if entries.get(state) is entry:
                return state if entry[0] < ceiling else None
            heapq.heappop(heap)
        return None

    def open(self, ceiling: float) -> tuple[PodState, ...]:
        """Return the pods below the ceiling, in the locator's order."""
        table = self._table
        if self._cursor != table.changes_end or self._epoch != table.watch.epoch or self._fresh:
            self._catch_up()
        if self._open is None:
            self._open = tuple([state for state, entry in self._entries.items() if entry is not None])
        if ceiling < 1.0:
            return tuple([state for state in self._open if state.saturation < ceiling])
        return self._open

    def _catch_up(self) -> None:
        table, entries = self._table, self._entries
        end, epoch = table.changes_end, table.watch.epoch
        if self._cursor == end - 1 and self._epoch == epoch and not self._fresh and table.changes:
            state = table.changes[-1]  # one change since the last look: what each request brings
            if state in entries:
                self._look_at(state)
            self._cursor = end
            return
        base = end - len(table.changes)
        if self._epoch != epoch or end - self._cursor > len(entries) or self._cursor < base:
            for state in entries:
                self._look_at(state)
        else:
            for state in [*table.changes[self._cursor - base :], *self._fresh]:
                if state in entries:
                    self._look_at(state)
        self._fresh.clear()
        self._cursor = end
        self._epoch = epoch

    def _look_at(self, state: PodState) -> None:
        table = self._table
        saturation = state.saturation if state.read_epoch == table.watch.epoch else table.read(state)
        old = self._entries[state]
        lanes = len(state.lanes)
        if old is None:
            if saturation >= 1.0:
                return
        elif saturation == old[0] and lanes == old[1]:
            return  # on an idle pool the usual case
        entry = (saturation, lanes, state.serial, state) if saturation < 1.0 else None
        if entry is None or old is None:
            self._open = None
        self._entries[state] = entry
        if entry is not None:
            heapq.heappush(self._heap, entry)
            if len(self._heap) > 2 * len(self._entries) + 8:
                self._heap = [entry for entry in self._entries.values() if entry is not None]
                heapq.heapify(self._heap)


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
