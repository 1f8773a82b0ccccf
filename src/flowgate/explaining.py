"""Reads why requests wait, and keeps how the last ones went. It changes nothing, and is asked by people only."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from typing import TYPE_CHECKING

from flowgate.contracts import Dispatched, Dropped, FlowControlRequest, FlowKey
from flowgate.explanation import Explanation
from flowgate.forecast import forecast_turn
from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodState, PodTable

if TYPE_CHECKING:
    from flowgate.items import Item
    from flowgate.lanes import FlowQueue, Group
    from flowgate.shard import Shard
    from flowgate.ticket import Ticket

__all__ = ["Recent", "explain_ticket", "explain_waiting"]

_MOST_PODS = 16
_MOST_AHEAD = 8
_NO_ID = "(no id)"


def explain_waiting(shard: "Shard", request_id: str, now: float) -> Iterator[Explanation]:
    """Iterate over why each waiting request of an id waits, the longest waiting first. O(what waits)."""
    for item in shard.waiting_items():
        if _id_of(item.request) == request_id:
            yield _explain_item(shard, item, now)


def explain_ticket(
    ticket: "Ticket", pods: PodTable, *, flow_key: FlowKey | None, band: str, ceiling: float, time: float
) -> Explanation:
    """Say how the request of a ticket went; the pods are read as they are now. O(candidates)."""
    states = [state for state in map(pods.find, ticket.candidates) if state is not None]
    if ticket.first is None:
        reason = "it went on without a pod: there were no candidates, and whoever schedules decides"
    else:
        reason = f"{ticket.first.pod.name} had room when its turn came"
    return Explanation(
        request_id=_id_of(ticket.request),
        outcome=QueueOutcome.DISPATCHED,
        reason=reason,
        time=time,
        waited=ticket.queue_wait,
        flow_key=flow_key,
        band=band,
        gate=_gate(pods, states),
        ceiling=ceiling,
        pods=tuple(pods.stats(state.pod) for state in states[:_MOST_PODS]),
        pod_count=len(ticket.candidates),
        pod=ticket.pod,
    )


def _explain_item(shard: "Shard", item: "Item", now: float) -> Explanation:
    queue = item.queue
    group, lane = queue.group, queue.group.lane
    states = lane.candidates.pods
    ceiling = shard.ceilings.of(group.band.priority)
    place, ahead = _place(item, queue)
    above = sum(other.waiting for priority, other in lane.groups.items() if priority > group.band.priority)
    turn = _turn_in_band(item, group, place)
    shares = shard.config.band_shares
    share = 0.0 if shares is None else shares.shares.get(group.band.priority, 0.0)
    predicted = forecast_turn(lane, group.band, turn, share, now)
    return Explanation(
        request_id=_id_of(item.request),
        outcome=None,
        reason=_why(shard, group, ceiling),
        time=now,
        waited=now - item.enqueue_time,
        flow_key=item.flow_key,
        band=group.band.config.name,
        lane=repr(lane.key),
        gate=_gate(shard.pods, states),
        ceiling=ceiling,
        pods=tuple(shard.pods.stats(state.pod) for state in states[:_MOST_PODS]),
        pod_count=len(states),
        place=place,
        ahead=ahead,
        turn=above + turn,
        above=above,
        estimate=None if predicted is None else predicted.wait,
        budget_left=shard.deadlines.end_of(item, lane) - now,
    )


def _why(shard: "Shard", group: "Group", ceiling: float) -> str:
    lane = group.lane
    states = lane.candidates.pods
    if not states:
        cause = "the locator names no pods for it" if lane.fault is None else f"the locator failed: {lane.fault}"
        return f"it has no candidates: {cause}"
    if not shard.may_go(group):
        return 'a higher band waits, and hol_scope="pool" lets no other go before it'
    readings = [shard.pods.look(state) for state in states]
    if all(reading >= 1.0 for reading in readings):
        return f"all of its {len(states)} candidates are full"
    if all(reading >= ceiling for reading in readings):
        return f"all of its {len(states)} candidates are fuller than its band may make them"
    return "a candidate has room, and others go before it or the next pass is due"


def _place(item: "Item", queue: "FlowQueue") -> tuple[int, tuple[str, ...]]:
    before = _before(item, queue.queue)
    return len(before) + 1, tuple(_id_of(other.request) for other in nsmallest(_MOST_AHEAD, before, key=_rank))


def _turn_in_band(item: "Item", group: "Group", place: int) -> int:
    if group.is_ranked:
        return 1 + sum(len(_before(item, queue.queue)) for queue in group.flows.values())
    return min(group.waiting, place * len(group.flows))


def _before(item: "Item", others: Iterable[object]) -> "list[Item]":
    mine = _rank(item)
    return [other for other in others if _rank(other) < mine]  # type: ignore[misc] # the engine's queues hold its items


def _rank(item: object) -> tuple[object, int]:
    return item.score, item.arrival  # type: ignore[attr-defined]


def _gate(pods: PodTable, states: Iterable[PodState]) -> float:
    values = [min(1.0, pods.look(state)) for state in states]
    return sum(values) / len(values) if values else 1.0


def _id_of(request: FlowControlRequest) -> str:
    try:
        return request.request_id()
    except Exception:  # a request is a plug-in too
        return _NO_ID


class Recent:
    """How the last requests went: an observer with a bounded memory.

    Args:
        most: How many decisions are kept.
        shard: Called for the state of the engine, when something is decided.
    """

    def __init__(self, most: int, shard: "Callable[[], Shard]") -> None:
        self._kept: deque[Explanation] = deque(maxlen=most)
        self._shard = shard

    def find(self, request_id: str) -> Iterator[Explanation]:
        """Iterate over what is kept of an id, the newest first. O(what is kept)."""
        return (each for each in reversed(self._kept) if each.request_id == request_id)

    def on_dispatched(self, event: Dispatched) -> None:
        """Keep where a request went, and how full that pod is with it."""
        shard, pod = self._shard(), event.ticket.pod
        name = "no pod" if pod is None else pod.name
        self._kept.append(
            Explanation(
                request_id=_id_of(event.request),
                outcome=QueueOutcome.DISPATCHED,
                reason=f"{name} had room {'when its turn came' if event.waited else 'when it arrived'}",
                time=event.time,
                waited=event.queue_wait,
                flow_key=event.flow_key,
                band=_band_name(shard, event.flow_key),
                ceiling=shard.ceilings.of(event.flow_key.priority),
                pods=() if pod is None else (shard.pods.stats(pod),),
                pod_count=0 if pod is None else 1,
                pod=pod,
            )
        )

    def on_dropped(self, event: Dropped) -> None:
        """Keep why a request did not go."""
        shard, key = self._shard(), event.flow_key
        self._kept.append(
            Explanation(
                request_id=_id_of(event.request),
                outcome=event.outcome,
                reason=event.message,
                time=event.time,
                waited=event.queue_wait,
                flow_key=key,
                band="" if key is None else _band_name(shard, key),
                ceiling=None if key is None else shard.ceilings.of(key.priority),
            )
        )


def _band_name(shard: "Shard", key: FlowKey) -> str:
    band = shard.registry.bands.get(key.priority)
    return "" if band is None else band.config.name
