"""The queued path on trio, beside the same on asyncio, and beside what trio itself costs."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from itertools import count

from benchmarks.floor import bare_queue
from benchmarks.gate import queue
from benchmarks.load import Load
from benchmarks.rounds import Case, Figure, Spread, Stopwatch
from benchmarks.sizes import Sizes

__all__ = ["trio"]

_SLOTS = 100
_BANDS = 8
_TARGET = 2.5


def trio(sizes: Sizes) -> list[list[Case]] | list[Figure]:
    """Return the queued path on both event loops; a figure that says so where trio is not installed."""
    if find_spec("trio") is None:
        return [Figure("queued, trio", "not installed", Spread.of([0.0]))]
    load = Load(sizes.callers, _SLOTS, flows=sizes.callers, bands=_BANDS)
    floor, own_floor, asyncios = "bare futures, beside trio", "bare tasks, trio", "queued, asyncio"
    return [
        [
            Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
            Case(asyncios, partial(queue, load, sizes.each), {floor: None}),
            Case(own_floor, partial(_on_trio, _bare, load, sizes.each), {floor: None}),
            Case("queued, trio", partial(_on_trio, _queue, load, sizes.each), {own_floor: None, asyncios: _TARGET}),
        ]
    ]


async def _on_trio(work: Callable[[Load, int], Awaitable[float]], load: Load, each: int) -> float:
    from trio import run  # noqa: PLC0415 - optional

    return await asyncio.to_thread(run, work, load, each)  # a thread of its own: asyncio's loop has this one


async def _bare(load: Load, each: int) -> float:
    """Park callers with nothing but trio's own primitives; a slot that is given back goes to who waits longest."""
    from trio import open_nursery  # noqa: PLC0415 - optional
    from trio.lowlevel import Abort, Task, checkpoint, current_task, reschedule, wait_task_rescheduled  # noqa: PLC0415

    waiting: deque[Task] = deque()
    free = load.slots or load.callers

    async def call() -> None:
        nonlocal free
        for _ in range(each):
            if free:
                free -= 1
            else:
                waiting.append(current_task())
                await wait_task_rescheduled(lambda _: Abort.FAILED)
            await checkpoint()
            if waiting:
                reschedule(waiting.popleft())
            else:
                free += 1

    with Stopwatch() as watch:
        async with open_nursery() as nursery:
            for _ in range(load.callers):
                nursery.start_soon(call)
    return watch.seconds / (load.callers * each)


async def _queue(load: Load, each: int) -> float:
    from trio import open_nursery  # noqa: PLC0415 - optional
    from trio.lowlevel import checkpoint  # noqa: PLC0415 - optional

    numbers = count()

    async def call() -> None:
        for _ in range(each):
            with await controller.enqueue_and_wait(load.request(next(numbers))):
                await checkpoint()

    async with load.controller(load.open_locator()) as controller:
        with Stopwatch() as watch:
            async with open_nursery() as nursery:
                for _ in range(load.callers):
                    nursery.start_soon(call)
    return watch.seconds / (load.callers * each)
