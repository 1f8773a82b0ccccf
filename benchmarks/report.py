"""The report for people: what the targets say, then every figure, as aligned tables."""

from collections.abc import Sequence

from benchmarks.machine import Machine
from benchmarks.results import Results
from benchmarks.rounds import Figure, Spread
from benchmarks.targets import Verdict, verdicts, word

__all__ = [
    "aligned",
    "amount",
    "bound",
    "digits",
    "machine",
    "measured",
    "multiple",
    "report",
    "span",
    "table",
    "targets_table",
]

_HEADINGS = ("figure", "median", "min … max", "wall", "ratio", "min … max", "to", "target", "")
_NUMBERS = (1, 2, 3, 4, 5)
_VERDICT_HEADINGS = ("target", "at most", "measured", "", "command")


def machine() -> str:
    """Describe what the figures are measured on."""
    return str(Machine.here())


def report(results: Results) -> str:
    """Lay out the whole."""
    parts = [str(results.machine), _scope(results), targets_table(verdicts(results))]
    parts += [f"{result.name} ({result.seconds:.1f} s)\n{table(result.figures)}" for result in results.suites]
    return "\n\n".join(parts)


def _scope(results: Results) -> str:
    smaller = "" if results.sizes == "full" else " Sizes are smaller than those that the targets name."
    return (
        "Microseconds of CPU time for each request, or bytes; medians of alternating rounds, ratios between neighbours"
        f" in time.{smaller}"
    )


def targets_table(rows: Sequence[Verdict]) -> str:
    """Lay out one line for each target."""
    lines = [(row.target.what, row.target.bound, measured(row), row.word, row.target.command) for row in rows]
    return aligned([_VERDICT_HEADINGS, *lines], numbers=())


def measured(verdict: Verdict) -> str:
    """Return the figure that decides: ``3.10 x (2.90 … 3.40)``; and which one, where there are several."""
    if not verdict.figures:
        return ""
    worst, *others = verdict.figures
    judged = worst.judged
    figure = f"{digits(judged.median)} x" if verdict.target.unit == "x" else f"{digits(judged.median)} {worst.unit}"
    spread = f" ({span(judged)})" if span(judged) else ""
    return f"{figure}{spread}" + (f", {worst.name}: highest of {len(others) + 1}" if others else "")


def table(figures: Sequence[Figure]) -> str:
    """Lay out one line for each figure."""
    return aligned([_HEADINGS, *map(_row, figures)], _NUMBERS)


def aligned(rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """Lay out rows in columns, those with numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths, numbers) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int], numbers: Sequence[int]) -> str:
    cells = enumerate(zip(row, widths, strict=True))
    return "  ".join(cell.rjust(width) if at in numbers else cell.ljust(width) for at, (cell, width) in cells).rstrip()


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        amount(figure),
        span(figure.spent),
        "" if figure.wall is None else f"{digits(figure.wall.median)} µs",
        multiple(figure),
        "" if figure.ratio is None else span(figure.ratio),
        figure.versus or "",
        bound(figure),
        "" if figure.is_met is None else word(is_met=figure.is_met),
    )


def amount(figure: Figure) -> str:
    """Return the median: ``5.12 µs``; or why there is none."""
    is_measured = figure.unit.startswith(("µs", "B", "/s"))
    return f"{digits(figure.spent.median)} {figure.unit}" if is_measured else figure.unit


def multiple(figure: Figure) -> str:
    """Return the ratio: ``3.10 x``; nothing without one."""
    return "" if figure.ratio is None else f"{digits(figure.ratio.median)} x"


def bound(figure: Figure) -> str:
    """Return the target: ``≤ 4 x``; nothing without one."""
    if figure.target is None:
        return ""
    return f"≤ {figure.target:,.0f} {figure.unit}" if figure.unit in ("B", "/s") else f"≤ {figure.target:g} x"


def span(spread: Spread) -> str:
    """Return the least and the most: ``2.90 … 3.40``; nothing where all rounds agree."""
    return "" if spread.low == spread.high else f"{digits(spread.low)} … {digits(spread.high)}"


def digits(value: float) -> str:
    """Return a number with as many digits as it deserves."""
    if value == 0:
        return "0"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
