"""What the page shows: one picture of everything, small whatever there is to show."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest

from flowgate.stats import BandStats
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import FlowMetrics, PodReading, Reading, clean_label

__all__ = ["Board"]

_MOST_BANDS = 16
_MOST_FLOWS = 8
_MOST_PODS = 64
_MOST_DECISIONS = 60
_MOST_REASONS = 3

_Picture = dict[str, object]


class Board:
    """Keeps the recent decisions, and draws a picture of everything when asked.

    Its numbers are those of the metrics, read at the same moment. Give its `decided` to the director as a listener.

    Args:
        metrics: What was counted.
        pool: The pool's name.
        clock: The time of day, in seconds since the epoch.
    """

    def __init__(self, metrics: FlowMetrics, *, pool: str = "default", clock: Callable[[], float] = time.time) -> None:
        self._metrics = metrics
        self._pool = pool
        self._clock = clock
        self._run = uuid.uuid4().hex
        self._since = clock()
        self._decisions: deque[tuple[int, Decision]] = deque(maxlen=_MOST_DECISIONS)
        self._decided = 0

    def decided(self, decision: Decision) -> None:
        """Keep a decision, and forget the oldest."""
        self._decided += 1
        self._decisions.append((self._decided, decision))

    def picture(self) -> _Picture:
        """Draw everything as plain values that JSON can hold. O(series + bands + pods).

        Raises:
            RuntimeError: The metrics are not connected yet.
        """
        reading = self._metrics.read()
        stats = reading.stats
        pods = nlargest(_MOST_PODS, reading.pods, key=lambda reading: (reading.in_flight, reading.saturation))
        return {
            "run": self._run,
            "since": self._since,
            "time": self._clock(),
            "pool": self._pool,
            "queued": stats.queued_requests,
            "queued_bytes": stats.queued_bytes,
            "max_requests": stats.max_requests,
            "in_flight": stats.in_flight,
            "saturation": reading.saturation,
            "outcomes": {outcome.value: count for outcome, count in stats.outcomes.items() if count},
            "dropped": sum(reading.drops.values()),
            "drops": [
                {"reason": clean_label(reason), "status": status, "count": count}
                for (reason, status), count in nlargest(_MOST_REASONS, reading.drops.items(), key=lambda drop: drop[1])
            ],
            **_bands(reading),
            "pod_count": len(reading.pods),
            "pods": [
                _pod(pod, reading)
                for pod in sorted(pods, key=lambda reading: (reading.pod.namespace, reading.pod.name))
            ],
            "decided": self._decided,
            "decisions": [_decision(number, decision) for number, decision in reversed(self._decisions)],
        }


def _bands(reading: Reading) -> _Picture:
    """Draw the busiest bands, highest first, and add up the rest."""
    bands = reading.stats.bands
    shown = nlargest(_MOST_BANDS, bands, key=lambda priority: (bands[priority].queued_requests, priority))
    flows: dict[int, list[_Picture]] = {priority: [] for priority in shown}
    for series in reading.series:
        flow, priority, model = series.labels
        if series.queued and priority in flows:
            flows[priority].append(
                {"flow": flow, "model": model, "queued": series.queued, "queued_bytes": series.queued_bytes}
            )
    return {
        "bands": [_band(priority, bands[priority], flows[priority]) for priority in sorted(shown, reverse=True)],
        "more_bands": len(bands) - len(shown),
        "more_bands_queued": sum(band.queued_requests for band in bands.values())
        - sum(bands[priority].queued_requests for priority in shown),
    }


def _band(priority: int, band: BandStats, flows: Sequence[Mapping[str, object]]) -> _Picture:
    longest = nlargest(_MOST_FLOWS, flows, key=_queued)
    return {
        "priority": priority,
        "name": band.name,
        "queued": band.queued_requests,
        "queued_bytes": band.queued_bytes,
        "max_requests": band.max_requests,
        "in_flight": band.in_flight,
        "flows": longest,
        "more_flows": len(flows) - len(longest),
        "more_flows_queued": band.queued_requests - sum(map(_queued, longest)),
    }


def _queued(flow: Mapping[str, object]) -> int:
    queued = flow["queued"]
    assert isinstance(queued, int)  # noqa: S101 - it was put there above
    return queued


def _pod(reading: PodReading, now: Reading) -> _Picture:
    pod, metrics = reading.pod, reading.pod.metrics
    return {
        "name": pod.name,
        "namespace": pod.namespace,
        "endpoint": pod.endpoint,
        "in_flight": reading.in_flight,
        "saturation": reading.saturation,
        "is_open": reading.saturation < 1.0,
        "waiting": None if metrics is None else metrics.waiting,
        "running": None if metrics is None else metrics.running,
        "kv_cache_usage": None if metrics is None else metrics.kv_cache_usage,
        "age": None if metrics is None else max(0.0, now.time - metrics.updated_at),
    }


def _decision(number: int, decision: Decision) -> _Picture:
    pod = decision.pod
    return {
        "number": number,
        "request_id": clean_label(decision.request_id),
        "flow": clean_label(decision.flow_id),
        "priority": decision.priority,
        "model": clean_label(decision.model),
        "arrived_at": decision.arrived_at,
        "queue_wait": decision.queue_wait,
        "outcome": decision.outcome.value,
        "status": decision.status,
        "reason": decision.reason,
        "pod": None if pod is None else pod.name,
        "endpoint": None if pod is None else pod.endpoint,
    }
