"""A group as the engine drives it: the same calls, in the same order."""

import gc
import math
import random
import sys
from collections.abc import Iterable
from types import FunctionType, ModuleType

from flowgate.contracts import FlowGroup, FlowKey, FlowQueueView, InterFlowDispatchPolicy, ItemComparator
from flowgate.queues import PriorityQueue
from flowgate.testing._items import BY_ARRIVAL, Flow, Item


class Lane:
    """One band in one lane: flows by name, and the group that chooses between them."""

    def __init__(self, policy: InterFlowDispatchPolicy, comparator: ItemComparator = BY_ARRIVAL) -> None:
        self.policy = policy
        self.group: FlowGroup = policy.new_group()
        self.comparator = comparator
        self.flows: dict[str, Flow] = {}

    @property
    def waiting(self) -> set[str]:
        return set(self.flows)

    def arrive(self, name: str, item: Item | None = None) -> Item:
        item = Item() if item is None else item
        self._price(item)
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = self._flow(name)
            flow.queue.add(item)
            self.group.activated(flow)
            return item
        head = flow.head
        flow.queue.add(item)
        if flow.head is not head:
            self.group.head_changed(flow)
        return item

    def dispatch(self) -> tuple[str, Item]:
        selected = self.group.select()
        name = selected.flow_key.id
        assert self.flows.get(name) is selected, f"{selected!r} does not wait"
        flow = self.flows[name]
        item = flow.head
        assert isinstance(item, Item)
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

    def pass_by(self, name: str, item: Item) -> None:
        """Charge a request that did not wait, of a flow that does not, as the engine does while nobody waits."""
        self._price(item)
        if getattr(self.policy, "memoryless", False) is not True:
            self.group.charged(self._flow(name), item)

    def settle(self, name: str, delta: float) -> None:
        """Correct the charge of a request that was dispatched; the flow may wait no longer."""
        self.group.settled(self.flows.get(name) or self._flow(name), delta)

    def _flow(self, name: str) -> Flow:
        weight_of = getattr(self.policy, "weight_of", None)
        try:
            weight = 1.0 if weight_of is None else weight_of(FlowKey(name))
        except Exception:  # a policy may raise anything
            weight = 1.0
        return Flow(PriorityQueue(self.comparator), self.comparator, name, weight)

    def _price(self, item: Item) -> None:
        cost_of = getattr(self.policy, "cost_of", None)
        if cost_of is None:
            return
        try:
            cost = cost_of(item)
        except Exception:  # a policy may raise anything
            cost = math.nan
        item.cost = max(1, cost if 0 <= cost < math.inf else item.byte_size)

    def _tell(self, name: str, flow: Flow) -> None:
        if len(flow):
            self.group.head_changed(flow)
        else:
            del self.flows[name]
            self.group.emptied(flow)

    def drain(self) -> list[str]:
        served: list[str] = []
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


def come_and_go(lane: Lane, names: Iterable[str]) -> None:
    """Let flows come and leave, each once: half pass by an idle lane, the others come beside one that keeps waiting."""
    for number, name in enumerate(names):
        if number % 2:
            lane.drain()
            lane.pass_by(name, Item(byte_size=1_000_000))
            continue
        lane.arrive("steady")
        lane.arrive(name)
        if number % 4:
            lane.cancel(name)
        while name in lane.waiting:
            lane.dispatch()
            if "steady" not in lane.waiting:
                lane.arrive("steady")
    lane.drain()


def size_of(group: object) -> int:
    """Count the bytes of all that an object keeps alive, but for classes, functions and modules."""
    seen: dict[int, object] = {}
    unseen = [group]
    while unseen:
        thing = unseen.pop()
        if id(thing) not in seen and not isinstance(thing, type | FunctionType | ModuleType):
            seen[id(thing)] = thing
            unseen.extend(gc.get_referents(thing))
    return sum(map(sys.getsizeof, seen.values()))
