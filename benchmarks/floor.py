"""The floor: what asyncio alone costs for the same work, with nothing decided and nothing counted."""

import asyncio
from collections import deque

from benchmarks.rounds import Stopwatch

__all__ = ["await_nothing", "bare_drain", "bare_queue", "park_bare"]


class _BareGate:
    """A deque of futures, and a dispatcher that hands slots to the first of them in the next turn of the loop."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_due = False

    def enqueue(self) -> asyncio.Future[None]:
        future = self._loop.create_future()
        self.waiting.append(future)
        self._soon()
        return future

    def release(self) -> None:
        self.slots += 1
        self._soon()

    def _soon(self) -> None:
        if self.slots and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        self._is_due = False
        while self.slots and self.waiting:
            self.slots -= 1
            self.waiting.popleft().set_result(None)


async def _nothing() -> None:
    pass


async def await_nothing(times: int) -> float:
    """Await an empty coroutine."""
    with Stopwatch() as watch:
        for _ in range(times):
            await _nothing()
    return watch.seconds / times


async def bare_queue(callers: int, slots: int, each: int) -> float:
    """Let callers wait for a slot, hold it for one turn of the loop, and begin again, `each` times."""
    gate = _BareGate(slots)

    async def call() -> None:
        for _ in range(each):
            await gate.enqueue()
            await asyncio.sleep(0)
            gate.release()

    with Stopwatch() as watch:
        await asyncio.gather(*[call() for _ in range(callers)])
    return watch.seconds / (callers * each)


async def _wait(gate: _BareGate) -> None:
    await gate.enqueue()
    gate.release()


async def park_bare(requests: int) -> tuple[_BareGate, list[asyncio.Task[None]]]:
    """Park one caller for each request behind a gate without slots."""
    gate = _BareGate(0)
    tasks = [asyncio.create_task(_wait(gate)) for _ in range(requests)]
    await asyncio.sleep(0)
    return gate, tasks


async def bare_drain(requests: int) -> float:
    """Give a slot to everybody at once, and wait until the last of the parked callers is through."""
    gate, tasks = await park_bare(requests)
    with Stopwatch() as watch:
        gate.slots = requests
        gate.dispatch()
        await asyncio.gather(*tasks)
    return watch.seconds / requests
