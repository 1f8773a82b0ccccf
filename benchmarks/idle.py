"""Idleness: pods are full, everybody waits, plug-ins announce their changes and nothing changes."""

import asyncio
from asyncio import get_running_loop

from benchmarks.gate import park
from benchmarks.load import Load
from benchmarks.rounds import Figure, Spread
from benchmarks.sizes import Sizes
from flowgate import Request
from flowgate.testing import VirtualTimeLoop, run_in_virtual_time

__all__ = ["idle"]


def idle(sizes: Sizes) -> list[Figure]:
    """Count the callbacks that the event loop runs in a second; in virtual time, which leaves none out."""
    load = Load(sizes.waiting, flows=sizes.waiting)
    spent = run_in_virtual_time(_callbacks, load, sizes.idle_seconds)
    name = f"callbacks a second, saturated, {load.callers:,} waiting"
    return [Figure(name, "/s", Spread.of([spent]), target=0.0)]


async def _callbacks(load: Load, seconds: float) -> float:
    own = await _count(seconds)  # what it takes to sleep
    async with load.controller(load.open_locator()) as controller:
        with await controller.enqueue_and_wait(Request("holder")):
            tasks = await park(controller, load)
            await asyncio.sleep(0)  # for the pass that the last arrival caused
            callbacks = await _count(seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return (callbacks - own) / seconds


async def _count(seconds: float) -> int:
    loop = get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    before = loop.callbacks
    await asyncio.sleep(seconds)
    return loop.callbacks - before
