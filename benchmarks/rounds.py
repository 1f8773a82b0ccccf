"""Alternating rounds: the thing and its yardstick in turn, so that whatever else the machine does hits both alike."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from statistics import median
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Case", "Figure", "Seconds", "Spread", "Stopwatch", "measure"]

Sample = Callable[[], Coroutine[object, object, float]]
"""Does some work once, in an event loop of its own; returns seconds of CPU time for each operation.

Where they are `Seconds`, the report shows wall time as well.
"""


class Seconds(float):
    """Seconds of CPU time, with the wall time beside them: whoever reckons with the one reckons with both.

    Args:
        cpu: Seconds of CPU time.
        wall: Seconds by the clock.
    """

    __slots__ = ("wall",)

    wall: float

    def __new__(cls, cpu: float, wall: float) -> Self:
        """Make both."""
        self = super().__new__(cls, cpu)
        self.wall = wall
        return self

    def __truediv__(self, operations: float) -> "Seconds":
        """Return what each operation took."""
        return Seconds(float(self) / operations, self.wall / operations)

    def __sub__(self, seconds: float) -> "Seconds":
        """Take out work that was done meanwhile, and kept a core busy."""
        return Seconds(float(self) - seconds, self.wall - seconds)


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

    def overlaps(self, other: "Spread") -> bool:
        """Return whether some value could be of both."""
        return self.low <= other.high and other.low <= self.high


@attrs.frozen
class Figure:
    """One line of the report.

    Args:
        name: What was measured.
        unit: What `spent` counts for each request: ``µs`` of CPU time, ``µs wall``, ``B``, ``/s``; or why nothing was.
        spent: How much it took.
        versus: What the ratio is to; None without one.
        ratio: Of the rounds' own ratios, each between neighbours in time.
        target: What the ratio should not exceed, or the bytes, or the callbacks a second; None for none.
        wall: Microseconds by the clock; None where they were not taken.
    """

    name: str
    unit: str
    spent: Spread
    versus: str | None = None
    ratio: Spread | None = None
    target: float | None = None
    wall: Spread | None = None

    @property
    def judged(self) -> Spread:
        """What a target bounds: the ratio, but the amount of what is the same on every machine."""
        return self.spent if self.ratio is None or self.unit in ("B", "/s") else self.ratio

    @property
    def is_met(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        return None if self.target is None else self.judged.median <= self.target


class Stopwatch:
    """Measures the time of a block, with the garbage of whatever came before swept up."""

    def __init__(self) -> None:
        self.seconds = Seconds(0.0, 0.0)
        self._began = (0.0, 0.0)

    def __enter__(self) -> Self:
        gc.collect()
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        self.seconds = Seconds(cpu - self._began[1], wall - self._began[0])


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
    spent = Spread.of([1e6 * second for second in own])
    walls = [1e6 * second.wall for second in own if isinstance(second, Seconds)]
    wall = Spread.of(walls) if walls else None
    if not case.versus:
        yield Figure(case.name, "µs", spent, wall=wall)
    for versus, target in case.versus.items():
        # Plain numbers, or a ratio would have a wall time too.
        ratio = Spread.of([float(mine) / other for mine, other in zip(own, seconds[versus], strict=True)])
        yield Figure(case.name, "µs", spent, versus, ratio, target, wall)
