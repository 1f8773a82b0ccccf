"""Reads why a request waits from the engine's state, and changes nothing there."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile

from flowgate.explanation import Explanation
from flowgate.forecast import forecast
from flowgate.items import Item
from flowgate.lanes import FlowQueue, Group
from flowgate.pods import PodState, PodStats
from flowgate.recent import MOST_PODS, fullness, lane_name
from flowgate.requests import id_of
from flowgate.shard import Shard
from flowgate.ticket import Ticket

__all__ = ["explain", "explain_ticket"]

_MOST_AHEAD = 10
_MOST_SAME = 100


def explain(shard: Shard, request_id: str, now: float) -> tuple[Explanation, ...]:
    """Explain the requests of an id: those that wait, by arrival, then those that left lately, newest first.

    O(waiting requests + kept decisions), and for each that waits its lane. At most 100 are explained.

    Args:
        shard: All state.
        request_id: As the request told it.
        now: Seconds.
    """
    waiting = sorted(
        (item for lane in shard.lanes.waiting for item in lane.items() if id_of(item.request) == request_id),
        key=lambda item: item.arrival,
    )
    recent = shard.ledger.recent
    left = () if recent is None else recent.find(request_id)
    return tuple(islice(chain((_waiting(shard, item, request_id, now) for item in waiting), left), _MOST_SAME))


def explain_ticket(shard: Shard, ticket: Ticket) -> Explanation | None:
    """Return what is kept of a ticket's dispatch; None without a ring, or once it fell out of it."""
    return None if shard.ledger.recent is None else shard.ledger.recent.of(ticket)


def _waiting(shard: Shard, item: Item, request_id: str, now: float) -> Explanation:
    group = item.queue.group
    lane, band, recent = group.lane, group.band, shard.ledger.recent
    own = list(takewhile(lambda other: other is not item, _in_order(item.queue)))
    others = _ahead_in_other_flows(item, len(own) + 1)
    above = [higher for priority, higher in lane.groups.items() if priority > band.priority]
    ahead_above = sum(higher.waiting for higher in above)
    pods = [_look(shard, state) for state in lane.candidates.pods]
    least = min(map(fullness, pods), default=None)
    ceiling = shard.ceilings.of(band.priority)
    reason, message = _reason(shard, group, least, ceiling)
    in_band = len(own) + len(others)
    shares = shard.config.band_shares
    share = 0.0 if shares is None else shares.shares.get(band.priority, 0.0)
    predicted = forecast(lane, band, item.queue.flow, share, now, turn=in_band + 1)
    return Explanation(
        request_id=request_id,
        outcome=None,
        reason=reason,
        message=message,
        flow=item.flow_key,
        band=band.config.name,
        lane=lane_name(lane),
        at=now,
        waited=max(0.0, now - item.enqueue_time),
        ttl_left=max(0.0, shard.deadlines.due(item, lane) - now),
        place=len(own) + 1,
        ahead_in_band=in_band,
        ahead_above=ahead_above,
        ahead=_first_ids(above, [*own, *others]),
        ahead_on_arrival=None if recent is None else recent.ahead_on_arrival(item),
        estimate=None if predicted is None else predicted.wait,
        saturation=least,
        ceiling=ceiling,
        pods=tuple(heapq.nsmallest(MOST_PODS, pods, key=fullness)),
        pod_count=len(pods),
    )


def _reason(shard: Shard, group: Group, least: float | None, ceiling: float) -> tuple[str, str]:
    lane = group.lane
    if least is None:
        if lane.fault is not None:
            return "no-pods", f"its candidates could not be resolved: {lane.fault!r}"
        return "no-pods", "it has no candidates"
    if not shard.may_go(group):
        return "higher-band", "a request of a higher band waits, and holds all lower ones back"
    if least < ceiling:
        return "due", "a pod has room, and the next pass decides who gets it"
    if least < 1.0:
        return "held-back", f"its candidates have room, but are at or above the ceiling of {ceiling:.3g} for its band"
    return "full", "all its candidates are full"


def _in_order(queue: FlowQueue) -> Iterator[Item]:
    """Iterate over a flow's items, next one first."""
    return (other for other in queue.queue if isinstance(other, Item))


def _ahead_in_other_flows(item: Item, place: int) -> Sequence[Item]:
    """Return who goes before an item in other flows of its group: by their best, or as if they took turns."""
    group = item.queue.group
    others = [queue for queue in group.flows.values() if queue is not item.queue]
    if group.is_ranked:
        candidates = [other for queue in others for other in _in_order(queue)]
        try:
            return [other for other in candidates if (other.score, other.arrival) < (item.score, item.arrival)]
        except TypeError:  # keys that do not compare
            return candidates
    return [other for queue in others for other in islice(_in_order(queue), place)]


def _first_ids(above: Sequence[Group], own: Sequence[Item]) -> tuple[str, ...]:
    higher = (item for group in above for queue in group.flows.values() for item in _in_order(queue))
    first = heapq.nsmallest(_MOST_AHEAD, chain(higher, own), key=lambda item: (-item.flow_key.priority, item.arrival))
    return tuple(id_of(item.request) or "(no id)" for item in first)


def _look(shard: Shard, state: PodState) -> PodStats:
    return PodStats(state.pod, state.in_flight, shard.pods.look(state))
