"""The last decisions, kept so that they can be explained later: a ring of small records, written as they are made."""

from collections import deque
from collections.abc import Callable, Iterator

from flowgate.contracts import Dropped, FlowKey
from flowgate.explanation import Explanation
from flowgate.items import Item
from flowgate.lanes import Lane
from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodState, PodStats
from flowgate.registry import Band
from flowgate.requests import id_of
from flowgate.ticket import Ticket

__all__ = ["MOST_PODS", "Recent", "fullness", "lane_name"]

MOST_PODS = 10
"""How many pods an explanation lists."""


def lane_name(lane: Lane) -> str:
    """Return a lane's key as Python writes it; it may be a plug-in's own object."""
    try:
        return repr(lane.key)
    except Exception as error:  # the same
        return f"<{type(lane.key).__name__}, whose repr raised {type(error).__name__}>"


def fullness(pod: PodStats) -> float:
    """Return how full a pod is, to sort by."""
    return pod.saturation


class Recent:
    """What became of the last requests, newest last. It holds neither requests nor tickets.

    The ledger tells it of each request that leaves; nothing is done, nor asked of anybody, for those that are not told.

    Args:
        most: How many are kept.
        ceiling_of: Called with a priority for the ceiling in force.
    """

    __slots__ = ("_arrivals", "_ceiling_of", "_ring")

    def __init__(self, most: int, ceiling_of: Callable[[int], float]) -> None:
        self._ring: deque[Explanation] = deque(maxlen=most)
        self._ceiling_of = ceiling_of
        self._arrivals: dict[Item, int] = {}  # of items that wait

    def resize(self, most: int) -> None:
        """Keep another number, the newest of those that there are."""
        self._ring = deque(self._ring, maxlen=most)

    def find(self, request_id: str) -> Iterator[Explanation]:
        """Iterate over what is known of an id, newest first. O(all that is kept)."""
        return (known for known in reversed(self._ring) if known.request_id == request_id)

    def of(self, ticket: Ticket) -> Explanation | None:
        """Return what is known of a ticket's dispatch; None once that fell out of the ring. O(all that is kept)."""
        first = None if ticket.first is None else ticket.first.pod
        facts = ticket.dispatched_at, ticket.queue_wait, first
        same = self.find(id_of(ticket.request) or "")
        return next((known for known in same if (known.at, known.waited, known.pod) == facts), None)

    def ahead_on_arrival(self, item: Item) -> int | None:
        """Return who was there when a waiting item came; None for one that came before the ring."""
        return self._arrivals.get(item)

    # -- the ledger tells

    def enqueued(self, item: Item, lane: Lane) -> None:
        """Hear that an item began to wait. O(bands of the lane)."""
        own = item.queue.group.band.priority
        self._arrivals[item] = sum(group.waiting for priority, group in lane.groups.items() if priority >= own) - 1

    def dispatched(self, ticket: Ticket, band: Band, key: FlowKey, lane: Lane, item: Item | None) -> None:
        """Hear of a dispatch, before the charged pod's saturation is read again."""
        ahead = None if item is None else self._arrivals.pop(item, None)
        request_id, first = id_of(ticket.request), ticket.first
        if request_id is None or first is None:
            return
        message = "a pod had room, and nobody went before it" if item is None else "its turn came, and a pod had room"
        self._ring.append(
            Explanation(
                request_id=request_id,
                outcome=QueueOutcome.DISPATCHED,
                reason="at-once" if item is None else "in-turn",
                message=message,
                flow=key,
                band=band.config.name,
                lane=lane_name(lane),
                at=ticket.dispatched_at,
                waited=ticket.queue_wait,
                ahead_on_arrival=ahead,
                saturation=first.saturation,
                ceiling=self._ceiling_of(band.priority),
                pods=_open_pods(ticket, first),
                pod_count=sum(map(len, ticket.spare)),
                pod=first.pod,
            )
        )

    def dropped(self, dropped: Dropped, band: Band | None, lane: Lane | None, item: Item | None) -> None:
        """Hear of a refusal, or of an eviction."""
        ahead = None if item is None else self._arrivals.pop(item, None)
        request_id = id_of(dropped.request)
        if request_id is None:
            return
        states = () if lane is None else lane.candidates.pods
        # To look at each of many pods, for each of many requests that leave at once, would be dear.
        pods = tuple(sorted(map(_as_last_read, states), key=fullness)) if len(states) <= MOST_PODS else ()
        self._ring.append(
            Explanation(
                request_id=request_id,
                outcome=dropped.outcome,
                reason=dropped.outcome.value,
                message=dropped.message,
                flow=dropped.flow_key,
                band="" if band is None else band.config.name,
                lane=None if lane is None else lane_name(lane),
                at=dropped.time,
                waited=dropped.queue_wait,
                ahead_on_arrival=ahead,
                saturation=pods[0].saturation if pods else None,
                ceiling=None if band is None else self._ceiling_of(band.priority),
                pods=pods,
                pod_count=len(states),
                retry_after=dropped.retry_after,
            )
        )


def _open_pods(ticket: Ticket, first: PodState) -> tuple[PodStats, ...]:
    pods = [PodStats(first.pod, first.in_flight - 1, first.saturation)]
    for run in ticket.spare:
        for state in run:
            if len(pods) == MOST_PODS:
                return tuple(pods)
            if state is not first:
                pods.append(_as_last_read(state))
    return tuple(pods)


def _as_last_read(state: PodState) -> PodStats:
    return PodStats(state.pod, state.in_flight, state.saturation)
