"""Policies of one's own: within a flow, between flows, and between bands."""

from collections.abc import Sequence

import anyio

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.contracts import BandView, FlowQueueView, ItemComparator, QueueCapability, QueueItem, SafeQueue
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
