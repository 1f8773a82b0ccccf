"""The floor: what asyncio alone costs for the same work, with nothing decided and nothing counted."""

import asyncio
import math
from collections import deque

from benchmarks.rounds import Stopwatch

__all__ = ["BareGate", "await_nothing", "bare_drain", "bare_queue", "park_bare"]


class BareGate:
    """A deque of futures, and a dispatcher that hands slots to the first of them in the next turn of the loop."""

    def __init__(self, slots: float) -> None:
        self.slots = slots
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_due = False

    def enqueue(self) -> asyncio.Future[None]:
        """Return what a caller awaits."""
        future = self._loop.create_future()
        self.waiting.append(future)
        self._soon()
        return future

    def release(self) -> None:
        """Give a slot back."""
        self.slots += 1
        self._soon()

    def _soon(self) -> None:
        if self.slots and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Hand free slots to whoever waits longest."""
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


async def bare_queue(callers: int, slots: int | None, each: int, *, is_held: bool = True) -> float:
    """Let callers wait for a slot, hold it for one turn of the loop or not at all, and begin again, `each` times."""
    gate = BareGate(math.inf if slots is None else slots)

    async def call() -> None:
        for _ in range(each):
            await gate.enqueue()
            if is_held:
                await asyncio.sleep(0)
            gate.release()

    with Stopwatch() as watch:
        await asyncio.gather(*[call() for _ in range(callers)])
    return watch.seconds / (callers * each)


async def _wait(gate: BareGate) -> None:
    await gate.enqueue()
    gate.release()


async def park_bare(gate: BareGate, requests: int) -> list[asyncio.Task[None]]:
    """Park one caller for each request behind a gate without slots."""
    tasks = [asyncio.create_task(_wait(gate)) for _ in range(requests)]
    await asyncio.sleep(0)
    return tasks


async def bare_drain(requests: int) -> float:
    """Give a slot to everybody at once, and wait until the last of the parked callers is through."""
    gate = BareGate(0)
    tasks = await park_bare(gate, requests)
    with Stopwatch() as watch:
        gate.slots = requests
        gate.dispatch()
        await asyncio.gather(*tasks)
    return watch.seconds / requests
