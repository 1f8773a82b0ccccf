"""Whether a request may be queued: the limits, and whom it may push out.

Limits bound the backlog. They are asked only about a request that cannot go at once.
"""

import math
from collections.abc import Iterable, Sequence

from flowgate.items import Item
from flowgate.outcomes import QueueOutcome
from flowgate.registry import Band, Registry

__all__ = ["judge"]


def judge(
    registry: Registry, band: Band, byte_size: int, *, has_pods: bool
) -> tuple[tuple[QueueOutcome, str] | None, Sequence[Item]]:
    """Decide about an arrival that cannot go at once.

    Args:
        registry: The counts.
        band: The arrival's band.
        byte_size: Its size in bytes.
        has_pods: Whether its lane has candidates.

    Returns:
        Why it may not wait, as outcome and sentence, else None; and whom it pushes out, if it may.
    """
    if band.config.mode == "shed":
        return (QueueOutcome.REJECTED_SHED, f"no candidate is open, and band {band.priority} never queues"), ()
    limit = _size_limit(registry, band)
    if byte_size > limit:
        return (QueueOutcome.REJECTED_TOO_LARGE, f"its {byte_size} bytes exceed the limit of {limit}"), ()
    shortage = _shortage(band, byte_size)
    if shortage is None:
        shortage = _shortage(registry, byte_size)
        if shortage is None:
            return None, ()
        displaced = _victims(registry, band, byte_size)
        if displaced is not None:
            return None, displaced
    return (QueueOutcome.REJECTED_CAPACITY if has_pods else QueueOutcome.REJECTED_NO_PODS, shortage), ()


def _size_limit(registry: Registry, band: Band) -> float:
    """Return the most bytes that one request may have to be queued at all; infinite without a limit."""
    return min(_limit(band.config.max_bytes), _limit(registry.config.max_bytes))


def _limit(value: int | None) -> float:
    return math.inf if value is None else value


def _shortage(holder: Band | Registry, byte_size: int) -> str | None:
    """Say in words which limit of a band, or of the controller, a request would exceed; None when it fits."""
    config = holder.config
    if config.max_requests is not None and holder.queued >= config.max_requests:
        return f"{_name(holder)} holds {holder.queued} of {config.max_requests} requests"
    if config.max_bytes is not None and holder.queued_bytes + byte_size > config.max_bytes:
        holds = f"{_name(holder)} holds {holder.queued_bytes} of {config.max_bytes} bytes"
        return f"{holds} and {byte_size} more do not fit"
    return None


def _name(holder: Band | Registry) -> str:
    return f"band {holder.priority}" if isinstance(holder, Band) else "the controller"


def _victims(registry: Registry, band: Band, byte_size: int) -> list[Item] | None:
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
    for priority in registry.bands.irange(maximum=band.priority, inclusive=(True, False)):
        lower = registry.bands[priority]
        if lower.config.displace and lower.arrivals:
            yield from reversed(lower.arrivals)
