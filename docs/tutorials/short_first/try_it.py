"""Three prompts of one tenant wait for a pod."""

import anyio
from short_first import ShortFirst

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector


async def ask(controller: FlowController, tokens: int) -> None:
    async with controller.admitted(Request("tenant-a", metadata={"tokens": tokens})):
        print(f"{tokens} tokens")


async def main() -> None:
    locator = StaticPodLocator()
    config = FlowControlConfig([PriorityBandConfig(0, dispatch=ShortFirst())])
    controller = FlowController(config, locator=locator, detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as callers:
        for tokens in (6_000, 80, 900):
            callers.start_soon(ask, controller, tokens)
        await anyio.wait_all_tasks_blocked()
        locator.set_pods([Pod("pod-1", "10.0.0.1", 8000)])


anyio.run(main)
