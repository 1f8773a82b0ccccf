"""Alternating rounds: the thing and its yardstick in turn, so that whatever else the machine does hits both alike."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Mapping
from statistics import median
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Case", "Figure", "Stopwatch", "measure"]

Sample = Callable[[], Coroutine[object, object, float]]
"""Does some work once, in an event loop of its own; returns seconds of CPU time for each operation."""


@attrs.frozen
class Case:
    """One thing to measure.

    Args:
        name: As the report shows it.
        sample: The work.
        versus: The name of the case that it is a multiple of; None for a yardstick.
        target: The multiple that it should not exceed; None for none.
    """

    name: str
    sample: Sample
    versus: str | None = None
    target: float | None = None


@attrs.frozen
class Figure:
    """One line of the report.

    Args:
        name: What was measured.
        unit: What `median`, `low` and `high` count.
        median: Of all rounds.
        low: The least.
        high: The most.
        versus: What the ratio is to; None without one.
        ratio: Median of the rounds' own ratios, each between neighbours in time.
        target: What the ratio, or without one the median, should not exceed.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    versus: str | None = None
    ratio: float | None = None
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


def measure(cases: list[Case], rounds: int) -> list[Figure]:
    """Run all cases in turn, round after round, after one round that does not count."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            taken = asyncio.run(case.sample())
            if number:
                seconds[case.name].append(taken)
    return [_figure(case, seconds) for case in cases]


def _figure(case: Case, seconds: Mapping[str, list[float]]) -> Figure:
    own = [second * 1e6 for second in seconds[case.name]]
    ratio = None
    if case.versus is not None:
        pairs = zip(seconds[case.name], seconds[case.versus], strict=True)
        ratio = median([mine / floor for mine, floor in pairs])
    return Figure(case.name, "µs", median(own), min(own), max(own), case.versus, ratio, case.target)
