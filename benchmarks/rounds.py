"""Alternating rounds: the thing and its yardstick in turn, so that whatever else the machine does hits both alike."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from statistics import median
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Case", "Figure", "Spread", "Stopwatch", "measure"]

Sample = Callable[[], Coroutine[object, object, float]]
"""Does some work once, in an event loop of its own; returns seconds of CPU time for each operation."""


@attrs.frozen
class Case:
    """One thing to measure.

    Args:
        name: As the report shows it.
        sample: The work.
        versus: The names of the cases that it is a multiple of, and the multiple that it should not exceed.
    """

    name: str
    sample: Sample
    versus: Mapping[str, float | None] = {}


@attrs.frozen
class Spread:
    """What several rounds gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Sum up the values of all rounds."""
        return cls(median(values), min(values), max(values))


@attrs.frozen
class Figure:
    """One line of the report.

    Args:
        name: What was measured.
        unit: What `spent` counts: microseconds of CPU time, or bytes, for each request.
        spent: How much it took.
        versus: What the ratio is to; None without one.
        ratio: Of the rounds' own ratios, each between neighbours in time.
        target: What the ratio should not exceed, or the bytes; None for none.
    """

    name: str
    unit: str
    spent: Spread
    versus: str | None = None
    ratio: Spread | None = None
    target: float | None = None


class Stopwatch:
    """Measures the CPU time of a block, with the garbage of whatever came before swept up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self.seconds = -time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += time.process_time()


def measure(cases: Sequence[Case], rounds: int) -> list[Figure]:
    """Run all cases in turn, round after round, after one round that does not count."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            taken = asyncio.run(case.sample())
            if number:
                seconds[case.name].append(taken)
    return [figure for case in cases for figure in _figures(case, seconds)]


def _figures(case: Case, seconds: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    own = seconds[case.name]
    spent = Spread.of([second * 1e6 for second in own])
    if not case.versus:
        yield Figure(case.name, "µs", spent)
    for versus, target in case.versus.items():
        ratio = Spread.of([mine / other for mine, other in zip(own, seconds[versus], strict=True)])
        yield Figure(case.name, "µs", spent, versus, ratio, target)
