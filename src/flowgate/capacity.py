"""Whether a request may be queued: the limits, and whom it may push out.

Limits bound the backlog. They are asked only about a request that cannot go at once.
"""

import math
from collections.abc import Iterable

from flowgate.items import Item
from flowgate.registry import Band, Registry

__all__ = ["band_shortage", "global_shortage", "size_limit", "victims"]


def size_limit(registry: Registry, band: Band) -> float:
    """Return the most bytes that one request may have to be queued at all; infinite without a limit."""
    return min(_limit(band.config.max_bytes), _limit(registry.config.max_bytes))


def _limit(value: int | None) -> float:
    return math.inf if value is None else value


def band_shortage(band: Band, byte_size: int) -> str | None:
    """Say in words which limit of its band a request of this size would exceed; None when it fits."""
    config = band.config
    if config.max_requests is not None and band.queued >= config.max_requests:
        return f"band {band.priority} holds {band.queued} of {config.max_requests} requests"
    if config.max_bytes is not None and band.queued_bytes + byte_size > config.max_bytes:
        return f"band {band.priority} holds {band.queued_bytes} of {config.max_bytes} bytes and {byte_size} more do not fit"
    return None


def global_shortage(registry: Registry, byte_size: int) -> str | None:
    """Say in words which limit of the controller a request of this size would exceed; None when it fits."""
    config = registry.config
    if config.max_requests is not None and registry.queued >= config.max_requests:
        return f"the controller holds {registry.queued} of {config.max_requests} requests"
    if config.max_bytes is not None and registry.queued_bytes + byte_size > config.max_bytes:
        return (
            f"the controller holds {registry.queued_bytes} of {config.max_bytes} bytes and {byte_size} more do not fit"
        )
    return None


def victims(registry: Registry, band: Band, byte_size: int) -> list[Item] | None:
    """Choose whom an arrival pushes out of a full controller: the newest of the lowest band upward, below its own.

    Returns:
        The items whose leaving makes room, all needed or newer than one that is; None when even all together do not.
        O(victims + bands), and nothing is touched.
    """
    config = registry.config
    requests = registry.queued + 1 - _limit(config.max_requests)
    excess = registry.queued_bytes + byte_size - _limit(config.max_bytes)
    chosen: list[Item] = []
    for item in _displaceable(registry, band):
        if requests <= 0 and excess <= 0:
            break
        chosen.append(item)
        requests -= 1
        excess -= item.byte_size
    return chosen if requests <= 0 and excess <= 0 else None


def _displaceable(registry: Registry, band: Band) -> Iterable[Item]:
    for priority, lower in registry.bands.items():
        if priority >= band.priority:
            return
        if lower.config.displace and lower.arrivals:
            yield from reversed(lower.arrivals)
