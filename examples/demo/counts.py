"""What the Endpoint Picker counts, read off its metrics as Prometheus would."""

from collections import Counter
from collections.abc import Mapping

import attrs
from prometheus_client.parser import text_string_to_metric_families

from flowgate import QueueOutcome

__all__ = ["Counts", "read_counts"]


@attrs.frozen
class Counts:
    """The counts at one moment.

    Attributes:
        outcomes: How many requests ended in each way.
        waiting: Requests that wait.
        in_flight: Requests that hold a slot.
        faults: Failures of plug-ins, in words.
    """

    outcomes: Mapping[QueueOutcome, int]
    waiting: int
    in_flight: int
    faults: list[str]


def read_counts(text: str) -> Counts:
    """Read a page of metrics."""
    outcomes = Counter[QueueOutcome]()
    sums = Counter[str]()
    faults: list[str] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += int(sample.value) if sample.value == sample.value // 1 else 0
            if sample.name == "flowgate_requests_total" and sample.value:
                outcomes[QueueOutcome(sample.labels["outcome"])] += int(sample.value)
            if sample.name == "flowgate_plugin_failures_total" and sample.value:
                faults.append(f"{sample.labels['kind']} {sample.labels['name']} failed {sample.value:.0f} times")
    return Counts(outcomes, sums["flowgate_queue_size"], sums["flowgate_in_flight_requests"], faults)
