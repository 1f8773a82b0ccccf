"""What one trigger of a ScaledObject asks for, and the numbers it is answered with."""

import math
from collections.abc import Mapping
from typing import Final

import attrs

from flowgate_epp.waking._demand import Demand
from flowgate_epp.waking._settings import KedaSettings, MetricName, check_target

__all__ = ["Trigger", "read_trigger"]

_MOST: Final = 1e15
"""More than anybody serves; KEDA counts in thousandths, 64 bits of them, and what is more turns negative there."""
_METRICS: Final[Mapping[str, MetricName]] = {"requests": "requests", "work": "work"}


@attrs.frozen
class Trigger:
    """A metric, and how much of it one replica is to have."""

    metric: MetricName
    target: float

    @property
    def metric_name(self) -> str:
        """What KEDA is to call the metric."""
        return f"flowgate-{self.metric}"

    def value(self, demand: Demand, *, is_active: bool) -> float:
        """Return the metric: what there is now, and while the pool is active never nothing.

        After a burst that is gone the least demand that there can be is told, one request or unit of work: it asks for
        one replica, and never for more. The burst's peak would ask for replicas that have nothing to do, and the HPA
        that KEDA makes remembers peaks itself (its stabilization window).
        """
        if self.metric == "requests":
            amount: float = demand.waiting + demand.running
        else:
            amount = demand.waiting_work + demand.running_work
        return float(min(max(amount, min(1.0, self.target) if is_active else 0.0), _MOST))


def read_trigger(metadata: Mapping[str, str], settings: KedaSettings) -> Trigger:
    """Read a trigger's metadata: ``metric`` and ``target``, each the settings' where it is absent.

    Other keys are KEDA's own.

    Raises:
        ValueError: A value cannot be used; the message names key and value.
    """
    metric = settings.metric
    if "metric" in metadata:
        named = metadata["metric"]
        if named not in _METRICS:
            raise ValueError(f"scalerMetadata: metric must be one of 'requests', 'work', not {named!r:.60}")
        metric = _METRICS[named]
    if "target" in metadata:
        return Trigger(metric, _number(metadata["target"]))
    if metric != settings.metric:
        ours = f"{settings.target:g} is of {settings.metric!r}"
        raise ValueError(f"scalerMetadata: metric {metric!r} needs a target of its own: {ours}")
    return Trigger(metric, settings.target)


def _number(text: str) -> float:
    try:
        return check_target("target", math.nan if "_" in text else float(text))
    except ValueError as error:
        raise ValueError(f"scalerMetadata: target must be a number in 0.001..1e+12, not {text!r:.60}") from error
