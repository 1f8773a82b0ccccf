"""The report: an aligned table for people, and the same figures for programs."""

import os
import platform
from collections.abc import Sequence

import attrs

from benchmarks.rounds import Figure, Spread

__all__ = ["as_dict", "machine", "table"]

_HEADINGS = ("name", "median", "min … max", "ratio", "min … max", "to", "target")
_LEFT = (0, 5)


def machine() -> str:
    """Describe what the figures were measured on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {python}, {platform.platform()}"


def as_dict(figures: Sequence[Figure]) -> dict[str, object]:
    """Return the report as plain values."""
    return {"machine": machine(), "figures": [attrs.asdict(figure) for figure in figures]}


def table(figures: Sequence[Figure]) -> str:
    """Return the report as aligned lines: amounts for each request, in CPU time or bytes."""
    rows = [_HEADINGS, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(
        cell.ljust(width) if column in _LEFT else cell.rjust(width) for column, (cell, width) in enumerate(cells)
    ).rstrip()


def _row(figure: Figure) -> tuple[str, ...]:
    spent, ratio, target = figure.spent, figure.ratio, figure.target
    wanted = "" if target is None else _target(figure, target)
    return (
        figure.name,
        f"{_digits(spent.median)} {figure.unit}",
        _range(spent),
        "" if ratio is None else f"{_digits(ratio.median)} x",
        "" if ratio is None else _range(ratio),
        figure.versus or "",
        wanted,
    )


def _target(figure: Figure, target: float) -> str:
    if figure.ratio is None or figure.unit == "B":
        measured, wanted = figure.spent.median, f"≤ {target:,.0f} {figure.unit}"
    else:
        measured, wanted = figure.ratio.median, f"≤ {target:g} x"
    return f"{wanted}, {'met' if measured <= target else 'missed'}"


def _range(spread: Spread) -> str:
    return "" if spread.low == spread.high else f"{_digits(spread.low)} … {_digits(spread.high)}"


def _digits(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"
