"""A configuration for a model server with three kinds of traffic, and a request that pays for its tokens."""

import anyio

from flowgate import (
    BandShares,
    FlowControlConfig,
    FlowControlError,
    FlowController,
    Pod,
    PriorityBandConfig,
    Request,
)
from flowgate.locators import StaticPodLocator
from flowgate.policies import DeficitRoundRobin, EarliestDeadlineFirst, VirtualTokenCounter
from flowgate.saturation import ConcurrencyDetector


def configuration() -> FlowControlConfig:
    """Make it anew for each controller: policies may keep a clock."""
    # People wait: refuse at once what would come too late.
    chat = PriorityBandConfig(
        10,
        name="chat",
        dispatch=EarliestDeadlineFirst(),
        fairness=VirtualTokenCounter(cost="prompt-tokens", weights={"gold": 4.0}),
        when_full="longest-flow",
        reject_infeasible=0.9,
    )
    api = PriorityBandConfig(
        0,
        name="api",
        fairness=DeficitRoundRobin(),
        max_flow_requests=500,
    )
    # Machines wait: whatever is left, and a twentieth at least.
    batch = PriorityBandConfig(-10, name="batch", max_requests=100_000)
    return FlowControlConfig(
        bands=[chat, api, batch],
        band_shares=BandShares({0: 0.2, -10: 0.05}),
        default_ttl=30.0,
    )


async def serve(controller: FlowController, prompt: list[str]) -> str:
    """Charge the prompt at dispatch, and the answer when it is known."""
    tokens = {"prompt-tokens": len(prompt)}
    request = Request("gold", priority=10, ttl=5.0, metadata=tokens)
    try:
        async with controller.admitted(request) as ticket:
            answer = [word.upper() for word in prompt]
            ticket.settle(len(prompt) + 2 * len(answer))
            return " ".join(answer)
    except FlowControlError as error:
        return f"try again in {error.retry_after} s"


async def main() -> None:
    """Serve one request."""
    locator = StaticPodLocator([Pod("pod-1", "10.0.0.1", 8000)])
    controller = FlowController(configuration(), locator=locator, detector=ConcurrencyDetector(8))
    async with controller:
        print(await serve(controller, ["hold", "on"]))


if __name__ == "__main__":
    anyio.run(main)
