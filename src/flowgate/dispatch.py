"""The dispatch pass: works off what is marked, until no pod is open to a band in which a request waits for it."""

import heapq
from collections.abc import Callable

from flowgate.ceilings import Ceilings
from flowgate.lanes import Group, Lane
from flowgate.lanetable import LaneTable
from flowgate.pods import PodState, PodTable
from flowgate.selection import Selection

__all__ = ["DispatchPass"]

_IN_VAIN = 2


class DispatchPass:
    """Gives away every slot that may be given, least saturated pod first.

    Two kinds of marks say where a slot may be given. A *dirty* pod changed while somebody waits for it. An *offered*
    lane may name an open pod that nobody marked: something was queued in it, or its candidates are others. All open
    pods of a lane that is not offered are dirty, so taking the least saturated of the marked pods gives every request
    the best candidate that it has.

    Args:
        pods: The pods, with those that are dirty.
        lanes: The lanes, with those that are offered.
        ceilings: How full a band may make a pod.
        selection: Who goes next.
        send: Dispatches the next request of a group to a pod, and charges it.
        resolve: Resolves a lane's candidates again.
        may_go: Whether a group may be served at all now.
    """

    __slots__ = ("_ceilings", "_heap", "_lanes", "_may_go", "_pods", "_resolve", "_selection", "_send")

    def __init__(
        self,
        pods: PodTable,
        lanes: LaneTable,
        ceilings: Ceilings,
        selection: Selection,
        *,
        send: Callable[[Group, PodState], None],
        resolve: Callable[[Lane], None],
        may_go: Callable[[Group], bool],
    ) -> None:
        self._pods = pods
        self._lanes = lanes
        self._ceilings = ceilings
        self._selection = selection
        self._send = send
        self._resolve = resolve
        self._may_go = may_go
        self._heap: list[tuple[float, int, int, PodState]] = []

    def run(self, most: int) -> int:
        """Dispatch until nothing more can go, or `most` requests went; return how many did."""
        if self._ceilings.is_static:
            return self._run_once(most)
        went = fruitless = 0
        # Ceilings that move are computed again when nothing more can go: what went, or was resolved, may let more go.
        # A policy that answers differently each time is asked twice in vain at most.
        while went < most and fruitless < _IN_VAIN:
            changed = self._ceilings.update(self._lanes.waiting, self._waiting_priorities())
            if fruitless and not changed:
                break
            self._lanes.offers.update(self._lanes.waiting)
            sent = self._run_once(most - went)
            went += sent
            fruitless = 0 if sent else fruitless + 1
        return went

    def _run_once(self, most: int) -> int:
        went = 0
        self._mark_offers()
        while went < most:
            state = self._next_pod()
            if state is None:
                if not self._mark_offers():
                    break
            elif self._serve(state):
                went += 1
        self._pods.dirty.update((entry[3], None) for entry in self._heap)
        self._heap.clear()
        return went

    def _waiting_priorities(self) -> set[int]:
        return {priority for lane in self._lanes.waiting for priority, group in lane.groups.items() if group.waiting}

    def _mark_offers(self) -> bool:
        """Mark the best open pod of each offered lane; a lane without one is offered no longer."""
        offers = self._lanes.offers
        for lane in list(offers):
            best = self._best_of(lane)
            if best is None:
                offers.pop(lane, None)
            else:
                self._pods.dirty[best] = None
        return bool(self._pods.dirty)

    def _best_of(self, lane: Lane) -> PodState | None:
        group = lane.top()
        if group is None or not self._may_go(group):
            return None
        return lane.candidates.best(self._ceilings.of(group.band.priority))

    def _next_pod(self) -> PodState | None:
        if self._lanes.stale:
            for lane in list(self._lanes.stale):
                self._resolve(lane)
            self._mark_offers()
        dirty, heap = self._pods.dirty, self._heap
        while dirty:
            state, _ = dirty.popitem()
            saturation = self._pods.read(state)
            dirty.pop(state, None)  # the reading itself may have marked it
            if saturation < 1.0:
                if not (dirty or heap):
                    return state  # the only one
                heapq.heappush(heap, (saturation, len(state.lanes), state.serial, state))
        while heap:
            saturation, _, _, state = heapq.heappop(heap)
            if saturation == self._pods.read(state):  # else a later entry stands for it
                return state
        return None

    def _serve(self, state: PodState) -> bool:
        """Give one slot of a pod away, if somebody may have it."""
        group = self._selection.group(state)
        if group is None or not self._may_go(group):
            return False
        if state.saturation >= self._ceilings.of(group.band.priority):
            return False
        if group.lane in self._lanes.offers and len(group.lane.candidates) > 1:
            best = self._best_of(group.lane)
            if best is not None and best is not state and best.saturation < state.saturation:
                self._pods.dirty[best] = None
                self._pods.dirty[state] = None
                return False
        self._send(group, state)
        return True
