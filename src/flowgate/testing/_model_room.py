"""Limits, and who makes room for whom when one is met."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from flowgate.testing._model import Model
from flowgate.testing._model_parts import MovableRequest

if TYPE_CHECKING:
    from flowgate.contracts import FlowKey

__all__ = ["Room", "exceeds_a_limit", "may_displace"]


class _Excess(NamedTuple):
    """By how much limits would be exceeded: requests and bytes; 0 or less where they would not."""

    requests: float
    size: float

    @property
    def is_some(self) -> bool:
        return self.requests > 0 or self.size > 0


def _excess(held: Collection[MovableRequest], size: int, most: int | None, most_bytes: int | None) -> _Excess:
    # By no more than the arrival itself: what was over a limit before, since that was lowered, may stay.
    requests = -math.inf if most is None else min(len(held) + 1 - most, 1)
    return _Excess(requests, -math.inf if most_bytes is None else min(_bytes(held) + size - most_bytes, size))


def _bytes(requests: Iterable[MovableRequest]) -> int:
    return sum(request.size for request in requests)


def _in_flow(model: Model, request: MovableRequest) -> list[MovableRequest]:
    return [other for other in model.waiting if other.flow_key() == request.flow_key()]


def _own_excess(model: Model, request: MovableRequest) -> _Excess:
    band = model.settings(request.priority)
    return _excess(_in_flow(model, request), request.size, band.max_flow_requests, band.max_flow_bytes)


def _band_excess(model: Model, request: MovableRequest) -> _Excess:
    band = model.settings(request.priority)
    in_band = [other for other in model.waiting if other.priority == request.priority]
    return _excess(in_band, request.size, band.max_requests, band.max_bytes)


def _total_excess(model: Model, request: MovableRequest) -> _Excess:
    return _excess(model.waiting, request.size, model.config.max_requests, model.config.max_bytes)


def _shared_excess(model: Model, request: MovableRequest) -> _Excess:
    """By how much an arrival would exceed what its flow shares with others: the band's limits and the controller's."""
    in_band, in_all = _band_excess(model, request), _total_excess(model, request)
    return _Excess(max(in_band.requests, in_all.requests), max(in_band.size, in_all.size))


def exceeds_a_limit(model: Model, request: MovableRequest) -> bool:
    """Whether some limit has no room for an arrival: its flow's, its band's or the controller's."""
    return _own_excess(model, request).is_some or _shared_excess(model, request).is_some


def may_displace(model: Model, request: MovableRequest) -> bool:
    """Whether others make room for an arrival, whichever of several equally long flows counts as the longest."""
    if _own_excess(model, request).is_some:
        return False
    lower = [other for other in model.waiting if other.priority < request.priority and model.band(other).displace]
    need = _total_excess(model, request)
    if not _band_excess(model, request).is_some and len(lower) >= need.requests and _bytes(lower) >= need.size:
        return True
    return model.settings(request.priority).when_full == "longest-flow" and _longest_makes_room(model, request)


def _longest_makes_room(model: Model, request: MovableRequest) -> bool:
    need = _shared_excess(model, request)
    flows: dict[FlowKey, list[MovableRequest]] = defaultdict(list)
    for other in sorted(model.waiting, key=lambda other: model.waiting[other].arrival):
        if other.priority == request.priority:
            flows[other.flow_key()].append(other)
    lengths = {flow: len(mine) if need.requests > 0 else _bytes(mine) for flow, mine in flows.items()}
    longest = [flow for flow, length in lengths.items() if length and length == max(lengths.values())]
    return bool(longest) and all(_spares(flows[flow], need, _in_flow(model, request), request) for flow in longest)


def _spares(mine: list[MovableRequest], need: _Excess, own: list[MovableRequest], request: MovableRequest) -> bool:
    """Whether a flow can make room, newest first, and stay as long as the arrival's becomes."""
    left, requests, size = list(mine), need.requests, need.size
    while left and (requests > 0 or size > 0):
        requests, size = requests - 1, size - left.pop().size
    stays_longer = need.requests <= 0 or len(left) > len(own)
    stays_larger = need.size <= 0 or _bytes(left) >= _bytes(own) + request.size
    return stays_longer and stays_larger and requests <= 0 and size <= 0


class Room:
    """Checks who is displaced: the victims of one arrival, one after another.

    Args:
        model: What waits.
        arrival: For whose sake they go; None while nobody arrives.
    """

    def __init__(self, model: Model, arrival: MovableRequest | None) -> None:
        self._model = model
        self._arrival = arrival
        self._need: _Excess | None = None
        self._gone: list[MovableRequest] = []

    def check_victim(self, victim: MovableRequest) -> None:
        """Check that a waiting request is the next to make room for the arrival."""
        arrival = self._arrival
        assert arrival is not None, f"{victim} was displaced, and nobody arrived"
        # Victims go one by one, and were chosen while all of them waited.
        need = self._need = self._need or _shared_excess(self._model, arrival)
        lacks = _Excess(need.requests - len(self._gone), need.size - _bytes(self._gone))
        assert lacks.is_some, f"{victim} was displaced though {arrival} had room enough"
        assert victim.priority <= arrival.priority, f"{victim} was displaced by {arrival}, of a lower band"
        if victim.priority < arrival.priority:
            self._check_lowest(victim)
        else:
            self._check_longest(victim, arrival, need)
        self._gone.append(victim)

    def _check_lowest(self, victim: MovableRequest) -> None:
        """It is the newest of the lowest band that may be displaced."""
        model = self._model
        assert model.band(victim).displace, f"{victim} was displaced, and its band is not to be"
        displaceable = [other for other in model.waiting if model.band(other).displace]
        lowest = min(other.priority for other in displaceable)
        newest = model.newest(other for other in displaceable if other.priority == lowest)
        assert victim is newest, f"{victim} was displaced, and not {newest}, the newest of the lowest band"

    def _check_longest(self, victim: MovableRequest, arrival: MovableRequest, need: _Excess) -> None:
        """It is the newest of a flow that no other of its band exceeds, in requests if those are too many."""
        assert self._model.band(victim).when_full == "longest-flow", (
            f"{victim} was displaced by {arrival} of its own band, which rejects when it is full"
        )
        lengths: Counter[FlowKey] = Counter()
        for other in (*self._model.waiting, *self._gone):
            if other.priority == victim.priority:
                lengths[other.flow_key()] += 1 if need.requests > 0 else other.size
        assert lengths[victim.flow_key()] == max(lengths.values()), (
            f"{victim} was displaced, and another flow of its band is longer: {dict(lengths)}"
        )
        mine = _in_flow(self._model, victim)
        newest = self._model.newest(mine)
        assert victim is newest, f"{victim} was displaced, and not {newest}, the newest of its flow"
        own = _in_flow(self._model, arrival)
        stays_longer = need.requests <= 0 or len(mine) - 1 > len(own)
        assert stays_longer, f"{arrival} displaced {victim}, of a flow that is no longer than its own"
        stays_larger = need.size <= 0 or _bytes(mine) - victim.size >= _bytes(own) + arrival.size
        assert stays_larger, f"{arrival} displaced {victim}, of a flow that is no larger than its own"
