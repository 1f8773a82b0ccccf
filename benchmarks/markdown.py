"""The report as Markdown, which a page of the documentation includes in two parts."""

from collections.abc import Iterator, Sequence

from benchmarks.report import amount, bound, measured, multiple, span
from benchmarks.results import Results, SuiteResult
from benchmarks.rounds import Figure
from benchmarks.targets import Verdict, verdicts, word

__all__ = ["markdown"]

# The page includes what stands between these.
_PARTS = ("<!-- targets -->", "<!-- figures -->", "<!-- end -->")
_HEAD = """\
# Figures

Written by `python -m benchmarks --report`; [Performance](performance.md) shows it, and says what it means."""


def markdown(results: Results) -> str:
    """Lay out targets and figures."""
    before, between, after = _PARTS
    return "\n\n".join([_HEAD, before, *_targets(results), between, *map(_suite, results.suites), after]) + "\n"


def _targets(results: Results) -> Iterator[str]:
    yield f"Measured on {results.machine}."
    if results.sizes != "full":
        yield "This was a quick run: sizes are smaller than those that the targets name, and spreads are wide."
    headings = ("what", "target", "measured", "", "command")
    yield _table(headings, [_target(row) for row in verdicts(results)])


def _target(row: Verdict) -> Sequence[str]:
    is_missed = f"**{row.word}**" if row.is_met is False else row.word
    return row.target.what, row.target.bound, measured(row), is_missed, f"`{row.target.command}`"


def _suite(result: SuiteResult) -> str:
    headings = ("figure", "median", "min … max", "wall", "ratio", "min … max", "to", "target")
    title = f"**{result.name}**, `python -m benchmarks --only {result.name}`, {result.seconds:.0f} s"
    return f"{title}\n\n{_table(headings, [_figure(figure) for figure in result.figures])}"


def _figure(figure: Figure) -> Sequence[str]:
    target = "" if figure.is_met is None else f"{bound(figure)}, {word(is_met=figure.is_met)}"
    wall = "" if figure.wall is None else f"{figure.wall.median:,.2f} µs"
    ratio = "" if figure.ratio is None else span(figure.ratio)
    return (
        figure.name,
        amount(figure),
        span(figure.spent),
        wall,
        multiple(figure),
        ratio,
        figure.versus or "",
        target,
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
