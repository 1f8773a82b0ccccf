"""All lanes of a shard: which lane a request waits in, and how items come and go there.

The table resolves candidates, keeps pods and lanes pointing at each other, and tells fairness policies what happens.
It decides nothing about who goes next.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from flowgate.candidates import Candidates
from flowgate.contracts import FlowKey, Pod, PodLocator
from flowgate.expiry import Deadlines
from flowgate.groups import Groups
from flowgate.items import Item
from flowgate.lanes import Lane
from flowgate.meters import DrainMeter
from flowgate.plugins import FailureSink, Watched
from flowgate.pods import PodState, PodTable
from flowgate.poollog import PoolLog
from flowgate.registry import Band, Flow

__all__ = ["LaneTable"]

_IDLE_LANES = 1_024
_SMALL = 16
_FEW = 16
_TRIED = 16
_UNRESOLVED = object()


class PodsChangeSink(Protocol):
    """Hears that a lane's candidates are others than before."""

    def __call__(self, lane: Lane) -> None:
        """Receive the lane, its new candidates in place."""
        ...


class LaneTable:
    """Every lane in which requests wait, and as many idle ones as are worth remembering.

    Attributes:
        waiting: Lanes in which requests wait, longest waiting first.
        stale: Keyless lanes whose head is another one: their candidates must be resolved again.
        offers: Lanes in which a request may wait for a pod that is open: they are a matter for the next pass.
        log: Which pods came and went.
    """

    def __init__(
        self,
        locator: PodLocator,
        watch: Watched,
        pods: PodTable,
        deadlines: Deadlines,
        groups: Groups,
        clock: Callable[[], float],
        on_failure: FailureSink,
        on_pods_changed: PodsChangeSink,
    ) -> None:
        self._locator = locator
        self._watch = watch
        self._pods = pods
        self._deadlines = deadlines
        self._groups = groups
        self._clock = clock
        self._fail = on_failure
        self._on_pods_changed = on_pods_changed
        self._selection_key: Callable[[Mapping[str, object]], object] | None = getattr(locator, "selection_key", None)
        self._lanes: dict[object, Lane] = {}
        self._idle: OrderedDict[Lane, None] = OrderedDict()
        self._cursor = 0
        self._key_fault: BaseException | None = None
        self.waiting: dict[Lane, None] = {}
        self.stale: dict[Lane, None] = {}
        self.offers: dict[Lane, None] = {}
        self.log: PoolLog = PoolLog(locator)

    def __len__(self) -> int:
        return len(self._lanes)

    # -- which lane

    def lane_of(self, flow_key: FlowKey, metadata: Mapping[str, object], now: float) -> Lane:
        """Return the lane of an arrival, its candidates resolved as freshly as the locator allows."""
        try:
            key = flow_key if self._selection_key is None else self._selection_key(metadata)
            lane = self._lanes.get(key)
        except Exception as error:  # a plug-in may raise anything, or answer with what has no hash
            self._watch.fail(error)
            self._key_fault = error
            key = _UNRESOLVED
            lane = self._lanes.get(key)
        if lane is None:
            self._trim()
            lane = Lane(key, self._selection_key is not None, Candidates((), self._pods))
            self._lanes[key] = lane
            self._idle[lane] = None
        if lane.is_keyed:
            is_current = lane.epoch == self._watch.epoch and lane.cursor == self.log.end  # nearly always
            if not is_current and not self.catch_up(lane, now):
                self.resolve(lane, metadata, now)
        elif not lane.waiting:
            self.resolve(lane, metadata, now)
        return lane

    def resolve(self, lane: Lane, metadata: Mapping[str, object], now: float) -> None:
        """Ask the locator for a lane's candidates."""
        is_first = lane.epoch < 0
        lane.epoch = self._watch.epoch
        lane.cursor = self.log.end
        if lane.key is _UNRESOLVED:
            lane.fault = self._key_fault
            return
        try:
            answer = self._locator.locate(metadata)
            if lane.source is not None and answer is lane.source:
                self._watch.plan()
                return
            states = tuple(dict.fromkeys([self._pods.see(pod) for pod in _checked(answer)]))
            lane.source = answer if type(answer) is tuple else None
            lane.fault = None
        except Exception as error:  # a plug-in may raise anything
            self._watch.fail(error)
            states = ()
            lane.source = None
            lane.fault = error
        self._watch.plan()
        if states != lane.candidates.pods:
            self._replace(lane, states, -math.inf if is_first else now)

    def catch_up(self, lane: Lane, now: float) -> bool:
        """Let a lane follow what the locator told of pods that came and went. O(changes since it did so last).

        Returns:
            Whether its candidates are right now; else the locator must be asked for them.
        """
        if lane.epoch != self._watch.epoch or lane.fault is not None:
            return False
        selects = self.log.selects
        changes = self.log.since(lane.cursor, len(lane.candidates) + _FEW)
        if changes is None or selects is None:
            return False
        try:
            changes = [(pod, has_come) for pod, has_come in changes if not has_come or selects(lane.key, pod)]
        except Exception as error:  # a plug-in may raise anything
            self._watch.fail(error)
            return False
        lane.cursor = self.log.end
        had_pods = bool(lane.candidates)
        followed = [self._follow(lane, pod, has_come) for pod, has_come in changes]
        if any(followed):
            lane.source = None
            self._moved(lane, had_pods, now)
        return True

    def _follow(self, lane: Lane, pod: Pod, has_come: bool) -> bool:
        state = self._pods.see(pod) if has_come else self._pods.find(pod)
        if state is None or (state in lane.candidates) is has_come:
            return False
        if has_come:
            self._pods.name((state,))
            lane.candidates.add(state)
            if lane.is_attached:
                state.lanes[lane] = None
        else:
            lane.candidates.discard(state)
            if lane.is_attached:
                del state.lanes[lane]
            for group in lane.groups.values():
                group.served.pop(state, None)
            self._pods.unname((state,))
        return True

    def resolve_waiting(self, lane: Lane, items: Iterable[Item], now: float) -> None:
        """Ask the locator again for a lane in which requests wait, with the metadata of the first that tells it."""
        self.stale.pop(lane, None)
        if lane.key is _UNRESOLVED:
            self._rekey(lane, now)
            return
        for item in islice(items, _TRIED):
            metadata = self._metadata_of(item)
            if metadata is not None:
                if not lane.is_keyed:
                    lane.resolved_for = item
                self.resolve(lane, metadata, now)
                return
        if not lane.is_keyed and lane.candidates:
            # Nobody says where its request may go: it must not hold pods that others wait for.
            lane.source = None
            self._replace(lane, (), now)

    def _metadata_of(self, item: Item) -> Mapping[str, object] | None:
        try:
            return item.request.get_metadata()
        except Exception as error:  # a request is a plug-in too
            self._fail("request", type(item.request), error)
            self._watch.poll()
            return None

    def _replace(self, lane: Lane, states: tuple[PodState, ...], since: float) -> None:
        old = lane.candidates.pods
        self._pods.name(states)
        if lane.is_attached:
            _detach(lane)
            lane.candidates = Candidates(states, self._pods)
            _attach(lane)
        else:
            lane.candidates = Candidates(states, self._pods)
        self._pods.unname(old)
        for group in lane.groups.values():
            group.served = {state: entry for state, entry in group.served.items() if state in lane.candidates}
        self._moved(lane, bool(old), since)

    def _moved(self, lane: Lane, had_pods: bool, since: float) -> None:
        if bool(lane.candidates) is not had_pods:
            lane.regime_since = since
            self._deadlines.watch(lane)
            if lane.waiting and lane.meter is not None:
                self._meter_regime(lane, lane.meter)
        if lane.waiting:
            self.offers[lane] = None
        self._on_pods_changed(lane)

    def _meter_regime(self, lane: Lane, meter: DrainMeter) -> None:
        if lane.candidates:
            meter.restart()
        else:
            meter.stop(self._clock())

    def _rekey(self, lane: Lane, now: float) -> None:
        # A selection_key that fails for one request must hold back no other; one that fails for all must not cost
        # a call for each of them at every poll. So a poll gives up after a few failures, and the next goes on there.
        items = list(lane.items())
        start = self._cursor % len(items)
        self._cursor = 0
        failures = 0
        for place, item in enumerate(items[start:] + items[:start]):
            if not self.move(item, now):
                failures += 1
            if failures == _TRIED:
                self._cursor = start + place + 1
                return

    # -- items

    def put(self, item: Item, now: float) -> None:
        """Let an item wait in its queue. Whatever a user's queue raises passes through, and nothing is counted then."""
        queue = item.queue
        group = queue.group
        lane = group.lane
        waits = bool(queue.waiting)
        self._groups.add(item)
        try:
            is_head = (not waits and group.band.has_own_queues) or queue.queue.peek_head() is item
        except BaseException:
            queue.queue.remove(item)
            queue.waiting -= 1
            raise
        if not group.waiting:
            group.activation += 1
            lane.list_group(group)
        group.waiting += 1
        lane.waiting += 1
        if lane.waiting == 1:
            self._start_waiting(lane, now)
            if not lane.is_keyed:
                lane.resolved_for = item  # as an arrival, just now
        assert lane.meter is not None  # noqa: S101 - made when it began to wait
        lane.meter.came(group.band.priority, now)
        self._deadlines.add(item, lane)
        if not waits:
            group.flows[queue.flow] = queue
        elif is_head and not lane.is_keyed:
            self.stale[lane] = None
        self._groups.tell_added(queue, is_active=waits, is_head=is_head)

    def take(self, item: Item, now: float, *, is_dispatched: bool) -> None:
        """Let an item leave its lane, and tell the fairness policy."""
        queue = item.queue
        group, flow = queue.group, queue.flow
        lane = group.lane
        was_head = queue.waiting == 1 or queue.queue.peek_head() is item
        queue.queue.remove(item)
        queue.waiting -= 1
        group.waiting -= 1
        lane.waiting -= 1
        self._deadlines.discard(item, lane)
        if not queue.waiting:
            del group.flows[flow]
        elif not lane.is_keyed and (was_head or item is lane.resolved_for):
            self.stale[lane] = None
        if item is lane.resolved_for:
            lane.resolved_for = None
        if is_dispatched and lane.meter is not None:
            lane.meter.went(now)
        self._groups.tell_removed(item, is_dispatched=is_dispatched, was_head=was_head)
        if not queue.waiting:
            self._groups.retire(queue)
        if not lane.waiting:
            self._stop_waiting(lane, now)

    def move(self, item: Item, now: float) -> bool:
        """Let an item wait where its metadata, as it is now, says; it keeps arrival and deadline.

        Returns:
            Whether its lane could be found.
        """
        lane = item.queue.group.lane
        metadata = self._metadata_of(item)
        if metadata is None:
            return False
        target = self.lane_of(item.flow_key, metadata, now)
        if target is not lane:
            queue = self._groups.queue_for(target, item.queue.flow)
            self.take(item, now, is_dispatched=False)
            item.queue = queue
            self.put(item, now)
            self.offers[target] = None
        elif not lane.is_keyed:
            self.stale[lane] = None
        return target.key is not _UNRESOLVED

    def find(self, request: object, flows: Iterable[Flow]) -> Iterator[Item]:
        """Iterate over the waiting items of one request object, which must be among these flows. O(lanes + items)."""
        for lane in list(self.waiting):
            for flow in flows:
                group = lane.groups.get(flow.band.priority)
                queue = group and group.flows.get(flow)
                for item in list(queue.queue) if queue else ():
                    if item.request is request and isinstance(item, Item):
                        yield item

    # -- lanes

    def rebuild(self, bands: Sequence[Band]) -> None:
        """Let every item of these bands be ordered by their policies, which are others than before."""
        for lane in self._lanes.values():
            for band in bands:
                self._groups.rebuild(lane, band)
            if lane.waiting and not lane.is_keyed:
                self.stale[lane] = None  # its head may be another one

    def _start_waiting(self, lane: Lane, now: float) -> None:
        self._idle.pop(lane, None)
        self.waiting[lane] = None
        if not lane.is_attached:
            _attach(lane)
        if lane.meter is None:
            lane.meter = DrainMeter(self._pods.pace)
        if lane.candidates:
            lane.meter.start(now)

    def _stop_waiting(self, lane: Lane, now: float) -> None:
        del self.waiting[lane]
        assert lane.meter is not None  # noqa: S101 - made when it began to wait
        lane.meter.stop(now)
        lane.resolved_for = None
        self.stale.pop(lane, None)
        self.offers.pop(lane, None)
        self._idle[lane] = None
        # A lane of many pods stays attached: coming and going once for each request would cost O(pods) each time.
        if len(lane.candidates) <= _SMALL:
            _detach(lane)

    def _trim(self) -> None:
        # Only before a lane is made: whoever holds an idle lane during a step must not lose it.
        while len(self._idle) > _IDLE_LANES:
            lane, _ = self._idle.popitem(last=False)
            del self._lanes[lane.key]
            if lane.is_attached:
                _detach(lane)
            self._pods.unname(lane.candidates.pods)


def _attach(lane: Lane) -> None:
    lane.is_attached = True
    for state in lane.candidates.pods:
        state.lanes[lane] = None


def _detach(lane: Lane) -> None:
    lane.is_attached = False
    for state in lane.candidates.pods:
        del state.lanes[lane]


def _checked(answer: Sequence[Pod]) -> Sequence[Pod]:
    if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
        raise TypeError(f"locate() must answer with a sequence of pods, not with {answer!r}")
    return answer
