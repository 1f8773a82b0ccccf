"""The targets by name, each with the figures that decide it. None of them makes anything fail."""

import re
from collections.abc import Sequence
from typing import Literal

import attrs

from benchmarks.results import Results
from benchmarks.rounds import Figure

__all__ = ["TARGETS", "Target", "Verdict", "verdicts", "word"]


@attrs.frozen
class Target:
    """What the project set out to reach.

    Args:
        what: The work, at the sizes of a full run.
        most: The bound, in `unit`.
        suite: That measures it.
        name: A pattern of the names of figures that it holds for.
        versus: A pattern of what they are multiples of.
        unit: Of the bound: a multiple, bytes, or callbacks a second.
    """

    what: str
    most: float
    suite: str
    name: str
    versus: str = ".*"
    unit: Literal["x", "B", "/s"] = "x"

    @property
    def bound(self) -> str:
        """As the report shows it: ``≤ 4 x``."""
        return f"≤ {self.most:g} x" if self.unit == "x" else f"≤ {self.most:,.0f} {self.unit}"

    @property
    def command(self) -> str:
        """What measures it."""
        return f"python -m benchmarks --only {self.suite}"

    def holds_for(self, figure: Figure) -> bool:
        """Return whether the figure has to meet it."""
        return (
            figure.target is not None
            and re.fullmatch(self.name, figure.name) is not None
            and re.fullmatch(self.versus, figure.versus or "") is not None
        )


@attrs.frozen
class Verdict:
    """A target, and what a run says about it.

    Args:
        target: The target.
        figures: That decide it, the furthest above first; none where its suite did not run.
    """

    target: Target
    figures: tuple[Figure, ...]

    @property
    def is_met(self) -> bool | None:
        """Whether all figures meet it; None without any."""
        return all(figure.is_met for figure in self.figures) if self.figures else None

    @property
    def word(self) -> str:
        """The same as a word or two."""
        return "not measured" if self.is_met is None else word(is_met=self.is_met)


def word(*, is_met: bool) -> str:
    """Return the word for a target that was met, or was not."""
    return "met" if is_met else "missed"


_QUEUED = r"queued, [\d,]+ flows, 8 bands"
_ONE_BAND = r"queued, [\d,]+ flows, 1 band"
_BARE = "bare futures.*"

TARGETS: tuple[Target, ...] = (
    Target("fast path, beside the `await` of an empty coroutine", 40.0, "fast", "fast path"),
    Target(
        "queued path: 5,000 callers, 100 slots held for a turn of the loop, 5,000 flows, 8 bands, beside bare futures",
        4.0,
        "queued",
        _QUEUED,
        _BARE,
    ),
    Target("the same, 10 → 5,000 flows", 1.5, "queued", _QUEUED, r"queued, 10 flows, 8 bands"),
    Target("the same, 1 → 8 bands", 1.5, "queued", _QUEUED, _ONE_BAND),
    Target("the same, 1 → 1,000 disjoint lanes", 1.5, "queued", r"queued, [\d,]+ lanes of a slot each"),
    Target("the same, 1 → 1,000 bands", 1.5, "queued", rf"(?!{_QUEUED})queued, [\d,]+ flows, [\d,]+ bands", _ONE_BAND),
    Target(
        "drain of 100,000 over as many flows, round robin, beside bare futures",
        8.0,
        "drain",
        "drain of .* round-robin, .*",
        _BARE,
    ),
    Target("the same, beside 10 flows", 2.0, "drain", "drain of .* round-robin, .*", "drain of .*"),
    Target(
        "drain of 100,000 over as many flows, best head, beside bare futures",
        12.0,
        "drain",
        "drain of .* best-head, .*",
        _BARE,
    ),
    Target("a fairness choice, each policy, 10 → 100,000 active flows", 3.0, "choice", ".*"),
    Target("queued path with 1,000 pods, all scraped 20 times a second, beside one such pod", 1.5, "pods", ".*"),
    Target(
        "memory of a waiting request, with task and coroutine",
        2_048.0,
        "memory",
        "memory of a waiting request.*",
        unit="B",
    ),
    Target("memory of an idle flow", 600.0, "memory", "memory of (an idle|a kept) flow.*", unit="B"),
    Target("queued path on trio, beside asyncio", 2.5, "trio", ".*"),
    Target("callbacks while 100,000 wait and nothing changes", 0.0, "idle", ".*", unit="/s"),
    Target(
        "each cell of the Go engine's matrix, slots held, beside the better of its two columns, by the clock",
        1.0,
        "matrix",
        ".*, held",
        "Go.*",
    ),
)
"""In the order in which the report shows them."""


def verdicts(results: Results) -> list[Verdict]:
    """Say of each target what the run says about it."""
    return [Verdict(target, tuple(_deciding(target, results.figures_of(target.suite)))) for target in TARGETS]


def _deciding(target: Target, figures: Sequence[Figure]) -> list[Figure]:
    return sorted(filter(target.holds_for, figures), key=lambda figure: -figure.judged.median)
