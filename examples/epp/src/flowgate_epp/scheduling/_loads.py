"""Scorers by load: what pods say of themselves, and what was sent to them."""

from collections.abc import Sequence

import attrs

from flowgate import Pod
from flowgate_epp.scheduling._requests import InferenceRequest

__all__ = ["LeastInFlight", "LeastKvCache", "LeastQueue"]

_NEUTRAL = 0.5


def _spread(loads: Sequence[int | None]) -> list[float]:
    """Score the least load with 1.0, the greatest with 0.0, what lies between in proportion, the unknown with 0.5."""
    known = [load for load in loads if load is not None]
    least = min(known, default=0)
    width = max(known, default=0) - least or 1
    return [_NEUTRAL if load is None else 1.0 - (load - least) / width for load in loads]


@attrs.frozen
class LeastQueue:
    """The shorter a pod's own queue, beside those of the other candidates, the better.

    The shortest scores 1.0, the longest 0.0, one that is not known 0.5; all the same, 1.0 each.
    """

    @property
    def name(self) -> str:
        """``"least-queue"``."""
        return "least-queue"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:  # noqa: ARG002 - the contract's
        """Score by the requests that wait in the pod, as its metrics say."""
        return _spread([None if pod.metrics is None else pod.metrics.waiting for pod in pods])


@attrs.frozen
class LeastKvCache:
    """The less of its key-value cache is in use, the better: 1 less that share, and 0.5 where it is not known."""

    @property
    def name(self) -> str:
        """``"least-kv-cache"``."""
        return "least-kv-cache"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:  # noqa: ARG002 - the contract's
        """Score by the free share of the cache, as the pod's metrics say."""
        return [_NEUTRAL if pod.metrics is None else 1.0 - pod.metrics.kv_cache_usage for pod in pods]


@attrs.define(eq=False)
class LeastInFlight:
    """The fewer requests were sent to a pod and have not ended, beside the other candidates, the better.

    It counts picks itself, so it is never late as metrics are; what others send to the pods it does not see. The least
    loaded scores 1.0, the most loaded 0.0; all the same, 1.0 each.
    """

    _counts: dict[Pod, int] = attrs.field(factory=dict[Pod, int], init=False, repr=False)

    @property
    def name(self) -> str:
        """``"least-in-flight"``."""
        return "least-in-flight"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:  # noqa: ARG002 - the contract's
        """Score by the requests in flight."""
        count = self._counts.get
        return _spread([count(pod, 0) for pod in pods])

    def in_flight(self, pod: Pod) -> int:
        """Return how many requests were picked for a pod and have not ended."""
        return self._counts.get(pod, 0)

    def picked(self, request: InferenceRequest, pod: Pod) -> None:  # noqa: ARG002 - the contract's
        """Count a request in."""
        self._counts[pod] = self._counts.get(pod, 0) + 1

    def closed(self, pod: Pod) -> None:
        """Count a request out."""
        left = self._counts[pod] - 1
        if left:
            self._counts[pod] = left
        else:
            del self._counts[pod]  # or pods that are gone would be remembered for ever
