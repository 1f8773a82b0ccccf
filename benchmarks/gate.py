"""The same work through a `FlowController`: new requests with size and TTL, and an observer that listens."""

import asyncio
from itertools import count

import attrs

from benchmarks.rounds import Stopwatch
from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.contracts import Dispatched, InterFlowDispatchPolicy, Observer, Released
from flowgate.locators import StaticPodLocator
from flowgate.policies import RoundRobin
from flowgate.saturation import ConcurrencyDetector

__all__ = ["Load", "drain", "fast_path", "park", "queue"]

_POD = Pod("pod", "10.0.0.1", 8000)


class _Listener(Observer):
    """Hears of every dispatch and release, and does nothing about it."""

    def on_dispatched(self, event: Dispatched) -> None:
        pass

    def on_released(self, event: Released) -> None:
        pass


@attrs.frozen
class Load:
    """Who asks for what.

    Args:
        callers: How many at a time.
        slots: Of the one pod.
        flows: Taken in turn by the requests.
        bands: Taken in turn by the flows.
        fairness: Between flows.
    """

    callers: int = 1
    slots: int = 1
    flows: int = 1
    bands: int = 1
    fairness: InterFlowDispatchPolicy = attrs.Factory(RoundRobin)

    def controller(self, locator: StaticPodLocator) -> FlowController:
        """Make a controller for it, without limits on the backlog."""
        bands = [
            PriorityBandConfig(priority, max_requests=None, max_bytes=None, fairness=self.fairness)
            for priority in range(self.bands)
        ]
        return FlowController(
            FlowControlConfig(bands),
            locator=locator,
            detector=ConcurrencyDetector(self.slots),
            observers=[_Listener()],
        )

    def request(self, number: int) -> Request:
        """Make a new request: sizes vary, and each states a TTL."""
        flow = number % self.flows
        return Request(f"flow-{flow}", flow % self.bands, 100 + number % 9_000, 60.0)


async def fast_path(times: int) -> float:
    """Enqueue and release on an idle pool: no call suspends."""
    async with Load().controller(StaticPodLocator([_POD])) as controller:
        with Stopwatch() as watch:
            for number in range(times):
                ticket = await controller.enqueue_and_wait(Request("flow", 0, 100 + number % 9_000, 60.0))
                ticket.release()
    return watch.seconds / times


async def queue(load: Load, each: int) -> float:
    """Let callers wait for a slot, hold it for one turn of the loop, and begin again, `each` times."""
    numbers = count()

    async def call() -> None:
        for _ in range(each):
            with await controller.enqueue_and_wait(load.request(next(numbers))):
                await asyncio.sleep(0)

    async with load.controller(StaticPodLocator([_POD])) as controller:
        with Stopwatch() as watch:
            await asyncio.gather(*[call() for _ in range(load.callers)])
    return watch.seconds / (load.callers * each)


async def _wait(controller: FlowController, load: Load, number: int) -> None:
    (await controller.enqueue_and_wait(load.request(number))).release()


async def park(controller: FlowController, load: Load) -> list[asyncio.Task[None]]:
    """Park one caller for each request behind a gate without pods."""
    tasks = [asyncio.create_task(_wait(controller, load, number)) for number in range(load.callers)]
    await asyncio.sleep(0)
    assert controller.stats().queued_requests == load.callers
    return tasks


async def drain(load: Load) -> float:
    """Let a pod with room for everybody appear, and wait until the last of the parked callers is through."""
    locator = StaticPodLocator()
    async with load.controller(locator) as controller:
        tasks = await park(controller, load)
        with Stopwatch() as watch:
            locator.set_pods([_POD])
            await asyncio.gather(*tasks)
    return watch.seconds / load.callers
