"""From one reading to the samples of each metric, under our labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from flowgate import QueueOutcome
from flowgate_epp.telemetry._flow_metrics import Reading
from flowgate_epp.telemetry._labels import clean_label
from flowgate_epp.telemetry._readings import PodReading
from flowgate_epp.telemetry._series import Histogram
from flowgate_epp.telemetry._table import WAIT_BUCKETS

__all__ = ["SAMPLES", "Sample"]

Sample = tuple[tuple[str, ...], float | Histogram]
"""Values for a metric's labels, in their order, and what was counted."""

_INVALID = QueueOutcome.REJECTED_INVALID
_UNSEEN = Histogram(WAIT_BUCKETS)


def _queue_size(reading: Reading) -> Iterator[Sample]:
    for series in reading.series:
        flow, priority, model = series.labels
        yield (flow, str(priority), model), series.queued


def _queue_bytes(reading: Reading) -> Iterator[Sample]:
    for series in reading.series:
        flow, priority, model = series.labels
        yield (flow, str(priority), model), series.queued_bytes


def _queue_durations(reading: Reading) -> Iterator[Sample]:
    for series in reading.series:
        flow, priority, model = series.labels
        for outcome in QueueOutcome if series.is_pinned else series.waits:
            yield (flow, str(priority), outcome.value, model), series.waits.get(outcome, _UNSEEN)


def _requests(reading: Reading) -> Iterator[Sample]:
    stats = reading.stats
    for priority, band in stats.bands.items():
        for outcome, count in band.outcomes.items():
            yield (outcome.value, str(priority)), count
    in_bands = sum(band.outcomes[_INVALID] for band in stats.bands.values())
    yield (_INVALID.value, "none"), stats.outcomes[_INVALID] - in_bands


def _drops(reading: Reading) -> Iterator[Sample]:
    counts = dict.fromkeys(reading.refusals, 0) | reading.drops
    for (reason, status), count in counts.items():
        yield (clean_label(reason), str(status)), count


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0  # where nothing may wait, there is no room left


def _band_requests(reading: Reading) -> Iterator[Sample]:
    for priority, band in reading.stats.bands.items():
        if band.max_requests is not None:
            yield (str(priority),), _share(band.queued_requests, band.max_requests)


def _band_bytes(reading: Reading) -> Iterator[Sample]:
    for priority, band in reading.stats.bands.items():
        if band.max_bytes is not None:
            yield (str(priority),), _share(band.queued_bytes, band.max_bytes)


def _all_requests(reading: Reading) -> Iterator[Sample]:
    if reading.stats.max_requests is not None:
        yield (), _share(reading.stats.queued_requests, reading.stats.max_requests)


def _all_bytes(reading: Reading) -> Iterator[Sample]:
    if reading.stats.max_bytes is not None:
        yield (), _share(reading.stats.queued_bytes, reading.stats.max_bytes)


def _pod_labels(name: str, endpoint: str) -> tuple[str, str]:
    return clean_label(name), clean_label(endpoint)


def _of_pods(value: Callable[[Reading, PodReading], float | None]) -> Callable[[Reading], Iterator[Sample]]:
    """Make a sample of each pod of which there is something to tell."""

    def samples(reading: Reading) -> Iterator[Sample]:
        for pod in reading.pods:
            told = value(reading, pod)
            if told is not None:
                yield _pod_labels(pod.pod.name, pod.pod.endpoint), told

    return samples


def _waiting(_reading: Reading, pod: PodReading) -> float | None:
    return None if pod.pod.metrics is None else pod.pod.metrics.waiting


def _running(_reading: Reading, pod: PodReading) -> float | None:
    return None if pod.pod.metrics is None else pod.pod.metrics.running


def _kv_cache(_reading: Reading, pod: PodReading) -> float | None:
    return None if pod.pod.metrics is None else pod.pod.metrics.kv_cache_usage


def _age(reading: Reading, pod: PodReading) -> float | None:
    return None if pod.pod.metrics is None else max(0.0, reading.time - pod.pod.metrics.updated_at)


def _by_what(value: Callable[[Reading], Mapping[str, int]]) -> Callable[[Reading], Iterator[Sample]]:
    def samples(reading: Reading) -> Iterator[Sample]:
        for what, count in value(reading).items():
            yield (clean_label(what),), count

    return samples


SAMPLES: Mapping[str, Callable[[Reading], Iterable[Sample]]] = MappingProxyType(
    {
        "queue_size": _queue_size,
        "queue_bytes": _queue_bytes,
        "request_queue_duration_seconds": _queue_durations,
        "requests_total": _requests,
        "drops_total": _drops,
        "dispatch_pass_duration_seconds": lambda reading: [((), reading.passes)],
        "pick_duration_seconds": lambda reading: [((), reading.picks)],
        "pool_saturation": lambda reading: [((), reading.saturation)],
        "capacity_utilization_requests": _band_requests,
        "capacity_utilization_bytes": _band_bytes,
        "global_capacity_utilization_requests": _all_requests,
        "global_capacity_utilization_bytes": _all_bytes,
        "in_flight_requests": lambda reading: [
            ((str(priority),), band.in_flight) for priority, band in reading.stats.bands.items()
        ],
        "overcommitted_requests": lambda reading: [((), reading.stats.overcommitted)],
        "flows": lambda reading: [((str(priority),), band.flows) for priority, band in reading.stats.bands.items()],
        "pods": lambda reading: [((), len(reading.pods))],
        "pod_in_flight_requests": _of_pods(lambda _, pod: pod.in_flight),
        "pod_saturation": _of_pods(lambda _, pod: pod.saturation),
        "pod_waiting_requests": _of_pods(_waiting),
        "pod_running_requests": _of_pods(_running),
        "pod_kv_cache_usage": _of_pods(_kv_cache),
        "pod_metrics_age_seconds": _of_pods(_age),
        "demand_requests": lambda reading: [
            (("waiting",), reading.demand.waiting),
            (("running",), reading.demand.running),
        ],
        "demand_work": lambda reading: [
            (("waiting",), reading.demand.waiting_work),
            (("running",), reading.demand.running_work),
        ],
        "is_leader": lambda reading: [((), int(reading.is_leader))],
        "activator_writes_total": _by_what(lambda reading: reading.activator_writes),
        "kubernetes_failures": _by_what(lambda reading: reading.kubernetes_failures),
        "scrape_failures_total": lambda reading: [
            (_pod_labels(*which), count) for which, count in reading.scrape_failures.items()
        ],
        "plugin_failures_total": lambda reading: [
            ((kind, clean_label(name)), count) for (kind, name), count in reading.plugin_failures.items()
        ],
    }
)
"""What each metric of the table tells."""
