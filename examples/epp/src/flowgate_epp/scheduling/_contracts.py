"""What a scheduler is made of: filters, scorers and a picker, and what any of them may learn."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from flowgate import Pod
from flowgate_epp.scheduling._requests import InferenceRequest

__all__ = ["Closed", "Filter", "Picked", "Picker", "Schedules", "Scorer"]


@runtime_checkable
class Filter(Protocol):
    """Takes away the pods that cannot, or should not, serve a request.

    Called once for each request, in the order of the settings, until no pod is left. It must return at once. It decides
    itself what an empty result means: where a worse pod is better than none, it gives back all that it was given. One
    that raises takes nothing away.
    """

    @property
    def name(self) -> str:
        """Name of the filter, for logs."""
        ...

    def filter(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:
        """Return the pods that stay, in their order; none of them a new one."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says how well each pod would do.

    Called once for each request for which more than one pod is left. It must return at once. A score outside
    0..1, or NaN, counts as 0; a scorer that raises, or whose answer is not one number for each pod, counts as 0 for
    all.
    """

    @property
    def name(self) -> str:
        """Name of the scorer, for logs."""
        ...

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        """Return one score for each pod, in their order: 1.0 for the best there could be, 0.0 for the worst."""
        ...


@runtime_checkable
class Picker(Protocol):
    """Chooses by the scores.

    Called once for each request for which more than one pod is left. One that raises, or names a pod that is no
    candidate, is overruled: the first of the best goes.
    """

    @property
    def name(self) -> str:
        """Name of the picker, for logs."""
        ...

    def pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
        """Return one of the pods; each comes with its weighted scores' sum, 0.0 or more. There are two or more."""
        ...


@runtime_checkable
class Picked(Protocol):
    """An optional part of a filter, scorer or picker that learns where requests go."""

    def picked(self, request: InferenceRequest, pod: Pod) -> None:
        """Note a pick. Called once for each request, a request with one candidate included.

        The request is not to be kept: it leads to the body.
        """
        ...


@runtime_checkable
class Closed(Protocol):
    """An optional part of a filter, scorer or picker that counts what is in flight."""

    def closed(self, pod: Pod) -> None:
        """Note that a request which was picked for this pod has ended. Called once for each pick."""
        ...


@runtime_checkable
class Schedules(Protocol):
    """What the director asks: the scheduler, or whatever stands in for it.

    It may be `Closed`, too. Called once for each admitted request, and must return at once. One that raises, or names a
    pod that is no candidate, is overruled: the request goes to the pod that it is charged to.
    """

    def schedule(self, request: InferenceRequest, candidates: Sequence[Pod]) -> Pod | None:
        """Return the candidate that the request goes to; None where none is fit.

        Args:
            request: What is known of it.
            candidates: One or more; the first is the one that flowgate found least full.
        """
        ...
