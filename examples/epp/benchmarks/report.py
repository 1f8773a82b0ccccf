"""The report: an aligned table for people, and the same figures for programs."""

from collections.abc import Mapping, Sequence

from benchmarks.rounds import Spread
from examples.epp.benchmarks.contestants import BARE, EPP, Round

__all__ = ["MOST_ADDED", "MOST_SHARE", "as_dict", "table", "verdicts"]

MOST_ADDED = 0.000_15
"""Seconds of CPU time for each request that the Endpoint Picker may add to the bare server."""
MOST_SHARE = 0.5
"""Of what the bare server itself takes."""

_HEADINGS = ("", "requests/s", "median", "99 %", "Envoy's CPU", "its CPU", "min … max", "to bare", "more than bare")


def table(rounds: Mapping[str, Sequence[Round]]) -> str:
    """Return the report as aligned lines; times are milliseconds for each request."""
    rows = [_HEADINGS, *(_row(name, of, rounds[BARE]) for name, of in rounds.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def verdicts(rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """Say of each goal whether it is met."""
    added = _added(rounds[EPP], rounds[BARE])
    share = Spread.of([mine / bare.picker for mine, bare in zip(_differences(rounds), rounds[BARE], strict=True)])
    return [
        f"{EPP}: {1e3 * added.median:.3f} ms more than the {BARE}, {_met(added.median, MOST_ADDED)} "
        f"(at most {1e3 * MOST_ADDED:g} ms)",
        f"{EPP}: {share.median:.2f} of what the {BARE} takes on top of it, {_met(share.median, MOST_SHARE)} "
        f"(at most {MOST_SHARE:g})",
    ]


def as_dict(rounds: Mapping[str, Sequence[Round]]) -> dict[str, object]:
    """Return the figures as plain values: seconds, medians of all rounds."""
    return {
        name: {
            "throughput": Spread.of([each.throughput for each in of]).median,
            "median": Spread.of([each.median for each in of]).median,
            "slow": Spread.of([each.slow for each in of]).median,
            "envoy": Spread.of([each.envoy for each in of]).median,
            "picker": Spread.of([each.picker for each in of]).median,
        }
        for name, of in rounds.items()
    }


def _row(name: str, rounds: Sequence[Round], bare: Sequence[Round]) -> tuple[str, ...]:
    picker = Spread.of([each.picker for each in rounds])
    cells = (
        name,
        f"{Spread.of([each.throughput for each in rounds]).median:,.0f}",
        _ms(Spread.of([each.median for each in rounds]).median),
        _ms(Spread.of([each.slow for each in rounds]).median),
        _ms(Spread.of([each.envoy for each in rounds]).median),
    )
    if not picker.median:
        return (*cells, "", "", "", "")
    ratio = Spread.of([mine.picker / other.picker for mine, other in zip(rounds, bare, strict=True)])
    added = _added(rounds, bare)
    is_bare = rounds is bare
    return (
        *cells,
        _ms(picker.median),
        f"{_ms(picker.low)} … {_ms(picker.high)}",
        "" if is_bare else f"{ratio.median:.2f} x",
        "" if is_bare else f"{1e3 * added.median:+.3f}",
    )


def _added(mine: Sequence[Round], bare: Sequence[Round]) -> Spread:
    return Spread.of([one.picker - other.picker for one, other in zip(mine, bare, strict=True)])


def _differences(rounds: Mapping[str, Sequence[Round]]) -> list[float]:
    return [one.picker - other.picker for one, other in zip(rounds[EPP], rounds[BARE], strict=True)]


def _met(value: float, most: float) -> str:
    return "as it should" if value <= most else "MORE than it should"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(
        cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells)
    ).rstrip()
