"""A group as the engine drives it: the same calls, in the same order."""

import random

from flowgate.contracts import FlowGroup, FlowQueueView, InterFlowDispatchPolicy, ItemComparator
from flowgate.queues import PriorityQueue
from flowgate.testing._items import BY_ARRIVAL, Flow, Item


class Lane:
    """One band in one lane: flows by name, and the group that chooses between them."""

    def __init__(self, policy: InterFlowDispatchPolicy, comparator: ItemComparator = BY_ARRIVAL) -> None:
        self.group: FlowGroup = policy.new_group()
        self.comparator = comparator
        self.flows: dict[str, Flow] = {}

    @property
    def waiting(self) -> set[str]:
        return set(self.flows)

    def arrive(self, name: str, item: Item | None = None) -> Item:
        item = Item() if item is None else item
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = Flow(PriorityQueue(self.comparator), self.comparator, name)
            flow.queue.add(item)
            self.group.activated(flow)
            return item
        head = flow.head
        flow.queue.add(item)
        if flow.head is not head:
            self.group.head_changed(flow)
        return item

    def dispatch(self) -> tuple[str, Item]:
        flow = self.group.select()
        name = flow.flow_key.id
        assert self.flows.get(name) is flow, f"{flow!r} does not wait"
        item = flow.queue.peek_head()
        flow.queue.remove(item)
        self.group.charged(flow, item)
        self._tell(name, flow)
        return name, item

    def cancel(self, name: str, index: int = 0) -> None:
        flow = self.flows[name]
        head = flow.head
        flow.queue.remove(list(flow.queue)[index % len(flow)])
        if flow.head is not head:
            self._tell(name, flow)

    def _tell(self, name: str, flow: Flow) -> None:
        if len(flow):
            self.group.head_changed(flow)
        else:
            del self.flows[name]
            self.group.emptied(flow)

    def drain(self) -> list[str]:
        served = []
        while self.flows:
            served.append(self.dispatch()[0])
        return served


def play(lane: Lane, seed: int, steps: int) -> tuple[int, int]:
    """Let requests of nine flows arrive, leave and be served at random; count the arrived, and the gone."""
    chance = random.Random(seed)
    arrived = gone = 0
    for _ in range(steps):
        step = chance.random()
        if not lane.waiting or step < 0.5:
            lane.arrive(chance.choice("abcdefghi"))
            arrived += 1
            continue
        if step < 0.7:
            lane.cancel(chance.choice(sorted(lane.waiting)), chance.randrange(3))
        else:
            lane.dispatch()
        gone += 1
    return arrived, gone


def absent_flow(name: str = "absent") -> FlowQueueView:
    """A flow that never waited in any group."""
    return Flow(PriorityQueue(BY_ARRIVAL), BY_ARRIVAL, name)
