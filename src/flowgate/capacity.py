"""Whether a request may be queued: the limits, and whom it may push out.

Limits bound the backlog. They are asked only about a request that cannot go at once.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from flowgate.contracts import FlowKey
from flowgate.items import Item
from flowgate.outcomes import QueueOutcome
from flowgate.registry import Band, Registry

__all__ = ["Refusal", "has_room", "judge"]

Refusal = tuple[QueueOutcome, str]
"""Why a request may not wait, as outcome and sentence."""


class _Newcomer(NamedTuple):
    """A request that asks for room."""

    band: Band
    key: FlowKey
    byte_size: int


class _Excess(NamedTuple):
    """How far requests and bytes would be over a limit; 0 or less where they fit.

    Never more than the arrival itself: those over a limit that was lowered stay.
    """

    requests: float
    size: float

    @property
    def fits(self) -> bool:
        return self.requests <= 0 and self.size <= 0


def judge(
    registry: Registry, band: Band, key: FlowKey, byte_size: int, *, has_pods: bool
) -> tuple[Refusal | None, Sequence[Item]]:
    """Decide about an arrival that cannot go at once.

    Args:
        registry: The counts.
        band: The arrival's band.
        key: Its flow.
        byte_size: Its size in bytes.
        has_pods: Whether its lane has candidates.

    Returns:
        Why it may not wait, else None; and whom it pushes out, if it may.
    """
    if band.config.mode == "shed":
        return (QueueOutcome.REJECTED_SHED, f"no candidate is open, and band {band.priority} never queues"), ()
    most = _limit(_least(_least(band.config.max_flow_bytes, band.config.max_bytes), registry.config.max_bytes))
    if byte_size > most:
        return (QueueOutcome.REJECTED_TOO_LARGE, f"its {byte_size} bytes exceed the limit of {most}"), ()
    shortage, displaced = _make_room(registry, _Newcomer(band, key, byte_size))
    if shortage is None:
        return None, displaced
    return (QueueOutcome.REJECTED_CAPACITY if has_pods else QueueOutcome.REJECTED_NO_PODS, shortage), ()


def has_room(registry: Registry, band: Band, byte_size: int) -> bool:
    """Return whether a request fits under the limits of its band and of the controller, with nobody leaving."""
    return _fits(band, byte_size) and _fits(registry, byte_size)


def _make_room(registry: Registry, arrival: _Newcomer) -> tuple[str | None, Sequence[Item]]:
    """Find out which limit an arrival would exceed, in words, and who makes room for it; None and nobody if it fits."""
    band, key, size = arrival
    if band.config.max_flow_requests is not None or band.config.max_flow_bytes is not None:
        queued, queued_bytes = registry.backlog(band, key)
        limits = (band.config.max_flow_requests, band.config.max_flow_bytes)
        own = _excess(queued, queued_bytes, size, limits)
        if not own.fits:
            return _in_words(f"flow {key.id!r}", queued, queued_bytes, size, limits), ()
    if has_room(registry, band, size):
        return None, ()
    in_band = _excess_of(band, size)
    in_all = _excess_of(registry, size)
    displaced = _from_lower_bands(registry, band, in_all) if in_band.fits else None
    if displaced is None and band.config.when_full == "longest-flow":
        excess = _Excess(max(in_band.requests, in_all.requests), max(in_band.size, in_all.size))
        displaced = _from_longest_flow(registry, arrival, excess)
    if displaced is not None:
        return None, displaced
    holder, name = (registry, "the controller") if in_band.fits else (band, f"band {band.priority}")
    limits = holder.config.max_requests, holder.config.max_bytes
    return _in_words(name, holder.queued, holder.queued_bytes, size, limits), ()


def _limit(value: int | None) -> float:
    return math.inf if value is None else value


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _fits(holder: Band | Registry, size: int) -> bool:
    config = holder.config
    return (config.max_requests is None or holder.queued < config.max_requests) and (
        config.max_bytes is None or holder.queued_bytes + size <= config.max_bytes
    )


def _excess_of(holder: Band | Registry, size: int) -> _Excess:
    limits = holder.config.max_requests, holder.config.max_bytes
    return _excess(holder.queued, holder.queued_bytes, size, limits)


def _excess(queued: int, queued_bytes: int, size: int, limits: tuple[int | None, int | None]) -> _Excess:
    return _Excess(min(queued + 1 - _limit(limits[0]), 1), min(queued_bytes + size - _limit(limits[1]), size))


def _in_words(name: str, queued: int, queued_bytes: int, size: int, limits: tuple[int | None, int | None]) -> str:
    requests, most_bytes = limits
    if requests is not None and queued >= requests:
        return f"{name} holds {queued} of {requests} requests"
    return f"{name} holds {queued_bytes} of {most_bytes} bytes and {size} more do not fit"


def _from_lower_bands(registry: Registry, band: Band, excess: _Excess) -> Sequence[Item] | None:
    """Choose whom an arrival pushes out of a full controller: the newest of the lowest band upward, below its own.

    Returns:
        The items whose leaving makes room, all needed or newer than one that is; None when even all together do not.
        O(victims + bands), and nothing is touched.
    """
    lower = _below(registry, band)
    if sum(one.queued for one in lower) < excess.requests or sum(one.queued_bytes for one in lower) < excess.size:
        return None
    chosen, _ = _take(chain.from_iterable(one.newest.in_band() for one in lower if one.newest), excess)
    return chosen


def _below(registry: Registry, band: Band) -> list[Band]:
    lower = (registry.bands[p] for p in registry.bands.irange(maximum=band.priority, inclusive=(True, False)))
    return [one for one in lower if one.config.displace and one.newest is not None]


def _from_longest_flow(registry: Registry, arrival: _Newcomer, excess: _Excess) -> Sequence[Item] | None:
    """Choose whom an arrival pushes out of its own band: the newest of the longest flow.

    The flow must stay at least as long as the arrival's becomes, in whatever is exceeded, or the two would push each
    other out in turn. The longest is that with most requests where their number is exceeded, else that with most bytes.

    Returns:
        The items; None when nobody is to make room for this one. O(victims), and nothing is touched.
    """
    band, key, size = arrival
    counts, weighs = excess.requests > 0, excess.size > 0
    longest = None if band.newest is None else band.newest.longest(by_bytes=not counts)
    if longest is None:
        return None
    queued, queued_bytes = registry.backlog(band, key)
    if weighs and longest.size - excess.size < queued_bytes + size:
        return None
    chosen, excess = _take(longest.newest_first(), excess)
    stays_longer = not counts or len(longest.items) - len(chosen) > queued
    stays_larger = not weighs or longest.size - sum(item.byte_size for item in chosen) >= queued_bytes + size
    return chosen if stays_longer and stays_larger and excess.fits else None


def _take(items: Iterable[Item], excess: _Excess) -> tuple[list[Item], _Excess]:
    """Take items until there is no excess, or no item, left."""
    chosen: list[Item] = []
    requests, size = excess
    for item in items:
        if requests <= 0 and size <= 0:
            break
        chosen.append(item)
        requests -= 1
        size -= item.byte_size
    return chosen, _Excess(requests, size)
