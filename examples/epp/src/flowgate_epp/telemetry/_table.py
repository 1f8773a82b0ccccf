"""Every metric, declared once: what is told, and what the documentation says of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import attrs

__all__ = ["METRICS", "PASS_BUCKETS", "WAIT_BUCKETS", "Metric", "markdown_table"]

WAIT_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds, upstream's: its dashboards compute quantiles from them."""

PASS_BUCKETS = (0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
"""Upper bounds in seconds."""

_FLOW = ("flow", "priority", "model")
_THEIR_FLOW = ("fairness_id", "priority", "inference_pool", "model_name", "target_model_name")
_POD = ("pod", "endpoint")
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Metric:
    """One metric.

    Attributes:
        name: Ours, without ``flowgate_``.
        kind: What Prometheus calls its type.
        labels: Ours.
        unit: Of its values; empty where they are plain numbers.
        meaning: In a sentence.
        theirs: Upstream's name for the same, without its prefix and ``flow_control_``; None where it has none.
        their_labels: Upstream's labels.
        buckets: A histogram's upper bounds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    unit: str
    meaning: str
    theirs: str | None = None
    their_labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("queue_size", "gauge", _FLOW, "requests", "Requests that wait.", "queue_size", _THEIR_FLOW),
            Metric("queue_bytes", "gauge", _FLOW, "bytes", "Bytes of those requests.", "queue_bytes", _THEIR_FLOW),
            Metric(
                "request_queue_duration_seconds",
                "histogram",
                ("flow", "priority", "outcome", "model"),
                "seconds",
                "From a request's arrival until it went, or was refused; 0 for one that did not wait.",
                "request_queue_duration_seconds",
                ("fairness_id", "priority", "outcome", *_THEIR_FLOW[2:]),
                WAIT_BUCKETS,
            ),
            Metric(
                "requests_total",
                "counter",
                ("outcome", "priority"),
                "requests",
                "How requests ended in flow control. The priority is none where a request named no valid one.",
                "requests_total",
                ("outcome", "priority", "inference_pool"),
            ),
            Metric(
                "drops_total",
                "counter",
                ("reason", "status"),
                "requests",
                "Requests that were told not to go on, by the reason and the HTTP status their clients got.",
            ),
            Metric(
                "dispatch_pass_duration_seconds",
                "histogram",
                (),
                "seconds",
                "What one dispatch pass takes.",
                "dispatch_cycle_duration_seconds",
                (),
                PASS_BUCKETS,
            ),
            Metric(
                "pick_duration_seconds",
                "histogram",
                (),
                "seconds",
                "From a request's dispatch until its pod was chosen.",
                buckets=PASS_BUCKETS,
            ),
            Metric(
                "pool_saturation",
                "gauge",
                (),
                "share",
                "How full the pool is: the mean of its pods' saturations, each counted as 1 at most; 1 without pods.",
                "pool_saturation",
                ("inference_pool", "stage"),
            ),
            Metric(
                "capacity_utilization_requests",
                "gauge",
                ("priority",),
                "share",
                "Waiting requests by the most that may wait in the band; absent without a limit.",
                "capacity_utilization_requests",
                ("priority", "inference_pool"),
            ),
            Metric(
                "capacity_utilization_bytes",
                "gauge",
                ("priority",),
                "share",
                "The same in bytes.",
                "capacity_utilization_bytes",
                ("priority", "inference_pool"),
            ),
            Metric(
                "global_capacity_utilization_requests",
                "gauge",
                (),
                "share",
                "Waiting requests by the most that may wait in all; absent without a limit.",
                "global_capacity_utilization_requests",
                ("inference_pool",),
            ),
            Metric(
                "global_capacity_utilization_bytes",
                "gauge",
                (),
                "share",
                "The same in bytes.",
                "global_capacity_utilization_bytes",
                ("inference_pool",),
            ),
            Metric("in_flight_requests", "gauge", ("priority",), "requests", "Requests that hold a slot of a pod."),
            Metric(
                "overcommitted_requests",
                "gauge",
                (),
                "requests",
                "Those whose slot is of a pod that was full, or no candidate, when it was chosen.",
            ),
            Metric("flows", "gauge", ("priority",), "flows", "Flows known, idle ones included."),
            Metric("pods", "gauge", (), "pods", "Pods of the pool."),
            Metric("pod_in_flight_requests", "gauge", _POD, "requests", "Requests that hold a slot of the pod."),
            Metric("pod_saturation", "gauge", _POD, "share", "How full the pod is: 0 idle, 1 or more full."),
            Metric("pod_waiting_requests", "gauge", _POD, "requests", "The pod's own queue, as it last said."),
            Metric("pod_running_requests", "gauge", _POD, "requests", "What the pod works on, as it last said."),
            Metric("pod_kv_cache_usage", "gauge", _POD, "share", "Of the pod's key-value cache, as it last said."),
            Metric("pod_metrics_age_seconds", "gauge", _POD, "seconds", "Since the pod last said anything."),
            Metric(
                "demand_requests",
                "gauge",
                ("state",),
                "requests",
                "The pool's demand: requests that wait, and those in flight; always 0 with legacy admission.",
            ),
            Metric(
                "demand_work",
                "gauge",
                ("state",),
                "bytes or tokens",
                "The work of those requests, in the unit that was chosen.",
            ),
            Metric("is_leader", "gauge", (), "", "Whether this process decides: 1, or 0; 1 without an election."),
            Metric(
                "activator_writes_total",
                "counter",
                ("result",),
                "writes",
                "How often the activator scaled its target, and how often it failed to; absent without an activator.",
            ),
            Metric(
                "kubernetes_failures",
                "gauge",
                ("what",),
                "attempts",
                "Attempts to follow it in Kubernetes that failed since the last that went well; 0 while all is well.",
            ),
            Metric(
                "scrape_failures_total",
                "counter",
                _POD,
                "scrapes",
                "Scrapes of the pod's metrics that came to nothing.",
            ),
            Metric(
                "plugin_failures_total",
                "counter",
                ("kind", "name"),
                "failures",
                "How often a plug-in raised, or answered nonsense.",
            ),
        )
    }
)
"""By name, in the order in which they are told."""


def markdown_table(metrics: Sequence[Metric] = tuple(METRICS.values())) -> str:
    """Write the documentation's table of metrics."""
    rows = [
        "| metric | type | labels | unit | meaning | upstream's name |",
        "|---|---|---|---|---|---|",
    ]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        theirs = "" if metric.theirs is None else f"`flow_control_{metric.theirs}`"
        cells = (f"`flowgate_{metric.name}`", metric.kind, labels, metric.unit, metric.meaning, theirs)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
