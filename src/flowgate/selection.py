"""Who goes next: asks the policies, and knows what to do when they fail."""

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from flowgate.contracts import QueueCapability, QueueItem
from flowgate.groups import Groups
from flowgate.items import Item
from flowgate.lanes import FlowQueue, Group
from flowgate.plugins import FailureSink
from flowgate.pods import PodState
from flowgate.turns import count_turn, take_turn

if TYPE_CHECKING:
    from flowgate.shares import Credits

__all__ = ["Selection"]


class Selection:
    """Chooses the request that a slot goes to: its band, its lane, its flow, itself.

    Args:
        groups: Told when a fairness policy fails.
        clock: The time, in seconds.
        on_failure: Called when a dispatch policy fails.

    Attributes:
        credits: What bands are owed of the shares that they are guaranteed; None where priority is strict.
    """

    __slots__ = ("_clock", "_fail", "_groups", "_is_contested", "_turn", "credits")

    def __init__(self, groups: Groups, clock: Callable[[], float], on_failure: FailureSink) -> None:
        self._groups = groups
        self.credits: Credits | None = None
        self._clock = clock
        self._fail = on_failure
        self._turn = 0
        self._is_contested = False

    def group(self, pod: PodState) -> Group | None:
        """Return the group whose turn it is on a pod: of the highest band that waits for it, or of one that is owed it.

        O(lanes that share it).
        """
        self._is_contested = False
        if len(pod.lanes) == 1 and self.credits is None:
            return next(iter(pod.lanes)).top()
        if self.credits is not None:
            owed = self.credits.owed(pod)
            if owed is not None:
                return self._one_of(pod, [group for lane in pod.lanes if (group := lane.group(owed)) is not None])
        best: Group | None = None
        rivals: list[Group] = []
        for lane in pod.lanes:
            group = lane.top()
            if group is None:
                continue
            if best is None or group.band.priority > best.band.priority:
                best = group
                rivals = []
            elif group.band is best.band:
                rivals.append(group)
        return None if best is None else self._one_of(pod, [best, *rivals])

    def _one_of(self, pod: PodState, groups: list[Group]) -> Group:
        return groups[0] if len(groups) == 1 else self._contest(pod, groups)

    def _contest(self, pod: PodState, rivals: list[Group]) -> Group:
        ranked = [(rank, group) for group in rivals if (rank := self._rank(group)) is not None]
        if len(ranked) == len(rivals):
            try:
                return min(ranked, key=itemgetter(0))[1]
            except TypeError as error:  # keys that do not compare
                self._groups.break_policy(ranked[0][1], error)
        self._turn += 1
        self._is_contested = True
        return take_turn(pod, rivals, self._turn)

    def count(self, group: Group, pod: PodState) -> None:
        """Note that the group chosen last gets the slot: only now it has had its turn, and its share."""
        if self._is_contested:
            count_turn(pod, group, self._turn)
        if self.credits is not None:
            self.credits.count(pod, group.band)

    def _rank(self, group: Group) -> Any:
        """Return the rank of a group's best head; None where its policy lets lanes take turns, or failed."""
        try:
            rank = getattr(group.policy, "rank", None)
            return None if rank is None else rank()
        except Exception as error:  # a plug-in may raise anything
            self._groups.break_policy(group, error)
            return None

    def flow(self, group: Group) -> FlowQueue:
        """Return the flow whose turn it is in a group that waits; the one with the best head where the policy fails."""
        if group.policy is None and self._clock() >= group.retry_at:
            self._groups.revive(group)
        if group.policy is not None:
            try:
                flow = group.policy.select()
                if isinstance(flow, FlowQueue) and flow.group is group and flow.waiting:
                    return flow
                raise ValueError(f"select() named {flow!r}, which does not wait in the group")  # noqa: TRY301
            except Exception as error:  # a plug-in may raise anything
                self._groups.break_policy(group, error)
        return group.best_head()

    def item(self, flow: FlowQueue) -> Item:
        """Return the item whose turn it is in a flow that waits; the one that came first where the policy fails."""
        policy = flow.group.band.config.dispatch
        try:
            item = policy.select_item(flow.queue)
            if isinstance(item, Item) and item.queue is flow and item.result is None:
                return item
            raise ValueError(f"select_item() named {item!r}, which does not wait in the queue")  # noqa: TRY301
        except Exception as error:  # a plug-in may raise anything
            self._fail("dispatch policy", policy, error)
        first = _first_come(flow)
        assert isinstance(first, Item)  # noqa: S101 - the engine put it there
        return first


def _first_come(flow: FlowQueue) -> QueueItem | None:
    if QueueCapability.FIFO in flow.queue.capabilities:
        return flow.queue.peek_head()
    return min(flow.queue, key=lambda item: item.arrival)
