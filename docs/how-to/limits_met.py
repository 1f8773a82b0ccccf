"""One request too many, for each limit: which one ends, how, and why."""

from collections.abc import Sequence

import anyio

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.admission import http_response
from flowgate.contracts import Dropped, Observer
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time

ONE_POD = (Pod("pod-1", "10.0.0.1", 8000),)


class Teller(Observer):
    """Tells the first end that is no dispatch."""

    def __init__(self) -> None:
        self.has_told = anyio.Event()

    def on_dropped(self, event: Dropped) -> None:
        if not self.has_told.is_set():
            answer = http_response(event.outcome)
            print(f"  {event.outcome.name}, {answer.status} {answer.reason}")
            print(f"  {event.request.request_id()}: {event.message}")
            self.has_told.set()


async def meet(
    limit: str, config: FlowControlConfig, requests: Sequence[Request], pods: Sequence[Pod] = ONE_POD
) -> None:
    """Let requests come one after the other to a pod with one slot, which the first keeps."""
    print(limit)
    teller = Teller()
    detector = ConcurrencyDetector(1)
    controller = FlowController(config, locator=StaticPodLocator(pods), detector=detector, observers=[teller])
    async with controller, anyio.create_task_group() as callers:
        for request in requests:
            callers.start_soon(hold, controller, request)
            await anyio.sleep(0.1)
        await teller.has_told.wait()
        callers.cancel_scope.cancel()


async def hold(controller: FlowController, request: Request) -> None:
    try:
        async with controller.admitted(request):
            await anyio.sleep_forever()
    except Exception:  # noqa: S110 - the teller has told it
        pass


def band(priority: int = 0, **limits: object) -> FlowControlConfig:
    return FlowControlConfig([PriorityBandConfig(priority, **limits)])  # type: ignore[arg-type] # any of them


def of(*flows: str, size: int = 10) -> list[Request]:
    return [Request(flow, byte_size=size, request_id=f"{flow} {place}") for place, flow in enumerate(flows, 1)]


async def main() -> None:
    await meet("a band's max_requests=2", band(max_requests=2), of("a", "a", "b", "c"))
    await meet("the same, without pods", band(max_requests=2), of("a", "b", "c"), pods=())
    await meet("a band's max_bytes=25", band(max_bytes=25), of("a", "a", "b", "c"))
    await meet("max_bytes=25, and a request of 30", band(max_bytes=25), of("a", "a", size=30))
    await meet("max_flow_requests=2", band(max_flow_requests=2), of("a", "a", "a", "b", "a"))
    flood = of("a", "a", "a", "a", "b")
    await meet("max_requests=3, when_full='longest-flow'", band(max_requests=3, when_full="longest-flow"), flood)
    urgent = Request("c", priority=10, request_id="urgent")
    await meet("the controller's max_requests=2", FlowControlConfig(max_requests=2), [*of("a", "a", "b"), urgent])
    await meet("mode='shed'", band(mode="shed"), of("a", "b"))
    await meet("default_ttl=30.0", FlowControlConfig(default_ttl=30.0), of("a", "b"))
    await meet("no_pods_ttl=300.0", FlowControlConfig(default_ttl=30.0, no_pods_ttl=300.0), of("a"), pods=())
    await meet("default_band=None", FlowControlConfig(default_band=None), [urgent])


if __name__ == "__main__":
    run_in_virtual_time(main)
