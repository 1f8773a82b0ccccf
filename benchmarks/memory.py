"""Memory, by tracemalloc: of what waits, its coroutines, task and future included; of flows that are idle, or gone."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Mapping

import attrs

from benchmarks.floor import BareGate, park_bare
from benchmarks.gate import park
from benchmarks.load import Load
from benchmarks.rounds import Figure, Spread
from benchmarks.sizes import Sizes
from flowgate.contracts import FlowKey

__all__ = ["memory"]

_WAITING, _IDLE = 2_048.0, 600.0


@attrs.frozen
class _Passing:
    # Not a `Request`: the cache of the keys that it saw last would be counted as well.
    key: FlowKey

    def request_id(self) -> str:
        return "passing"

    def flow_key(self) -> FlowKey:
        return self.key

    def byte_size(self) -> int:
        return 100

    def initial_effective_ttl(self) -> float:
        return 60.0

    def get_metadata(self) -> Mapping[str, object]:
        return {}


def memory(sizes: Sizes) -> list[Figure]:
    """Measure bytes for each waiting request and each idle flow; once, because they do not vary."""
    waiting = sizes.waiting
    bare = asyncio.run(_bare(waiting))
    floor = _figure("memory of a waiting bare future", bare, bare)
    few = asyncio.run(_queued(Load(waiting, flows=10, max_flows=waiting)))
    many = asyncio.run(_queued(Load(waiting, flows=waiting, max_flows=waiting)))
    idle = asyncio.run(_idle_flows(waiting, waiting))
    seen = asyncio.run(_idle_flows(sizes.seen, waiting))
    name = floor.name
    return [
        floor,
        _figure("memory of a waiting request, 10 flows", few, bare, name, _WAITING),
        _figure("memory of a waiting request, a flow each", many, bare, name),
        _figure("memory of an idle flow", idle, bare, name, _IDLE),
        _figure(f"memory of a kept flow, after {sizes.seen:,} of which {waiting:,} are kept", seen, bare, name, _IDLE),
    ]


def _figure(name: str, taken: float, bare: float, versus: str | None = None, target: float | None = None) -> Figure:
    ratio = None if versus is None else Spread.of([taken / bare])
    return Figure(name, "B", Spread.of([taken]), versus, ratio, target)


async def _bare(waiting: int) -> float:
    gate = BareGate(0)
    return await _traced(park_bare(gate, waiting)) / waiting


async def _queued(load: Load) -> float:
    async with load.controller(load.closed_locator()) as controller:
        return await _traced(park(controller, load)) / load.callers


async def _traced(parking: Awaitable[list[asyncio.Task[None]]]) -> int:
    gc.collect()
    tracemalloc.start()
    tasks = await parking
    taken = _stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken


async def _idle_flows(flows: int, kept: int) -> float:
    """Let one request of each flow pass, and share what is left among the flows that are kept."""
    load = Load(max_flows=kept)
    async with load.controller(load.open_locator()) as controller:
        gc.collect()
        tracemalloc.start()
        for number in range(flows):
            (await controller.enqueue_and_wait(_Passing(FlowKey(f"flow-{number}")))).release()
        return _stop() / kept


def _stop() -> int:
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken
