"""A request waits, and the controller is asked why; then how it went."""

import anyio

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time

CONFIG = FlowControlConfig(
    bands=[PriorityBandConfig(0, "batch"), PriorityBandConfig(10, "chat")],
    explain_last=1_000,  # keep that many decisions; what waits can be explained without
)


async def ask(controller: FlowController, request: Request) -> None:
    async with controller.admitted(request):
        await anyio.sleep(10)  # the pod is busy with it


async def main() -> None:
    locator = StaticPodLocator([Pod("pod-1", "10.0.0.1", 8000)])
    controller = FlowController(CONFIG, locator=locator, detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        for name, tenant, priority in [
            ("first", "tenant-a", 0),
            ("report", "tenant-a", 0),
            ("question", "tenant-b", 10),
            ("summary", "tenant-a", 0),
        ]:
            tasks.start_soon(ask, controller, Request(tenant, priority, request_id=name))
            await anyio.sleep(1)
        for explanation in controller.explain("summary"):
            print(explanation.text())
        await anyio.sleep(10)
        for explanation in controller.explain("question"):
            print(explanation.text())


if __name__ == "__main__":
    run_in_virtual_time(main)  # without the time that it would take
