"""Policies of one's own: within a flow, between flows, and between bands."""

from collections.abc import Sequence

import anyio

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.contracts import (
    BandView,
    FlowGroup,
    FlowQueueView,
    ItemComparator,
    QueueCapability,
    QueueItem,
    SafeQueue,
)
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector


class SmallestFirst:
    """Within a flow: the smallest request goes first."""

    name = "smallest-first"
    comparator = ItemComparator(int, lambda item: item.byte_size)
    required_queue_capabilities = frozenset({QueueCapability.PRIORITY})

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Take the head: the queue keeps it to be the one with the smallest key."""
        return queue.peek_head()


class LongestQueueFirst:
    """Between flows: the one in which most requests wait."""

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        """Look at each waiting flow: this costs O(flows) for each dispatch."""
        return max(band.queues, key=len)


class LeastServed:
    """Between flows: who was given the fewest bytes since it began to wait."""

    name = "least-served"
    memoryless = True  # it need not hear of requests that did not wait

    def cost_of(self, item: QueueItem) -> float:
        """Say what a request costs; `item.cost` is the answer from then on."""
        return item.byte_size

    def bound(
        self,
        max_cost: tuple[float, float] = (1, 1),
        weights: tuple[float, float] = (1, 1),
    ) -> float:
        """Promise: two flows that wait come no further apart than this."""
        return max_cost[0] + max_cost[1]

    def new_group(self) -> FlowGroup:
        """Make the state of one band in one lane."""
        return Served()


class Served:
    """What each waiting flow was given."""

    def __init__(self) -> None:
        self.given: dict[FlowQueueView, float] = {}

    def activated(self, flow: FlowQueueView) -> None:
        """A flow begins to wait: level with the least, so nobody banks credit."""
        self.given[flow] = min(self.given.values(), default=0.0)

    def head_changed(self, flow: FlowQueueView) -> None:
        """Its first request is another one: of no importance here."""

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        """A request of it went."""
        if flow in self.given:
            self.given[flow] += item.cost

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        """It cost more than it was charged, or less."""
        if flow in self.given:
            self.given[flow] += delta

    def emptied(self, flow: FlowQueueView) -> None:
        """It waits no longer."""
        self.given.pop(flow, None)

    def select(self) -> FlowQueueView:
        """Name the flow to go next. A heap would spare the look at each."""
        return min(self.given, key=self.given.__getitem__)


class KeepHalfFree:
    """Between bands: sheddable requests may fill pods by half."""

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """Answer for each priority, highest first; ceilings must not rise."""
        return [1.0 if priority >= 0 else 0.5 for priority in priorities]


async def ask(controller: FlowController, request: Request) -> None:
    async with controller.admitted(request):
        print(request.request_id())


async def main() -> None:
    band = PriorityBandConfig(0, dispatch=SmallestFirst(), fairness=LongestQueueFirst())
    locator = StaticPodLocator()
    controller = FlowController(
        FlowControlConfig(bands=[band]),
        locator=locator,
        detector=ConcurrencyDetector(2),
        usage_limit=KeepHalfFree(),
    )
    async with controller, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, controller, Request("a", byte_size=900, request_id="a, 900 bytes"))
        tasks.start_soon(ask, controller, Request("b", byte_size=500, request_id="b, 500 bytes"))
        tasks.start_soon(ask, controller, Request("b", byte_size=100, request_id="b, 100 bytes"))
        await anyio.wait_all_tasks_blocked()
        locator.set_pods([Pod("pod-1", "10.0.0.1", 8000)])


if __name__ == "__main__":
    anyio.run(main)
