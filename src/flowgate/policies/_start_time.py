"""Between flows: by the virtual time at which their requests start."""

from typing import ClassVar

import attrs

from flowgate.contracts import FlowGroup, FlowKey, FlowQueueView, QueueItem
from flowgate.policies._levels import MAX_IDLE_FLOWS, Levels
from flowgate.policies._shares import Cost, Weights, check_cost, check_weights, price, weigh

__all__ = ["StartTimeFairQueuing"]


@attrs.frozen
class StartTimeFairQueuing:
    """The request with the least start tag goes next: fair by cost and weight, with no quantum to choose.

    After Goyal, Vin and Cheng, "Start-time Fair Queuing" (1996). A request starts where the one before it in its flow
    finished, at start + cost / weight; the first of a flow that comes at the virtual time, if that is later. Our
    virtual time is the least start tag among those waiting; but a first request is put up to its own cost above that,
    in proportion to what was served meanwhile, since at the least tag itself an endless stream of new flows would
    starve whoever is ahead. A flow that leaves ahead of the virtual time is remembered until that has passed it, up to
    4,096 of them; and when nobody waits any longer, all tags are forgotten. Every call is O(log n), amortised.

    Over any interval in which two flows both wait in a group, what it dispatches of each, per weight, differs by no
    more than `bound`: one largest request of each, as in the paper.

    Args:
        weights: A mapping from flow ids to weights (those not in it weigh 1), or a callable of the `FlowKey`, asked
            each time that a flow begins to wait. A flow of weight 2 gets twice as much as one of weight 1.
        cost: None counts bytes; a str is the name of a number in the request's metadata; a callable is asked with the
            request.

    Raises:
        ValueError: A weight is not finite and more than 0, or the name is empty.
        TypeError: `weights` or `cost` is none of these.

    >>> from flowgate.policies import StartTimeFairQueuing
    >>> StartTimeFairQueuing(cost="tokens").bound(max_cost=(4_000, 500), weights=(2.0, 1.0))
    2500.0
    """

    weights: Weights | None = attrs.field(default=None, converter=check_weights, hash=False)
    cost: Cost | None = attrs.field(default=None, converter=check_cost)

    memoryless: ClassVar[bool] = True
    """It remembers nothing once nobody waits, and need not be told of requests that did not."""

    @property
    def name(self) -> str:
        """``"start-time-fair-queuing"``."""
        return "start-time-fair-queuing"

    def cost_of(self, item: QueueItem) -> float:
        """Say what an item costs; raise ValueError where its metadata has no such number."""
        return price(self.cost, item)

    def weight_of(self, key: FlowKey) -> float:
        """Say what a flow weighs; raise ValueError or TypeError where that is no weight."""
        return weigh(self.weights, key)

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        """Largest difference, in cost per weight, between two flows over any interval in which both wait.

        A settlement counts as service from when it is known, and adds its own size per weight: those of the interval,
        and those after the flow's last turn before it began to wait.

        Args:
            max_cost: The largest cost of a request of each, those counted that were cancelled.
            weights: What each weighs.
        """
        return max_cost[0] / weights[0] + max_cost[1] / weights[1]

    def new_group(self) -> FlowGroup:
        """Make a group in which nobody waits."""
        return _Tags(MAX_IDLE_FLOWS)


class _Tags(Levels):
    """Levels that are start tags, and mean nothing once nobody waits."""

    __slots__ = ()

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        if self._waiting:
            super().settled(flow, delta)

    def _charge_idle(self, flow: FlowQueueView, cost: float) -> None:
        """Nothing: tags are those of requests that waited."""

    def _rest(self) -> None:
        while self._idle:
            self._forget(self._idle.stalest())
        super()._rest()
