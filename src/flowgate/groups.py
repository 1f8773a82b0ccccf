"""What fairness and dispatch policies are told: every call to them that does not choose is made here.

A policy that raises loses its state: the group does without, until a fresh one can be made and told of all flows.
"""

import sys
from collections.abc import Callable, Sequence

from flowgate.config import QueueFactory
from flowgate.contracts import FlowKey
from flowgate.items import Item
from flowgate.lanes import FlowQueue, Group, Lane
from flowgate.plugins import FailureSink
from flowgate.queues import LAST, take_key
from flowgate.registry import Band, Flow, Registry
from flowgate.ticket import Ticket

__all__ = ["Groups"]

_SLACK = 16
_MOST_SPARE = 128


class Groups:
    """The groups of all lanes.

    Args:
        registry: Which bands there are.
        clock: The time, in seconds.
        on_failure: Called with each failure of a policy.
        retry_interval: Called for the seconds after which a failed policy is tried again.
    """

    __slots__ = ("_clock", "_fail", "_registry", "_retry_interval")

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], float],
        on_failure: FailureSink,
        retry_interval: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._fail = on_failure
        self._retry_interval = retry_interval

    def _new_group(self, lane: Lane, band: Band) -> Group:
        """Make the group of a band in a lane, in place of one whose band is gone."""
        if len(lane.groups) > 2 * len(self._registry.bands) + _SLACK:
            self._sweep(lane)
        group = lane.groups[band.priority] = Group(lane, band, None)
        self.revive(group)
        return group

    def _sweep(self, lane: Lane) -> None:
        # Bands that were collected leave groups behind; once they are the larger part, all go.
        bands = self._registry.bands
        lane.groups = {
            priority: group
            for priority, group in lane.groups.items()
            if group.waiting or bands.get(priority) is group.band
        }

    def queue_for(self, lane: Lane, flow: Flow) -> FlowQueue:
        """Return the queue of a flow in a lane; a new one counts for nothing until something is put into it."""
        group = lane.groups.get(flow.band.priority)
        if group is None or group.band is not flow.band:
            group = self._new_group(lane, flow.band)
        queue = group.flows.get(flow)  # not empty, or it would not be there
        return queue or self._new_queue(flow, group, flow.band.queue_factory)

    def _new_queue(self, flow: Flow, group: Group, factory: QueueFactory) -> FlowQueue:
        band = flow.band
        spare = band.spare_queues if factory is band.queue_factory else None
        queue = FlowQueue(flow, group, spare.pop() if spare else factory(band.comparator))
        if flow.band.weight_of is not None:
            queue.weight = self._weigh(flow, flow.band.weight_of)
        return queue

    def _weigh(self, flow: Flow, weight_of: Callable[[FlowKey], float]) -> float:
        try:
            weight = weight_of(flow.key)
            if not 0 < weight <= sys.float_info.max:
                raise ValueError(f"weight_of() must answer with a finite number of more than 0, not {weight!r}")  # noqa: TRY301
        except Exception as error:  # a plug-in may raise anything
            self._fail("fairness policy", flow.band.config.fairness, error)
            return 1.0
        return weight

    def price(self, item: Item) -> None:
        """Ask the fairness policy what an item costs, if it shares by cost."""
        band = item.queue.group.band
        if band.cost_of is None:
            item.cost = 1
            return
        try:
            cost = band.cost_of(item)
            if not 0 <= cost <= sys.float_info.max:
                raise ValueError(f"cost_of() must answer with a finite number of 0 or more, not {cost!r}")  # noqa: TRY301
        except Exception as error:  # a plug-in may raise anything
            self._fail("fairness policy", band.config.fairness, error)
            cost = item.byte_size
        item.cost = max(1, cost)

    def add(self, item: Item) -> None:
        """Put an item into its queue, score and cost taken now. Whatever a user's queue raises passes through."""
        queue, band = item.queue, item.queue.group.band
        if band.cost_of is None:
            item.cost = 1
        else:
            self.price(item)
        item.score, error = take_key(band.ordering, item)
        if error is not None:
            self._fail("dispatch policy", band.config.dispatch, error)
        try:
            queue.queue.add(item)
        except Exception as problem:
            if item.score is LAST:
                raise
            item.score = LAST
            queue.queue.add(item)
            # So it was the key: keys that do not compare among themselves are the policy's failure.
            self._fail("dispatch policy", band.config.dispatch, problem)
        queue.waiting += 1

    def retire(self, queue: FlowQueue) -> None:
        """Take back the queue of a flow that waits no longer, for the next that begins to."""
        band = queue.flow.band
        is_own = band.has_own_queues and type(queue.queue) is band.queue_factory
        if is_own and len(band.spare_queues) < _MOST_SPARE:
            band.spare_queues.append(queue.queue)
            queue.queue = band.empty_queue  # somebody may look at it still

    # -- what fairness is told

    def tell_added(self, queue: FlowQueue, *, is_active: bool, is_head: bool) -> None:
        """Tell of an item that began to wait: in a flow that waited already, or made a new head there."""
        group = queue.group
        if group.policy is None or (is_active and not is_head):
            return
        try:
            if is_active:
                group.policy.head_changed(queue)
            else:
                group.policy.activated(queue)
        except Exception as error:  # a plug-in may raise anything
            self.break_policy(group, error)

    def tell_removed(self, item: Item, *, is_dispatched: bool, was_head: bool) -> None:
        """Tell of an item that waits no longer."""
        queue = item.queue
        policy = queue.group.policy
        if policy is None:
            return
        try:
            if is_dispatched:
                policy.charged(queue, item)
            if not queue.waiting:
                policy.emptied(queue)
            elif was_head:
                policy.head_changed(queue)
        except Exception as error:  # a plug-in may raise anything
            self.break_policy(queue.group, error)

    def tell_charged(self, item: Item) -> None:
        """Tell of a request that did not wait."""
        group = item.queue.group
        if group.policy is not None:
            try:
                group.policy.charged(item.queue, item)
            except Exception as error:  # a plug-in may raise anything
                self.break_policy(group, error)

    def settle(self, ticket: Ticket, cost: float) -> None:
        """Correct what was charged for a ticket's request, and tell of the difference."""
        queue, cost = ticket.queue, max(1, cost)
        delta = cost - ticket.cost
        if queue is None or not delta:
            return
        ticket.cost = cost
        group = queue.group
        if group.policy is not None:
            try:
                group.policy.settled(group.flows.get(queue.flow, queue), delta)
            except Exception as error:  # a plug-in may raise anything
                self.break_policy(group, error)

    def revive(self, group: Group) -> None:
        """Make a fresh fairness state for a group, and tell it of the flows that wait."""
        try:
            policy = group.band.fairness.new_group()
            for queue in group.flows.values():
                policy.activated(queue)
            group.is_ranked = hasattr(policy, "rank")
            group.policy = policy
        except Exception as error:  # a plug-in may raise anything
            self.break_policy(group, error)

    def break_policy(self, group: Group, error: BaseException) -> None:
        """Do without a group's fairness state, which failed, until a fresh one can be tried."""
        group.policy = None
        group.retry_at = self._clock() + self._retry_interval()
        self._fail("fairness policy", group.band.config.fairness, error)

    # -- reconfiguration

    def rebuild(self, lane: Lane, band: Band) -> None:
        """Let the items of a lane and band be ordered by its policies, which are others than before."""
        old = lane.groups.pop(band.priority, None)
        if old is None or not old.waiting:
            return
        waiting = (item for flow in old.flows.values() for item in flow.queue)
        items = sorted((item for item in waiting if isinstance(item, Item)), key=lambda item: item.arrival)
        try:
            fresh = self._filled(Group(lane, band, None), items, band.config.queue_factory)
        except Exception as error:  # a user's queue may raise anything
            self._fail("queue", band.config.queue_factory, error)
            fresh = self._filled(Group(lane, band, None), items, band.config.own_queue_factory)
        lane.groups[band.priority] = fresh
        lane.list_group(fresh)
        self.revive(fresh)

    def _filled(self, group: Group, items: Sequence[Item], factory: QueueFactory) -> Group:
        group.waiting = len(items)
        group.activation = 1
        for item in items:
            flow = item.queue.flow
            queue = group.flows.get(flow)
            if queue is None:
                queue = group.flows[flow] = self._new_queue(flow, group, factory)
            item.queue = queue
            self.add(item)
        return group
