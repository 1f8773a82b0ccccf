"""Churn: flows that are new each time, callers that all leave, deadlines that all pass, and pods that come and go."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count

import attrs

from benchmarks.floor import BareGate, bare_queue, park_bare
from benchmarks.gate import park, queue
from benchmarks.load import Load
from benchmarks.rounds import Case, Figure, Stopwatch, measure
from benchmarks.sizes import Sizes
from flowgate.testing import run_in_virtual_time

__all__ = ["churn"]

_SLOTS = 100
_PODS = 10
_EVER_NEW = 1_000_000_000


def churn(sizes: Sizes) -> list[Figure]:
    """Measure each kind of churn for each request that it meets, beside bare futures that meet the same."""
    suites = [_flows(sizes), _leaving(sizes.churned), _expiring(sizes.churned), _topology(sizes)]
    return [figure for cases in suites for figure in measure(cases, sizes.few_rounds)]


def _flows(sizes: Sizes) -> list[Case]:
    load = Load(sizes.callers, _SLOTS, flows=sizes.callers, max_flows=2 * sizes.callers)
    floor, same = "bare futures, beside new flows", f"queued, the same {load.flows:,} flows"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
        Case(same, partial(queue, load, sizes.each), {floor: None}),
        Case(
            "queued, a new flow each time",
            partial(queue, attrs.evolve(load, flows=_EVER_NEW), sizes.each),
            {floor: None, same: None},
        ),
    ]


def _leaving(waiting: int) -> list[Case]:
    floor = f"bare futures, {waiting:,} cancelled at once"
    load = Load(waiting, flows=waiting)
    return [
        Case(floor, partial(_bare_leave, waiting)),
        Case(f"{waiting:,} cancelled at once", partial(_leave, load), {floor: None}),
    ]


async def _bare_leave(waiting: int) -> float:
    return await _cancelled(await park_bare(BareGate(0), waiting))


async def _leave(load: Load) -> float:
    async with load.controller(load.closed_locator()) as controller:
        spent = await _cancelled(await park(controller, load))
        assert not controller.stats().queued_requests
    return spent


async def _cancelled(tasks: list[asyncio.Task[None]]) -> float:
    with Stopwatch() as watch:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return watch.seconds / len(tasks)


def _expiring(waiting: int) -> list[Case]:
    floor = f"bare futures, {waiting:,} timed out at once"
    load = Load(waiting, flows=waiting)
    return [
        Case(floor, partial(_in_virtual_time, partial(_bare_expire, waiting))),
        Case(f"{waiting:,} timed out at once", partial(_in_virtual_time, partial(_expire, load)), {floor: None}),
    ]


async def _in_virtual_time(work: Callable[[], Coroutine[object, object, float]]) -> float:
    # Waiting for a deadline costs no time there; in a thread of its own, because this one has a loop already.
    return await asyncio.to_thread(run_in_virtual_time, work)


async def _bare_expire(waiting: int) -> float:
    gate = BareGate(0)
    tasks = await park_bare(gate, waiting)

    def expire() -> None:
        for future in gate.waiting:
            future.set_exception(TimeoutError())

    asyncio.get_running_loop().call_later(60.0, expire)
    return await _timed(tasks)


async def _expire(load: Load) -> float:
    async with load.controller(load.closed_locator()) as controller:
        return await _timed(await park(controller, load))


async def _timed(tasks: list[asyncio.Task[None]]) -> float:
    with Stopwatch() as watch:
        await asyncio.gather(*tasks, return_exceptions=True)
    return watch.seconds / len(tasks)


def _topology(sizes: Sizes) -> list[Case]:
    load = Load(sizes.callers, _SLOTS, flows=sizes.callers, pods=_PODS)
    floor, same = "bare futures, beside pods that come and go", f"queued, the same {_PODS} pods"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
        Case(same, partial(queue, load, sizes.each), {floor: None}),
        Case(
            "queued, a pod comes or goes in every turn of the loop",
            partial(_changing, load, sizes.each),
            {floor: None, same: None},
        ),
    ]


async def _changing(load: Load, each: int) -> float:
    locator, pods, numbers = load.open_locator(), load.make_pods(), count()

    async def call() -> None:
        for _ in range(each):
            with await controller.enqueue_and_wait(load.request(next(numbers))):
                await asyncio.sleep(0)

    async def change() -> None:
        for turn in count():
            locator.set_pods(pods[turn % 2 :])
            await asyncio.sleep(0)

    async with load.controller(locator) as controller:
        with Stopwatch() as watch:
            changes = asyncio.create_task(change())
            await asyncio.gather(*[call() for _ in range(load.callers)])
            changes.cancel()
    return watch.seconds / (load.callers * each)
