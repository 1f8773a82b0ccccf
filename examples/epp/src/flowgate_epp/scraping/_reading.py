"""From a page to what a pod says of itself."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from flowgate import PodMetrics
from flowgate_epp.scraping._names import MetricNames, Series
from flowgate_epp.scraping._page import Page, PageError

__all__ = ["metrics_of", "names_in"]

# Engines round; what is far beyond all of the cache was told in another unit.
_MOST_USAGE: Final = 1.1

_series = lru_cache(maxsize=1_024)(Series.parse)


@lru_cache(maxsize=64)
def names_in(names: MetricNames) -> frozenset[str]:
    """Return the names of all series of a table."""
    return frozenset(_series(text).name for text in (*names.waiting, *names.running, *names.kv_cache_usage))


def metrics_of(page: Page, names: MetricNames, asked_at: float) -> PodMetrics:
    """Read a page.

    Args:
        page: The page.
        names: The engine's names.
        asked_at: When the page was asked for, in seconds of the controller's clock.

    Raises:
        PageError: A value is missing, or makes no sense.
    """
    waiting, running = _value(page, names.waiting, names, sum), _value(page, names.running, names, sum)
    usage = _value(page, names.kv_cache_usage, names, max) / (100.0 if names.usage_in == "percent" else 1.0)
    if usage > _MOST_USAGE:
        raise PageError(f"its cache's use must lie in 0..1, not {usage:g}: is it told in percent?")
    return PodMetrics(
        waiting=round(waiting), running=round(running), kv_cache_usage=min(usage, 1.0), updated_at=asked_at
    )


def _value(page: Page, texts: Sequence[str], names: MetricNames, combine: Callable[[Iterable[float]], float]) -> float:
    wanted = [_series(text) for text in texts]
    for series in wanted:
        values = [
            value for labels, value in page.series.get(series.name, ()) if series.labels.items() <= labels.items()
        ]
        if values:
            return _checked(combine(values), series.name)
    if not wanted or names.absent == "idle":
        return 0.0
    if any(series.name in page.declared and series.name not in page.series for series in wanted):
        return 0.0
    raise PageError(f"its metrics page has no {' or '.join(texts)}")


def _checked(value: float, name: str) -> float:
    if not 0.0 <= value < math.inf:
        raise PageError(f"{name} must be 0 or more and finite, not {value:g}")
    return value
