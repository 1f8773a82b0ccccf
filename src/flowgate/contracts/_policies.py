"""Who goes next: within a flow, and between flows."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from flowgate.contracts._queues import ItemComparator, QueueCapability, QueueItem, SafeQueue
from flowgate.contracts._requests import FlowKey

__all__ = [
    "BandView",
    "Costed",
    "FlowGroup",
    "FlowQueueView",
    "InterFlowDispatchPolicy",
    "IntraFlowDispatchPolicy",
    "QueueSelector",
    "RankedGroup",
    "Weighted",
]


@runtime_checkable
class IntraFlowDispatchPolicy(Protocol):
    """Chooses within a flow.

    One instance may serve many bands, so it holds no state of a flow. `select_item` is called once for each item that
    is dispatched from a queue. It must answer at once, and change nothing. Where it raises, or names no item of a
    non-empty queue, the item that came first goes instead.
    """

    @property
    def name(self) -> str:
        """Name of the policy, for errors, logs and metrics."""
        ...

    @property
    def comparator(self) -> ItemComparator:
        """How it orders the items of a flow, and fairness policies the heads of flows."""
        ...

    @property
    def required_queue_capabilities(self) -> frozenset[QueueCapability]:
        """What the queue must promise; checked when the configuration is built."""
        ...

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the item to go next; None only from an empty queue."""
        ...


class FlowQueueView(Protocol):
    """What a fairness policy sees of one flow in one lane; hashable, and the same object while the flow waits."""

    @property
    def flow_key(self) -> FlowKey:
        """The flow's name. State that outlives a flow's wait belongs to this."""
        ...

    @property
    def comparator(self) -> ItemComparator:
        """How the items of this flow compare; the key is the one taken at enqueue."""
        ...

    @property
    def weight(self) -> float:
        """What it weighs, as its fairness policy said when it began to wait; 1 where the policy is not `Weighted`."""
        ...

    @property
    def byte_size(self) -> int:
        """Waiting bytes."""
        ...

    @property
    def head(self) -> QueueItem | None:
        """The queue's first item, or None when it is empty."""
        ...

    @property
    def tail(self) -> QueueItem | None:
        """The queue's last item, or None when it is empty."""
        ...

    def __len__(self) -> int:
        """Return how many items wait."""
        ...


class FlowGroup(Protocol):
    """Fairness state of one lane and band: told what happens, asked who goes next.

    All methods are called by the engine, inside a step, and must return at once. Where one raises, or `select` names a
    flow that does not wait here, the flow with the best head goes instead, and a fresh group takes over as soon as
    one can be made and told of the waiting flows.
    """

    def activated(self, flow: FlowQueueView) -> None:
        """Note that a flow, empty until now, has an item. Called before any other call that names it."""
        ...

    def head_changed(self, flow: FlowQueueView) -> None:
        """Note that a waiting flow's first item is another one."""
        ...

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        """Note that an item of this flow was dispatched; it has left the queue already.

        Also called for a request that did not wait, and then only while no flow waits in the group: the flow is empty,
        and was never activated. A policy that remembers nothing of flows that do not wait says so with
        ``memoryless = True`` and is spared those calls.
        """
        ...

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        """Note that a dispatched item's true cost was `delta` more than it was charged; negative for less.

        The flow may wait no longer, or again; it may be another object of the same `flow_key`.
        """
        ...

    def emptied(self, flow: FlowQueueView) -> None:
        """Note that a flow waits no longer, by whatever way its last item left."""
        ...

    def select(self) -> FlowQueueView:
        """Name the flow to go next; called only while at least one flow waits."""
        ...


@runtime_checkable
class RankedGroup(Protocol):
    """An optional part of a group: compares lanes by their best request, instead of letting them take turns."""

    def rank(self) -> tuple[object, int]:
        """Return (key, arrival) of the group's best head; the lane with the smallest goes first."""
        ...


@runtime_checkable
class InterFlowDispatchPolicy(Protocol):
    """Chooses between the flows of a band: fairness.

    One instance may serve many bands; its state lives in the groups it makes.
    """

    @property
    def name(self) -> str:
        """Name of the policy, for errors, logs and metrics."""
        ...

    def new_group(self) -> FlowGroup:
        """Make the empty state for one lane and band. Called when the first of its requests arrives."""
        ...


@runtime_checkable
class Costed(Protocol):
    """An optional part of a fairness policy: it shares by what requests cost, not by their number.

    A fairness policy, or a dispatch policy, may also be `ClockBound`.
    """

    def cost_of(self, item: QueueItem) -> float:
        """Say what an item costs, in the policy's own unit; less than 1 counts as 1.

        Called once for each item, when it is enqueued, or dispatched without waiting; ``item.cost`` holds the answer
        from then on. Where it raises, or answers NaN, infinity or less than 0, the item costs its size in bytes.
        """
        ...


@runtime_checkable
class Weighted(Protocol):
    """An optional part of a fairness policy: some flows get more than others."""

    def weight_of(self, flow_key: FlowKey) -> float:
        """Say what a flow weighs: twice the weight is twice the share.

        Called each time that a flow begins to wait, or is charged without waiting; ``flow.weight`` holds the answer
        from then on. Where it raises, or answers with what is not finite and more than 0, the flow weighs 1.
        """
        ...


class BandView(Protocol):
    """What a `QueueSelector` looks at: one band, in one lane."""

    @property
    def priority(self) -> int:
        """The band's priority."""
        ...

    @property
    def queues(self) -> Iterable[FlowQueueView]:
        """The group's non-empty queues, longest waiting flow first."""
        ...


@runtime_checkable
class QueueSelector(Protocol):
    """The small form of a fairness policy: a plain object that only looks.

    Its cost for each choice is its own. None, an exception or a queue that does not wait is a failure.
    """

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        """Name the queue to go next; called only while at least one queue waits."""
        ...
