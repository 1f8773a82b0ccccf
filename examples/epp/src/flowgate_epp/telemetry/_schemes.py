"""Whose names metrics have: ours, or upstream's, so that existing dashboards go on working."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from flowgate import QueueOutcome
from flowgate_epp.telemetry._settings import NameScheme
from flowgate_epp.telemetry._table import Metric

__all__ = ["SCHEMES", "UPSTREAM_OUTCOMES", "Scheme", "Translate"]

Translate = Callable[[tuple[str, ...]], tuple[str, ...]]
"""Makes the values of a scheme's labels out of those of ours."""

UPSTREAM_OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        QueueOutcome.DISPATCHED.value: "Dispatched",
        QueueOutcome.REJECTED_CAPACITY.value: "RejectedCapacity",
        QueueOutcome.REJECTED_NO_PODS.value: "RejectedNoEndpoints",
        QueueOutcome.REJECTED_TOO_LARGE.value: "RejectedCapacity",
        QueueOutcome.REJECTED_SHED.value: "RejectedCapacity",
        QueueOutcome.REJECTED_INFEASIBLE.value: "RejectedCapacity",
        QueueOutcome.REJECTED_SHUTDOWN.value: "RejectedOther",
        QueueOutcome.REJECTED_INVALID.value: "RejectedOther",
        QueueOutcome.EVICTED_TTL.value: "EvictedTTL",
        QueueOutcome.EVICTED_NO_PODS.value: "EvictedNoEndpoints",
        QueueOutcome.EVICTED_CANCELLED.value: "EvictedContextCancelled",
        QueueOutcome.EVICTED_DISPLACED.value: "EvictedOther",
        QueueOutcome.EVICTED_SHUTDOWN.value: "EvictedOther",
    }
)
"""What upstream calls our outcomes; several of ours may be one of theirs."""

_OURS: Mapping[str, str] = MappingProxyType(
    {
        "fairness_id": "flow",
        "priority": "priority",
        "outcome": "outcome",
        "model_name": "model",
        "target_model_name": "model",  # models are not rewritten here
    }
)


@attrs.frozen
class Scheme:
    """A way to name metrics.

    Attributes:
        prefix: What its names begin with.
        is_ours: Whether it has all metrics, under our labels.
    """

    prefix: str
    is_ours: bool

    def name(self, metric: Metric) -> str | None:
        """Return a metric's name; None where the scheme has none for it."""
        if self.is_ours:
            return f"{self.prefix}{metric.name}"
        return None if metric.theirs is None else f"{self.prefix}{metric.theirs}"

    def labels(self, metric: Metric) -> tuple[str, ...]:
        """Return the names of a metric's labels."""
        return metric.labels if self.is_ours else metric.their_labels

    def translate(self, metric: Metric, pool: str) -> Translate | None:
        """Return what makes this scheme's label values of ours; None where they are the same."""
        if self.is_ours:
            return None
        places = [metric.labels.index(_OURS[name]) if name in _OURS else -1 for name in metric.their_labels]
        fixed = {"inference_pool": pool, "stage": "effective"}
        constants = [fixed.get(name, "") for name in metric.their_labels]
        outcome = metric.their_labels.index("outcome") if "outcome" in metric.their_labels else None

        def translated(values: tuple[str, ...]) -> tuple[str, ...]:
            theirs = [values[place] if place >= 0 else constants[n] for n, place in enumerate(places)]
            if outcome is not None:
                theirs[outcome] = UPSTREAM_OUTCOMES[theirs[outcome]]
            return tuple(theirs)

        return translated


SCHEMES: Mapping[NameScheme, Scheme] = MappingProxyType(
    {
        "flowgate": Scheme("flowgate_", is_ours=True),
        "llm-d": Scheme("llm_d_epp_flow_control_", is_ours=False),
        "inference-extension": Scheme("inference_extension_flow_control_", is_ours=False),
    }
)
"""By the name that settings know them by."""
