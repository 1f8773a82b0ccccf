"""Two runs side by side: ratios of ratios, because two runs share no machine, and seconds of two say little."""

from collections.abc import Mapping

from benchmarks.report import aligned, amount, digits, multiple
from benchmarks.results import Results
from benchmarks.rounds import Figure

__all__ = ["compare"]

_HEADINGS = ("figure", "old", "new", "old ratio", "new ratio", "new / old", "", "to")
_NUMBERS = (1, 2, 3, 4, 5)
_MARK = "*"

_Key = tuple[str, str, str | None]


def compare(old: Results, new: Results) -> str:
    """Lay out each figure of the new run that the old one has too.

    The change is that of the ratio; of the amount where it is bytes or callbacks, which are the same on every machine.
    Floors have none. A mark says that the spreads of the two runs do not overlap.
    """
    before, after = _figures(old), _figures(new)
    rows = [_row(key[0], before[key], figure) for key, figure in after.items() if key in before]
    parts = [f"Compared with {old.machine}, {old.sizes} sizes. {_MARK} The spreads do not overlap."]
    if rows:
        parts.append(aligned([_HEADINGS, *rows], _NUMBERS))
    parts += _missing("the old run", after, before) + _missing("the new run", before, after)
    return "\n\n".join(parts)


def _figures(results: Results) -> Mapping[_Key, Figure]:
    # Names tell sizes, so a quick run has few figures in common with a full one.
    return {(suite.name, each.name, each.versus): each for suite in results.suites for each in suite.figures}


def _row(suite: str, old: Figure, new: Figure) -> tuple[str, ...]:
    is_absolute = new.unit in ("B", "/s")
    if (new.ratio is None or old.ratio is None) and not is_absolute:
        change, mark = "", ""
    else:
        was, now = old.judged, new.judged
        # From nothing to something is no multiple.
        change = digits(now.median / was.median) if was.median else ""
        mark = "" if was.overlaps(now) else _MARK
    name = f"{suite}: {new.name}"
    return name, amount(old), amount(new), multiple(old), multiple(new), change, mark, new.versus or ""


def _missing(where: str, these: Mapping[_Key, Figure], those: Mapping[_Key, Figure]) -> list[str]:
    missing = len(these.keys() - those.keys())
    return [f"Figures that are not in {where}: {missing}."] if missing else []
