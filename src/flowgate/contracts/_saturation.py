"""How full pods are, and how full a band may make them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from flowgate.contracts._pods import Pod, PodLoad
from flowgate.contracts._tickets import ReleaseResult

__all__ = ["ReleaseAware", "SaturationDetector", "UsageLimitPolicy"]


@runtime_checkable
class SaturationDetector(Protocol):
    """Says how full a pod is.

    Called whenever a pod's load or metrics changed and the engine needs to know: about twice for each request. It must
    answer at once. It may raise, or answer NaN; the pod then counts as full and is asked again every `poll_interval`.

    The engine asks again by itself after each change of a pod's load or metrics. A detector that depends on anything
    else should be `Watchable` or `TimeVarying`; one that is neither is asked anew at each arrival, and every
    `poll_interval` while requests wait. It may be `ClockBound`.
    """

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return 0.0 for an idle pod, 1.0 or more for a full one."""
        ...


@runtime_checkable
class ReleaseAware(Protocol):
    """An optional part of a detector that learns from how requests fare.

    What it learns of a pod may change that pod's saturation, which the engine reads again anyway; a change of another
    pod's it has to announce.
    """

    def released(self, pod: Pod, load: PodLoad, held: float, result: ReleaseResult) -> None:
        """Note that a ticket was released.

        Called once for each ticket that was charged to a pod, inside a step; it must return at once.

        Args:
            pod: The pod that the ticket was charged to last.
            load: The pod's, this ticket still counted.
            held: Seconds from dispatch to release; the bound clock less this is the time of dispatch.
            result: How the request fared there. ``"ignored"`` says nothing of the pod.
        """
        ...


@runtime_checkable
class UsageLimitPolicy(Protocol):
    """Decides between bands: how full each may make a pod.

    A policy whose ceilings are one number for all bands at all times may say so with that number (0..1) as an attribute
    `constant_ceiling`. It is read once, when the controller is built, and the policy is never asked: no band holds
    another back then.

    Called when a dispatch pass starts, again when it would end, and for an arrival that finds nothing waiting. It must
    answer at once. An answer of the wrong length, with a value outside 0..1, or that rises is a failure: the pass then
    goes on with ceilings of 1.0.
    """

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """Return one ceiling (0..1) for each priority.

        Args:
            saturation: Of the pods that waiting requests name: the mean of min(1, pod's); 1.0 when there are none.
            priorities: Of the bands with waiting requests, and of an arrival; highest first. Ceilings must not rise
                along it.
        """
        ...
