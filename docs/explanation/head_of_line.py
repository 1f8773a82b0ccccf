"""An urgent request for a model without pods, and a batch request for one that has a pod."""

from collections.abc import Mapping, Sequence

import anyio

from flowgate import FlowControlConfig, FlowController, Pod, Request
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time

PODS = {"small": [Pod("small-1", "10.0.0.1", 8000)], "big": []}


class ByModel:
    """Each model has pods of its own."""

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        """Resolve a request's metadata."""
        return PODS[str(metadata["model"])]

    def selection_key(self, metadata: Mapping[str, object]) -> object:
        """Say which requests share an answer."""
        return metadata["model"]


async def ask(controller: FlowController, name: str, model: str, priority: int) -> None:
    request = Request("tenant", priority, request_id=name, metadata={"model": model}, ttl=5)
    try:
        async with controller.admitted(request) as ticket:
            print(f"  {name} goes to {ticket.candidates[0].name} after {ticket.queue_wait:.0f} s")
    except Exception as error:
        print(f"  {name}: {type(error).__name__}")


async def main() -> None:
    for scope in "candidates", "pool":
        print(f'hol_scope="{scope}"')
        config = FlowControlConfig(hol_scope=scope)
        controller = FlowController(config, locator=ByModel(), detector=ConcurrencyDetector(1))
        async with controller, anyio.create_task_group() as tasks:
            tasks.start_soon(ask, controller, "urgent, for the big model", "big", 10)
            await anyio.sleep(1)
            tasks.start_soon(ask, controller, "batch, for the small model", "small", 0)


run_in_virtual_time(main)
