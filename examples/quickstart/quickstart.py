"""Two requests wait for a pod; when one appears, the urgent request goes first."""

import anyio

from flowgate import FlowController, Pod, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector


async def ask(controller: FlowController, request: Request) -> None:
    async with controller.admitted(request) as ticket:
        print(f"{request.request_id()} goes to {ticket.candidates[0].endpoint}")


async def main() -> None:
    locator = StaticPodLocator()  # scaled to zero
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, controller, Request("tenant-a", priority=0, request_id="batch job"))
        tasks.start_soon(ask, controller, Request("tenant-b", priority=10, request_id="chat"))
        await anyio.wait_all_tasks_blocked()
        print(f"{controller.stats().queued_requests} requests wait")
        locator.set_pods([Pod("pod-1", "10.0.0.1", 8000)])


anyio.run(main)
