"""What telemetry reads of others when it is asked, and keeps no count of itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import attrs

from flowgate import Pod
from flowgate.stats import ControllerStats

__all__ = ["PodReading", "Readings", "pool_saturation"]


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
    """

    stats: Callable[[], ControllerStats]
    pods: Callable[[], Sequence[PodReading]] = tuple
    scrape_failures: Callable[[], Mapping[Pod, int]] = dict
    plugin_failures: Callable[[], Mapping[tuple[str, str], int]] = dict


def pool_saturation(pods: Sequence[PodReading]) -> float:
    """Return the mean of min(1, saturation) over the pods; 1.0 when there are none."""
    if not pods:
        return 1.0
    return sum(min(1.0, reading.saturation) for reading in pods) / len(pods)
