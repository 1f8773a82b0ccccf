"""What `controller.stats()` answers: a snapshot of the counts."""

from collections.abc import Mapping

import attrs

from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodStats
from flowgate.registry import Band

__all__ = ["BandStats", "ControllerStats", "PodStats", "band_stats"]


@attrs.frozen
class BandStats:
    """One priority band, at one moment.

    Attributes:
        name: The band's name.
        queued_requests: Requests that wait.
        queued_bytes: Their bytes.
        in_flight: Unreleased tickets.
        flows: Flows known, idle ones included.
        outcomes: How many requests of the band ended in each way.
        max_requests: Most requests that may wait; None for no limit.
        max_bytes: Most bytes that may wait; None for no limit.
    """

    name: str
    queued_requests: int
    queued_bytes: int
    in_flight: int
    flows: int
    outcomes: Mapping[QueueOutcome, int]
    max_requests: int | None
    max_bytes: int | None


@attrs.frozen
class ControllerStats:
    """The whole controller, at one moment.

    Attributes:
        queued_requests: Requests that wait.
        queued_bytes: Their bytes.
        in_flight: Unreleased tickets.
        overcommitted: Those of them that were assigned to a full pod, or to one that was no candidate.
        flows: Flows known, idle ones included.
        lanes: Lanes in which requests wait.
        bands: By priority.
        outcomes: How many requests ended in each way, those without a valid band included.
        plugin_failures: How often each plug-in failed, by kind and name.
        max_requests: Most requests that may wait; None for no limit.
        max_bytes: Most bytes that may wait; None for no limit.
    """

    queued_requests: int
    queued_bytes: int
    in_flight: int
    overcommitted: int
    flows: int
    lanes: int
    bands: Mapping[int, BandStats]
    outcomes: Mapping[QueueOutcome, int]
    plugin_failures: Mapping[tuple[str, str], int]
    max_requests: int | None
    max_bytes: int | None


def band_stats(band: Band) -> BandStats:
    """Take a snapshot of one band. O(1)."""
    return BandStats(
        name=band.config.name,
        queued_requests=band.queued,
        queued_bytes=band.queued_bytes,
        in_flight=band.in_flight,
        flows=len(band.flows) + (band.overflow is not None),
        outcomes=dict(band.outcomes),
        max_requests=band.config.max_requests,
        max_bytes=band.config.max_bytes,
    )
