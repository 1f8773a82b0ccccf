"""Pictures of a run: what the queued path, a drain, the Go engine's matrix and memory cost."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.results import Results
from benchmarks.rounds import Figure, Spread
from benchmarks.upstream import PRINTED, SOURCE

__all__ = ["draw"]

_RATIO = "multiple of bare futures (CPU time)"


def draw(results: Results, folder: Path) -> list[Path]:
    """Write one PNG for each suite that ran and has a picture: ``performance-queued.png``.

    Returns:
        The files.
    """
    # Not pyplot: it would keep each picture, and look for a screen.
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - only this function needs it

    drawn: list[Path] = []
    for suite, picture in _PICTURES.items():
        figures = results.figures_of(suite)
        if figures:
            canvas = Canvas(figsize=(11, 5), layout="constrained")
            picture(canvas, figures)
            file = folder / f"performance-{suite}.png"
            canvas.savefig(file, dpi=110)
            drawn.append(file)
    return drawn


def _queued(canvas: Any, figures: Sequence[Figure]) -> None:
    canvas.suptitle("Queued path by flows, bands and lanes: flat lines scale")
    ratios = _ratios(figures)
    panels = canvas.subplots(1, 3, sharey=True)
    for panel, what, pattern in (
        (panels[0], "flows", r"queued, ([\d,]+) flows, 8 bands"),
        (panels[1], "bands", r"queued, (?!10 flows)[\d,]+ flows, ([\d,]+) bands?"),
        (panels[2], "lanes", r"queued, ([\d,]+) lanes? of .*"),
    ):
        _line(panel, {_number(found[1]): ratio for found, ratio in _matching(pattern, ratios)}, "flowgate")
        _dress(panel, what)
    panels[0].set_ylabel(_RATIO)
    panels[0].set_ylim(bottom=0)


def _drain(canvas: Any, figures: Sequence[Figure]) -> None:
    canvas.suptitle("Draining requests that were parked behind a closed gate")
    lines: dict[tuple[str, str], dict[int, Spread]] = defaultdict(dict)
    for found, ratio in _matching(r"drain of ([\d,]+), ([a-z-]+), ([\d,]+) flows", _ratios(figures)):
        lines[found[2], found[1]][_number(found[3])] = ratio
    panel = canvas.subplots()
    fewest = min((_number(parked) for _, parked in lines), default=0)
    for (policy, parked), line in lines.items():
        _line(panel, line, f"{policy}, {parked} parked", "-" if _number(parked) == fewest else "--")
    _dress(panel, "flows")
    panel.set_ylabel(_RATIO)
    panel.set_ylim(bottom=0)
    panel.legend()


def _matrix(canvas: Any, figures: Sequence[Figure]) -> None:
    canvas.suptitle("The Go engine's matrix: nanoseconds by the clock for one request")
    walls = {figure.name: 1e3 * figure.wall.median for figure in figures if figure.wall is not None}
    shown = [cell for cell in PRINTED if f"{cell}, held" in walls]
    panel = canvas.subplots()
    columns: Mapping[str, Sequence[float]] = {
        f"{SOURCE}, 1 processor": [PRINTED[cell].one for cell in shown],
        f"{SOURCE}, 2 processors": [PRINTED[cell].two for cell in shown],
        "flowgate, slot held for a turn": [walls[f"{cell}, held"] for cell in shown],
        "flowgate, released at once": [walls[f"{cell}, at once"] for cell in shown],
    }
    colors = ("0.45", "0.7", "tab:blue", "lightskyblue")
    for number, ((label, values), color) in enumerate(zip(columns.items(), colors, strict=True)):
        panel.barh([place + 0.2 * (number - 1.5) for place in range(len(shown))], values, 0.2, label=label, color=color)
    panel.set_yticks(range(len(shown)), shown)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlim(left=1_000)  # bars on a logarithmic axis begin anywhere: at a microsecond here
    panel.set_xlabel("ns; L requests in flight (0: any), P priorities, F flows, W callers")
    panel.grid(axis="x", alpha=0.3)
    canvas.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _memory(canvas: Any, figures: Sequence[Figure]) -> None:
    canvas.suptitle("Memory")
    panel = canvas.subplots()
    names = [figure.name.removeprefix("memory of ") for figure in figures]
    bars = panel.barh(names, [figure.spent.median for figure in figures])
    panel.bar_label(bars, fmt=" {:,.0f} B")
    for place, figure in enumerate(figures):
        if figure.target is not None:
            label = None if panel.get_legend_handles_labels()[1] else "target"
            panel.plot([figure.target] * 2, [place - 0.4, place + 0.4], color="tab:red", label=label)
    panel.margins(x=0.12)
    panel.invert_yaxis()
    panel.set_xlabel("bytes")
    panel.legend()


_PICTURES: Mapping[str, Callable[[Any, Sequence[Figure]], None]] = MappingProxyType(
    {"queued": _queued, "drain": _drain, "matrix": _matrix, "memory": _memory}
)


def _ratios(figures: Sequence[Figure]) -> Mapping[str, Spread]:
    return {
        figure.name: figure.ratio
        for figure in figures
        if figure.ratio is not None and (figure.versus or "").startswith("bare futures")
    }


def _matching(pattern: str, ratios: Mapping[str, Spread]) -> Sequence[tuple[re.Match[str], Spread]]:
    found = ((re.fullmatch(pattern, name), ratio) for name, ratio in ratios.items())
    return [(match, ratio) for match, ratio in found if match is not None]


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _line(panel: Any, points: Mapping[int, Spread], label: str, style: str = "-") -> None:
    places = sorted(points)
    medians = [points[place].median for place in places]
    below = [points[place].median - points[place].low for place in places]
    above = [points[place].high - points[place].median for place in places]
    panel.errorbar(places, medians, (below, above), label=label, linestyle=style, marker="o", capsize=3)


def _dress(panel: Any, what: str) -> None:
    panel.set_xscale("log")
    panel.set_xlabel(what)
    panel.grid(alpha=0.3)
