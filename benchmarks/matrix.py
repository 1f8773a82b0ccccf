"""The matrix that the Go engine's own benchmark runs: limits, priorities, flows and callers, one operation a cycle.

Callers loop over "enqueue, be dispatched, release" on flows that are drawn by Zipf's law, with requests of 100 to 9,100
bytes. Once as there, where a slot is released at once; and once with it held for one turn of the event loop, because
else asyncio gives no caller a chance to find its slot taken.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product

import attrs

from benchmarks.floor import bare_queue
from benchmarks.gate import queue
from benchmarks.load import Load, zipf
from benchmarks.rounds import Case, Figure, measure
from benchmarks.sizes import Sizes

__all__ = ["Cell", "cells", "matrix"]

_LIMITS = (0, 1, 100)
_PRIORITIES = (1, 8)


@attrs.frozen
class Cell:
    """One cell of the matrix.

    Args:
        limit: Most requests in flight; 0 for no limit.
        priorities: Bands, that the flows take in turn.
        flows: From which each request's is drawn.
        callers: At a time.
        is_held: Whether a slot is held for one turn of the event loop.
    """

    limit: int
    priorities: int
    flows: int
    callers: int
    is_held: bool

    @property
    def name(self) -> str:
        """As the report shows it: ``L=100 P=8 F=5,000 W=10, held``."""
        return f"L={self.limit} P={self.priorities} F={self.flows:,} W={self.callers:,}, {self._hold}"

    @property
    def floor(self) -> str:
        """The name of its floor, which has neither priorities nor flows."""
        return f"bare futures L={self.limit} W={self.callers:,}, {self._hold}"

    @property
    def _hold(self) -> str:
        return "held" if self.is_held else "at once"

    @property
    def load(self) -> Load:
        """What its callers ask for."""
        return Load(
            self.callers,
            self.limit or None,
            flows=self.flows,
            bands=self.priorities,
            draws=zipf(self.flows),
        )


def cells(sizes: Sizes) -> Sequence[Cell]:
    """Return all cells; those that share a floor stand together."""
    few_and_many = sizes.matrix_callers
    return [
        Cell(limit, priorities, flows, callers, is_held)
        for is_held, limit, callers, priorities, flows in product(
            (False, True), _LIMITS, few_and_many, _PRIORITIES, few_and_many
        )
    ]


def matrix(sizes: Sizes) -> list[Figure]:
    """Measure every cell beside bare futures with as many callers and slots."""
    suites: dict[str, list[Case]] = {}
    for cell in cells(sizes):
        each, load = max(sizes.each, sizes.operations // cell.callers), cell.load
        cases = suites.setdefault(cell.floor, [])
        if not cases:
            bare = partial(bare_queue, load.callers, load.slots, each, is_held=cell.is_held)
            cases.append(Case(cell.floor, bare))
        cases.append(Case(cell.name, partial(queue, load, each, is_held=cell.is_held), {cell.floor: None}))
    return [figure for cases in suites.values() for figure in measure(cases, sizes.few_rounds)]
