"""The two ways through: at once, and through the queue; and what flows, bands and lanes add to the second."""

from functools import partial

import attrs

from benchmarks.floor import await_nothing, bare_queue
from benchmarks.gate import fast_path, queue
from benchmarks.load import Load
from benchmarks.rounds import Case
from benchmarks.sizes import Sizes

__all__ = ["fast", "queued"]

_SLOTS = 100
_BANDS = 8
_FEW_FLOWS = 10
_FAST, _QUEUED, _SCALED = 40.0, 4.0, 1.5


def fast(sizes: Sizes) -> list[list[Case]]:
    """Return the fast path beside the `await` of an empty coroutine."""
    floor = "await of nothing"
    return [
        [
            Case(floor, partial(await_nothing, 10 * sizes.calls)),
            Case("fast path", partial(fast_path, sizes.calls), {floor: _FAST}),
        ]
    ]


def queued(sizes: Sizes) -> list[list[Case]]:
    """Return the queued path beside bare futures, and by the numbers of flows, bands and lanes."""
    return [_wide(sizes), _lanes(sizes)]


def _wide(sizes: Sizes) -> list[Case]:
    load = Load(sizes.callers, _SLOTS, flows=sizes.callers, bands=_BANDS)
    floor = f"bare futures, {load.callers:,} callers, {_SLOTS} slots"
    few, one = f"queued, {_FEW_FLOWS} flows, {_BANDS} bands", f"queued, {load.flows:,} flows, 1 band"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
        _case(few, attrs.evolve(load, flows=_FEW_FLOWS), sizes, {floor: None}),
        _case(
            f"queued, {load.flows:,} flows, {_BANDS} bands", load, sizes, {floor: _QUEUED, few: _SCALED, one: _SCALED}
        ),
        _case(one, attrs.evolve(load, bands=1), sizes, {floor: None}),
        _case(
            f"queued, {load.flows:,} flows, {sizes.most:,} bands",
            attrs.evolve(load, bands=sizes.most),
            sizes,
            {floor: None, one: _SCALED},
        ),
    ]


def _lanes(sizes: Sizes) -> list[Case]:
    # A slot for each lane at least, so as many for one lane as for all of them together.
    load = Load(sizes.callers, sizes.most, flows=sizes.callers, bands=_BANDS)
    floor = f"bare futures, {load.callers:,} callers, {load.slots:,} slots"
    one = f"queued, 1 lane of {load.slots:,} slots"
    return [
        Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
        _case(one, load, sizes, {floor: None}),
        _case(
            f"queued, {sizes.most:,} lanes of a slot each",
            attrs.evolve(load, lanes=sizes.most),
            sizes,
            {floor: None, one: _SCALED},
        ),
    ]


def _case(name: str, load: Load, sizes: Sizes, versus: dict[str, float | None]) -> Case:
    return Case(name, partial(queue, load, sizes.each), versus)
