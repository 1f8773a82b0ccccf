"""How long somebody waits who need not wait any more: the middle, and the worst in a thousand, in wall time."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter

from benchmarks.floor import BareGate
from benchmarks.load import Load
from benchmarks.rounds import Figure, Spread
from benchmarks.sizes import Sizes

__all__ = ["latency"]

_WAITING = 100
_PARTS = {"p50": 0.5, "p99.9": 0.999, "the last": 1.0}
_UNIT = "µs wall"

_Times = Callable[[], Coroutine[object, object, list[float]]]
"""Times something again and again; returns seconds."""


def latency(sizes: Sizes) -> list[Figure]:
    """Measure from a release to the next caller, and from an announcement to all who wait for it."""
    handing = Load(_WAITING, flows=_WAITING)
    waking = Load(sizes.announced, slots=sizes.announced, flows=sizes.announced)
    turns = max(1, sizes.handovers // _WAITING)
    return [
        *_beside(
            "release to resumption", lambda: _bare_handovers(turns), lambda: _handovers(handing, turns), sizes.rounds
        ),
        *_beside(
            f"announcement to {sizes.announced:,} resumed",
            lambda: _bare_waking(waking.callers),
            lambda: _waking(waking),
            sizes.announcements,
        ),
    ]


def _beside(name: str, bare: _Times, own: _Times, rounds: int) -> list[Figure]:
    pairs = [(_run(bare), _run(own)) for _ in range(rounds + 1)][1:]
    figures: list[Figure] = []
    for part, share in _PARTS.items():
        floors, values = ([_at(times, share) * 1e6 for times in column] for column in zip(*pairs, strict=True))
        floor = Figure(f"bare futures, {name}, {part}", _UNIT, Spread.of(floors))
        ratio = Spread.of([value / least for value, least in zip(values, floors, strict=True)])
        figures += [floor, Figure(f"{name}, {part}", _UNIT, Spread.of(values), floor.name, ratio)]
    return figures


def _run(times: _Times) -> Sequence[float]:
    gc.collect()
    return sorted(asyncio.run(times()))


def _at(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


class _Handovers:
    """Notes the time from each release to the resumption that follows."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._released_at = 0.0

    def resumed(self) -> None:
        if self._released_at:
            self.times.append(perf_counter() - self._released_at)

    def released(self) -> None:
        self._released_at = perf_counter()


async def _bare_handovers(turns: int) -> list[float]:
    gate, notes = BareGate(1), _Handovers()

    async def call() -> None:
        for _ in range(turns):
            await gate.enqueue()
            notes.resumed()
            await asyncio.sleep(0)
            notes.released()
            gate.release()

    await asyncio.gather(*[call() for _ in range(_WAITING)])
    return notes.times


async def _handovers(load: Load, turns: int) -> list[float]:
    notes = _Handovers()

    async def call(number: int) -> None:
        for _ in range(turns):
            ticket = await controller.enqueue_and_wait(load.request(number))
            notes.resumed()
            await asyncio.sleep(0)
            notes.released()
            ticket.release()

    async with load.controller(load.open_locator()) as controller:
        await asyncio.gather(*map(call, range(load.callers)))
    return notes.times


async def _bare_waking(waiting: int) -> list[float]:
    gate, resumed = BareGate(0), list[float]()

    async def wait() -> None:
        await gate.enqueue()
        resumed.append(perf_counter())

    tasks = [asyncio.create_task(wait()) for _ in range(waiting)]
    await asyncio.sleep(0)
    began = perf_counter()
    gate.slots = waiting
    gate.dispatch()
    await asyncio.gather(*tasks)
    return [at - began for at in resumed]


async def _waking(load: Load) -> list[float]:
    locator, pods, resumed = load.closed_locator(), load.make_pods(), list[float]()

    async def wait(number: int) -> None:
        with await controller.enqueue_and_wait(load.request(number)):
            resumed.append(perf_counter())

    async with load.controller(locator) as controller:
        tasks = [asyncio.create_task(wait(number)) for number in range(load.callers)]
        await asyncio.sleep(0)
        began = perf_counter()
        locator.set_pods(pods)
        await asyncio.gather(*tasks)
    return [at - began for at in resumed]
