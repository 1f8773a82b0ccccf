"""Filters: by a pod's labels, and by the age of its metrics."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from flowgate import Pod
from flowgate.validators import finite_seconds, instance_of, one_of
from flowgate_epp.scheduling._requests import InferenceRequest

__all__ = ["FreshMetrics", "LabelFilter"]

OnEmpty = Literal["none", "pass"]


def _not_empty(_filter: object, field: "attrs.Attribute[str]", value: str) -> None:
    if not value:
        raise ValueError(f"{field.name} must not be empty")


def _lower(value: str | None) -> str | None:
    return value.lower() if isinstance(value, str) else value


@attrs.frozen
class LabelFilter:
    """Only pods with a label that is what the request asks for: the model they serve, the adapter they hold.

    A request that does not ask passes with all pods.

    Args:
        label: The pods' label.
        header: The header that asks, in any case; None is the model asked for, in the body or by the director's
            `model_headers`.
        on_empty: What happens where no pod has it: with ``"none"`` the request is answered 503, with ``"pass"`` it goes
            to any pod (one that loads adapters on demand, say).

    Raises:
        ValueError: The label or the header is empty, or `on_empty` neither.
    """

    label: str = attrs.field(validator=[instance_of(str), _not_empty])
    header: str | None = attrs.field(
        default=None, converter=_lower, validator=attrs.validators.optional([instance_of(str), _not_empty])
    )
    on_empty: OnEmpty = attrs.field(default="none", validator=one_of("none", "pass"))

    @property
    def name(self) -> str:
        """``"label"`` and which."""
        return f"label {self.label}"

    def filter(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:
        """Return the pods whose label is what the request asks for."""
        wanted = request.model if self.header is None else request.headers.get(self.header)
        if not wanted:
            return pods
        label = self.label
        fit = [pod for pod in pods if pod.labels.get(label) == wanted]
        return pods if not fit and self.on_empty == "pass" else fit


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


@attrs.frozen
class FreshMetrics:
    """Only pods that were heard of lately; all of them where none was, for stale news is better than no answer.

    Args:
        max_age: Seconds since the metrics were read.
        clock: The clock of the metrics; None is the running loop's.

    Raises:
        ValueError: `max_age` is not finite and more than 0.
    """

    max_age: float = attrs.field(default=2.0, validator=finite_seconds)
    clock: Callable[[], float] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def name(self) -> str:
        """``"fresh-metrics"``."""
        return "fresh-metrics"

    def filter(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:  # noqa: ARG002 - the contract's
        """Return the pods with fresh metrics, or all."""
        oldest = (self.clock or _loop_time)() - self.max_age
        return [pod for pod in pods if pod.metrics is not None and pod.metrics.updated_at >= oldest] or pods
