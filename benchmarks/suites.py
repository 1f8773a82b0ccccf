"""What is measured: each suite pairs the engine with the floor that does the same work."""

from functools import partial

import attrs

from benchmarks.floor import await_nothing, bare_drain, bare_queue
from benchmarks.gate import Load, drain, fast_path, queue
from benchmarks.rounds import Case
from flowgate.policies import BestHead

__all__ = ["FULL", "QUICK", "Sizes", "suites"]


@attrs.frozen
class Sizes:
    """How much work a run does.

    Args:
        rounds: That count, of each suite.
        calls: Of the fast path, in a round.
        callers: Of the queued path; it is measured with five times as many as well.
        each: Requests of each caller.
        parked: Requests behind the closed gate.
        active: How many flows wait while a fairness policy chooses between them.
        choices: It makes, in a round; there are half as many rounds.
    """

    rounds: int = 9
    calls: int = 20_000
    callers: int = 1_000
    each: int = 10
    parked: int = 10_000
    active: tuple[int, ...] = (10, 1_000, 100_000)
    choices: int = 10_000


FULL = Sizes()
QUICK = Sizes(rounds=5, calls=5_000, callers=500, each=2, parked=3_000, active=(10, 10_000), choices=2_000)


def suites(sizes: Sizes) -> list[list[Case]]:
    """Return the suites; the cases of one are measured in alternating rounds."""
    return [_fast(sizes), _queued(sizes), _queued_wide(sizes), _drained(sizes)]


def _fast(sizes: Sizes) -> list[Case]:
    floor = "await of nothing"
    return [
        Case(floor, partial(await_nothing, 10 * sizes.calls)),
        Case("fast path", partial(fast_path, sizes.calls), {floor: 40.0}),
    ]


def _queued(sizes: Sizes) -> list[Case]:
    load = Load(sizes.callers, slots=64, flows=10)
    floor = f"bare futures, {load.callers:,} callers"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
        Case(f"queued, {load.callers:,} callers", partial(queue, load, sizes.each), {floor: 4.0}),
    ]


def _queued_wide(sizes: Sizes) -> list[Case]:
    load = Load(5 * sizes.callers, slots=100, flows=5 * sizes.callers, bands=8)
    each = max(1, sizes.each // 5)
    floor = f"bare futures, {load.callers:,} callers"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, each)),
        Case(f"queued, {load.callers:,} callers, as many flows, 8 bands", partial(queue, load, each), {floor: 4.0}),
    ]


def _drained(sizes: Sizes) -> list[Case]:
    few = Load(sizes.parked, slots=2 * sizes.parked, flows=10)
    many = attrs.evolve(few, flows=sizes.parked)
    floor = f"bare futures, drain of {sizes.parked:,}"
    first = f"drain over {few.flows:,} flows"
    return [
        Case(floor, partial(bare_drain, sizes.parked)),
        Case(first, partial(drain, few), {floor: None}),
        Case(f"drain over {many.flows:,} flows", partial(drain, many), {floor: None, first: 2.0}),
        Case("drain, best head", partial(drain, attrs.evolve(few, fairness=BestHead())), {floor: None}),
        Case("drain, best head, a flow each", partial(drain, attrs.evolve(many, fairness=BestHead())), {floor: None}),
    ]
