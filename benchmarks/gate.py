"""The work through a `FlowController`: new requests with size and TTL, and an observer that listens."""

import asyncio
from itertools import count

from benchmarks.load import Load
from benchmarks.rounds import Stopwatch
from flowgate import FlowController, Request

__all__ = ["Load", "drain", "fast_path", "park", "queue"]


async def fast_path(times: int) -> float:
    """Enqueue and release on an idle pool: no call suspends."""
    load = Load()
    async with load.controller(load.open_locator()) as controller:
        with Stopwatch() as watch:
            for number in range(times):
                ticket = await controller.enqueue_and_wait(Request("flow", 0, 100 + number % 9_000, 60.0))
                ticket.release()
    return watch.seconds / times


async def queue(load: Load, each: int, *, is_held: bool = True) -> float:
    """Let callers wait for a slot, hold it for one turn of the loop or not at all, and begin again, `each` times."""
    numbers = count()

    async def call() -> None:
        for _ in range(each):
            with await controller.enqueue_and_wait(load.request(next(numbers))):
                if is_held:
                    await asyncio.sleep(0)

    async with load.controller(load.open_locator()) as controller:
        with Stopwatch() as watch:
            await asyncio.gather(*[call() for _ in range(load.callers)])
    return watch.seconds / (load.callers * each)


async def _wait(controller: FlowController, load: Load, number: int) -> None:
    (await controller.enqueue_and_wait(load.request(number))).release()


async def park(controller: FlowController, load: Load) -> list[asyncio.Task[None]]:
    """Park one caller for each request behind a gate without pods, or whose pods are full."""
    tasks = [asyncio.create_task(_wait(controller, load, number)) for number in range(load.callers)]
    await asyncio.sleep(0)
    assert controller.stats().queued_requests == load.callers
    return tasks


async def drain(load: Load) -> float:
    """Let pods with room for everybody appear, and wait until the last of the parked callers is through."""
    locator = load.closed_locator()
    pods = load.make_pods()
    async with load.controller(locator) as controller:
        tasks = await park(controller, load)
        with Stopwatch() as watch:
            locator.set_pods(pods)
            await asyncio.gather(*tasks)
    return watch.seconds / load.callers
