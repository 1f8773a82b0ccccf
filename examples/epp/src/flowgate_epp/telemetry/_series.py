"""The series of flows: as many as there may be, and one for the rest.

A flow finds its series by its own id, so that the hot path cleans nothing. Where there is no place left, its requests
count for a shared series, ``other``; those that began to wait there stay there until they leave, even if a place has
become free meanwhile, or a gauge would be left behind.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

import attrs

from flowgate import QueueOutcome
from flowgate_epp.telemetry._labels import OTHER, clean_label
from flowgate_epp.telemetry._table import WAIT_BUCKETS

__all__ = ["Histogram", "Series", "SeriesKey", "SeriesTable"]

SeriesKey = tuple[str, int, str]
"""Flow, priority and model: a flow's own, or the labels of a series."""


# Slotted and not frozen, as the next: both are written to for each request.
@attrs.define(eq=False)
class Histogram:
    """How often values came in each range.

    Attributes:
        bounds: The ranges' upper ends, included.
        counts: For each range how often, not cumulated; the last is for what is above all bounds.
        total: The sum of all values.
    """

    bounds: tuple[float, ...]
    counts: list[int] = attrs.field(init=False)
    total: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: "Histogram") -> None:
        """Count all that another one of the same bounds has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


@attrs.define(eq=False)
class Series:
    """What is told of one flow, or of all that share a series.

    Attributes:
        labels: Its flow, priority and model, clean.
        is_pinned: Whether it stays though nothing happens.
        queued: Requests that wait.
        queued_bytes: Their bytes.
        waits: How long requests waited, in seconds, by what became of them.
        used_at: When something happened last, in seconds of the controller's clock.
    """

    labels: SeriesKey
    is_pinned: bool
    queued: int = 0
    queued_bytes: int = 0
    waits: dict[QueueOutcome, Histogram] = attrs.Factory(dict[QueueOutcome, Histogram])
    used_at: float = 0.0

    def ended(self, outcome: QueueOutcome, wait: float, now: float) -> None:
        """Note what became of a request after so many seconds."""
        waits = self.waits.get(outcome)
        if waits is None:
            waits = self.waits[outcome] = Histogram(WAIT_BUCKETS)
        waits.counts[bisect_left(WAIT_BUCKETS, wait)] += 1
        waits.total += wait
        self.used_at = now


class SeriesTable:
    """All series, within bounds.

    Args:
        most: Most flows, each with its priority and model, that have a series of their own.
        flows: Ids that are always told by name.
        models: The same.
    """

    def __init__(self, most: int, flows: Collection[str] = (), models: Collection[str] = ()) -> None:
        self._most = most
        self._flows = frozenset(flows)
        self._models = frozenset(models)
        self._pinned: frozenset[SeriesKey] = frozenset()
        self._own: dict[SeriesKey, Series] = {}
        self._by_labels: dict[SeriesKey, Series] = {}
        # Where requests wait that found no place, and how many of each flow.
        self._guests: dict[SeriesKey, tuple[Series, int]] = {}

    def __iter__(self) -> Iterator[Series]:
        return iter(self._by_labels.values())

    def find(self, key: SeriesKey) -> Series:
        """Return the series for a request that does not wait."""
        return self._own.get(key) or self._new(key)

    def enter(self, key: SeriesKey, size: int, now: float) -> Series:
        """Return the series for a request that begins to wait, and count it there."""
        series, waiting = self._guests.get(key, (None, 0))
        if series is None:
            series = self.find(key)
        if waiting or key not in self._own:
            self._guests[key] = series, waiting + 1
        series.queued += 1
        series.queued_bytes += size
        series.used_at = now
        return series

    def leave(self, key: SeriesKey, size: int) -> Series:
        """Return the series in which a request waited that leaves now, and count it there no longer."""
        series, waiting = self._guests.get(key, (None, 0))
        if series is None:
            series = self._own[key]
        elif waiting > 1:
            self._guests[key] = series, waiting - 1
        else:
            del self._guests[key]
        series.queued -= 1
        series.queued_bytes -= size
        return series

    def pin(self, keys: Iterable[SeriesKey]) -> None:
        """Have these series told at zero, and none but these stay though nothing happens."""
        pinned = frozenset(keys)
        if pinned == self._pinned:
            return
        self._pinned = pinned
        for series in self:
            series.is_pinned = False
        for key in pinned:
            series = self._own[key] = self._at((clean_label(key[0]), key[1], clean_label(key[2])))
            series.is_pinned = True

    def forget_idle(self, since: float) -> None:
        """Drop the series in which nothing waits, and nothing happened since then (seconds). O(series)."""
        idle = {series.labels for series in self if not (series.is_pinned or series.queued or series.used_at >= since)}
        if idle:
            self._own = {key: series for key, series in self._own.items() if series.labels not in idle}
            for labels in idle:
                del self._by_labels[labels]

    def _new(self, key: SeriesKey) -> Series:
        flow, priority, model = key
        if len(self._own) < self._most + len(self._pinned):
            # Two ids may look the same once they are clean; their requests count together then.
            series = self._own[key] = self._at((clean_label(flow), priority, clean_label(model)))
            return series
        shared = clean_label(flow) if flow in self._flows else OTHER
        return self._at((shared, priority, clean_label(model) if model in self._models or not model else OTHER))

    def _at(self, labels: SeriesKey) -> Series:
        series = self._by_labels.get(labels)
        if series is None:
            series = self._by_labels[labels] = Series(labels, is_pinned=False)
        return series
