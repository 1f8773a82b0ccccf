"""What Python programs use instead, on the work that all of them can do: a burst of callers meets a few slots.

Most of them know neither bands nor flows nor deadlines; the ratios say what those cost. A peer that is not installed is
named in the report, and so is one that lets its callers wait for ever.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import anyio
import attrs

from benchmarks.floor import bare_queue
from benchmarks.gate import queue
from benchmarks.load import Load
from benchmarks.rounds import Case, Figure, Spread, Stopwatch, measure
from benchmarks.sizes import Sizes

__all__ = ["peers"]

_SLOTS = 64
_FLOWS = 10
_PRIORITIES = 8
_LONGEST = 60.0

_Slot = Callable[[int], AbstractAsyncContextManager[object]]
_Burst = Callable[[int], Coroutine[object, object, object]]


@attrs.frozen
class _Peer:
    name: str
    module: str
    burst: _Burst
    most: int = 1_000_000


def peers(sizes: Sizes) -> list[Figure]:
    """Measure each peer beside a hand-made deque of futures."""
    return [figure for callers in sizes.bursts for figure in _bursts(callers, sizes.few_rounds)]


def _bursts(callers: int, rounds: int) -> Iterable[Figure]:
    load = Load(callers, _SLOTS, flows=_FLOWS)
    yield from _beside("flowgate", callers, partial(queue, load, 1), rounds)
    for peer in _PEERS:
        if find_spec(peer.module) is None:
            yield _unmeasured(peer.name, callers, "not installed")
            continue
        size = min(callers, peer.most)
        try:
            yield from _beside(peer.name, size, partial(_timed, peer.burst, size), rounds)
        except TimeoutError:
            yield _unmeasured(peer.name, size, "stuck")


def _beside(
    name: str, callers: int, sample: Callable[[], Coroutine[object, object, float]], rounds: int
) -> list[Figure]:
    floor = f"bare futures, burst of {callers:,}, beside {name}"
    bare = Case(floor, partial(bare_queue, callers, _SLOTS, 1))
    return measure([bare, Case(f"burst of {callers:,}, {name}", sample, {floor: None})], rounds)


def _unmeasured(name: str, callers: int, why: str) -> Figure:
    return Figure(f"burst of {callers:,}, {name}", why, Spread.of([0.0]))


async def _timed(burst: _Burst, callers: int) -> float:
    with Stopwatch() as watch:
        async with asyncio.timeout(_LONGEST):
            await burst(callers)
    return watch.seconds / callers


async def _through(slot: _Slot, callers: int) -> None:
    async def call(number: int) -> None:
        async with slot(number):
            await asyncio.sleep(0)

    await asyncio.gather(*map(call, range(callers)))


async def _semaphore(callers: int) -> None:
    semaphore = asyncio.Semaphore(_SLOTS)
    await _through(lambda _: semaphore, callers)


async def _limiter(callers: int) -> None:
    limiter = anyio.CapacityLimiter(_SLOTS)
    await _through(lambda _: limiter, callers)


async def _workers(callers: int) -> None:
    waiting: asyncio.PriorityQueue[tuple[int, int, asyncio.Future[None]]] = asyncio.PriorityQueue()

    async def work() -> None:
        while True:
            _, _, done = await waiting.get()
            await asyncio.sleep(0)
            done.set_result(None)

    async def call(number: int) -> None:
        done = asyncio.get_running_loop().create_future()
        waiting.put_nowait((number % _PRIORITIES, number, done))
        await done

    workers = [asyncio.create_task(work()) for _ in range(_SLOTS)]
    await asyncio.gather(*map(call, range(callers)))
    for worker in workers:
        worker.cancel()


async def _fair_share(callers: int) -> None:
    module: Any = import_module("aio_fairshare")
    semaphore = module.FairShareSemaphore(_SLOTS)
    for flow in range(_FLOWS):
        await semaphore.register_tenant(f"flow-{flow}")

    def slot(number: int) -> AbstractAsyncContextManager[object]:
        module.set_tenant_id(f"flow-{number % _FLOWS}")  # of the task that asks
        acquiring: AbstractAsyncContextManager[object] = semaphore.acquire()
        return acquiring

    await _through(slot, callers)


async def _bulkhead(callers: int) -> None:
    module: Any = import_module("bulklink")
    bulkhead = module.AsyncBulkhead(label="pool", parallelism=_SLOTS, waiting_room=callers)
    await _through(lambda _: bulkhead.slot(), callers)


async def _polling(callers: int) -> None:
    # It has no slots: whoever stands first goes when it looks next. And it would fetch a list of prices first.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    module: Any = import_module("litellm.scheduler")
    scheduler = module.Scheduler()

    async def call(number: int) -> None:
        item = module.FlowItem(priority=number % _PRIORITIES, request_id=str(number), model_name="model")
        await scheduler.add_request(item)
        while not await scheduler.poll(item, health_deployments=[]):  # noqa: ASYNC110 - it has no event  # noqa: ASYNC110 - its own way
            await asyncio.sleep(scheduler.polling_interval)
        await asyncio.sleep(0)

    await asyncio.gather(*map(call, range(callers)))


_PEERS = (
    _Peer("asyncio.Semaphore", "asyncio", _semaphore),
    _Peer("anyio.CapacityLimiter", "anyio", _limiter),
    _Peer("PriorityQueue and workers", "asyncio", _workers),
    _Peer("aio-fairshare", "aio_fairshare", _fair_share),
    _Peer("bulklink", "bulklink", _bulkhead),
    _Peer("LiteLLM's scheduler", "litellm", _polling, most=100),
)
