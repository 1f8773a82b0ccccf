"""Fullness by what pods say of themselves."""

import math
import time
from collections.abc import Callable
from typing import Literal

from flowgate.contracts import ChangeCallback, Pod, PodLoad, PodMetrics
from flowgate.validators import check_number

__all__ = ["UtilizationDetector"]

_FULL = 1.0


class UtilizationDetector:
    """A pod is full when its own queue or its key-value cache is.

    Answers max((waiting + since_metrics) / queue_depth_threshold, kv_cache_usage / kv_cache_threshold), O(1), without a
    memory of pods. Tickets charged since the metrics were read count as waiting, so a burst between two readings cannot
    overshoot. Metrics are stale from `updated_at` + `staleness` on; missing ones are stale, and those from the future
    fresh. Until a clock is bound, `time.monotonic` is used.

    Args:
        queue_depth_threshold: Waiting requests at which a pod is full; more than 0.
        kv_cache_threshold: Share of the cache in use at which it is full; more than 0, at most 1.
        staleness: Age of metrics, in seconds, at which they are no longer believed; finite, more than 0.
        on_stale: What then. ``"full"``: the pod is full. ``"ignore"``: it is judged by in_flight /
            queue_depth_threshold, every unreleased ticket counting as waiting. ``"last"``: the last metrics hold,
            however old; a pod that never had any is full.

    Raises:
        ValueError: A number is out of range, or `on_stale` unknown.
        TypeError: A number is none.

    >>> detector = UtilizationDetector()
    >>> detector.bind(lambda: 100.0)
    >>> pod = Pod("a", "10.0.0.1", 8000, metrics=PodMetrics(waiting=1, running=8, kv_cache_usage=0.2, updated_at=99.0))
    >>> detector.saturation(pod, PodLoad(in_flight=9, since_metrics=1))
    0.4
    >>> detector.next_change()
    101.0
    """

    def __init__(
        self,
        queue_depth_threshold: float = 5,
        kv_cache_threshold: float = 0.8,
        staleness: float = 2.0,
        on_stale: Literal["full", "ignore", "last"] = "full",
    ) -> None:
        self._queue_depth = _check_positive("queue_depth_threshold", queue_depth_threshold)
        self._kv_cache = _check_positive("kv_cache_threshold", kv_cache_threshold, at_most=1.0)
        self._staleness = _check_positive("staleness", staleness)
        if on_stale not in {"full", "ignore", "last"}:
            raise ValueError(f'on_stale must be "full", "ignore" or "last", not {on_stale!r}')
        self._on_stale = on_stale
        self._clock: Callable[[], float] = time.monotonic
        # No later than the first instant at which a pod that was answered for as fresh turns stale.
        self._first_stale = math.inf

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(queue_depth_threshold={self._queue_depth}, kv_cache_threshold={self._kv_cache}, "
            f"staleness={self._staleness}, on_stale={self._on_stale!r})"
        )

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return how full the pod is, by its metrics, or as `on_stale` says without them."""
        metrics = pod.metrics
        if metrics is not None and (self._on_stale == "last" or self._is_fresh(metrics)):
            waiting = metrics.waiting + load.since_metrics
            return max(waiting / self._queue_depth, metrics.kv_cache_usage / self._kv_cache)
        return load.in_flight / self._queue_depth if self._on_stale == "ignore" else _FULL

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:  # noqa: ARG002 - the contract's
        """Take a callback and never call it: nothing but the pod, its load and time moves the answer.

        To be subscribable is how a detector says so; `next_change` tells of time.
        """
        return _unsubscribe

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the clock (seconds) by which metrics age."""
        self._clock = clock
        self._first_stale = math.inf

    def next_change(self) -> float | None:
        """Time at or before which the next pod turns stale, always in the future; None when none was fresh.

        When that time has come, ask for all pods again: those still fresh then tell the next one.
        """
        self._forget_past(self._clock())
        return None if self._first_stale == math.inf else self._first_stale

    def _is_fresh(self, metrics: PodMetrics) -> bool:
        now = self._clock()
        stale_at = metrics.updated_at + self._staleness
        self._forget_past(now)
        if now >= stale_at:
            return False
        self._first_stale = min(self._first_stale, stale_at)
        return True

    def _forget_past(self, now: float) -> None:
        if now >= self._first_stale:
            self._first_stale = math.inf


def _unsubscribe() -> None:
    """Take back what was not kept."""


def _check_positive(name: str, value: object, at_most: float = math.inf) -> float:
    rule = f"be finite, more than 0 and at most {at_most}"
    return check_number(name, value, lambda number: 0.0 < number <= at_most and math.isfinite(number), rule)
