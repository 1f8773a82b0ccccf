"""What telemetry reads of others when it is asked, and keeps no count of itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import attrs

from flowgate import Pod
from flowgate.stats import ControllerStats
from flowgate_epp.waking import Demand

__all__ = ["PodReading", "Readings", "pool_saturation"]

_IDLE = Demand(0, 0, 0.0, 0.0)


def _no_demand() -> Demand:
    return _IDLE


def _always() -> bool:
    return True


class PodReading(NamedTuple):
    """One pod of the pool, at one moment."""

    pod: Pod
    """The pod, with what it last said of itself."""
    in_flight: int
    """Unreleased tickets that are charged to it."""
    saturation: float
    """What the detector says: 0.0 idle, 1.0 or more full."""


@attrs.frozen
class Readings:
    """Where those numbers come from.

    Args:
        stats: The controller's counts, as `FlowController.stats` gives them.
        pods: The pool's pods.
        scrape_failures: For each pod, how many scrapes came to nothing.
        plugin_failures: How often each plug-in failed that is not the controller's, by kind and name.
        demand: What a `DemandMeter` counts.
        is_leader: Whether this process decides; true where there is no election.
        activator_writes: What became of the activator's writes, such as ``woken``, and how often; each from the start,
            at zero.
        kubernetes_failures: Of what is followed in Kubernetes, by its name: attempts that failed since it went well.
    """

    stats: Callable[[], ControllerStats]
    pods: Callable[[], Sequence[PodReading]] = tuple
    scrape_failures: Callable[[], Mapping[Pod, int]] = dict
    plugin_failures: Callable[[], Mapping[tuple[str, str], int]] = dict
    demand: Callable[[], Demand] = _no_demand
    is_leader: Callable[[], bool] = _always
    activator_writes: Callable[[], Mapping[str, int]] = dict
    kubernetes_failures: Callable[[], Mapping[str, int]] = dict


def pool_saturation(pods: Sequence[PodReading]) -> float:
    """Return the mean of min(1, saturation) over the pods; 1.0 when there are none."""
    if not pods:
        return 1.0
    return sum(min(1.0, reading.saturation) for reading in pods) / len(pods)
