"""Memory of what waits, by tracemalloc: the request, its item, its coroutines, its task and its future together."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable

from benchmarks.floor import BareGate, park_bare
from benchmarks.gate import Load, park
from benchmarks.rounds import Figure, Spread
from flowgate.locators import StaticPodLocator

__all__ = ["memory"]

_TARGET = 2_048.0


def memory(waiting: int) -> list[Figure]:
    """Measure bytes for each of so many waiting requests; once, because it does not vary."""
    bare = asyncio.run(_bare(waiting))
    floor = Figure("memory of a bare future", "B", Spread.of([bare]))
    figures = [floor]
    for flows, target in ((10, _TARGET), (waiting, None)):
        taken = asyncio.run(_queued(Load(waiting, flows=flows)))
        ratio = Spread.of([taken / bare])
        figures.append(Figure(f"memory over {flows:,} flows", "B", Spread.of([taken]), floor.name, ratio, target))
    return figures


async def _bare(waiting: int) -> float:
    gate = BareGate(0)
    return await _traced(park_bare(gate, waiting)) / waiting


async def _queued(load: Load) -> float:
    async with load.controller(StaticPodLocator()) as controller:
        return await _traced(park(controller, load)) / load.callers


async def _traced(parking: Awaitable[list[asyncio.Task[None]]]) -> int:
    gc.collect()
    tracemalloc.start()
    tasks = await parking
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken
