"""Between flows: by a count of what each was served, kept while it does not wait."""

import attrs

from flowgate.contracts import FlowGroup, FlowKey, QueueItem
from flowgate.policies._levels import MAX_IDLE_FLOWS, Levels
from flowgate.policies._shares import Cost, Weights, check_cost, check_weights, price, weigh
from flowgate.validators import at_least

__all__ = ["VirtualTokenCounter"]


@attrs.frozen
class VirtualTokenCounter:
    """The flow with the least counter goes next; each counts what its flow was served, per weight.

    After Sheng and others, "Fairness in Serving Large Language Models" (2024). A request is counted at its cost when it
    is dispatched, and at its true one once that is settled. A flow that begins to wait is lifted to the least counter
    among those waiting, so nobody banks credit; its first request may put it up to its own cost above that, in
    proportion to what was served meanwhile, or an endless stream of new flows would starve whoever is ahead. A flow
    that is ahead stays so while it does not wait, until the others have caught up. Every call is O(log n), amortised.

    Over any interval in which two flows both wait in a group, what it dispatches of each, per weight, differs by no
    more than `bound`: one largest request of each, as in the paper for what is counted at once.

    Args:
        weights: A mapping from flow ids to weights (those not in it weigh 1), or a callable of the `FlowKey`, asked
            each time that a flow begins to wait. A flow of weight 2 gets twice as much as one of weight 1.
        cost: None counts bytes; a str is the name of a number in the request's metadata; a callable is asked with the
            request.
        max_idle_flows: How many flows that do not wait, and are ahead, a group remembers; beyond it, the one that was
            served longest ago is forgotten.

    Raises:
        ValueError: A weight is not finite and more than 0, the name is empty, or `max_idle_flows` negative.
        TypeError: `weights`, `cost` or `max_idle_flows` is none of these.

    >>> from flowgate.policies import VirtualTokenCounter
    >>> VirtualTokenCounter(cost="tokens").bound(max_cost=(4_000, 500), weights=(2.0, 1.0))
    2500.0
    """

    weights: Weights | None = attrs.field(default=None, converter=check_weights, hash=False)
    cost: Cost | None = attrs.field(default=None, converter=check_cost)
    max_idle_flows: int = attrs.field(default=MAX_IDLE_FLOWS, validator=at_least(0))

    @property
    def name(self) -> str:
        """``"virtual-token-counter"``."""
        return "virtual-token-counter"

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
        """Make a group in which nobody waits, and nothing was served."""
        return Levels(self.max_idle_flows)
