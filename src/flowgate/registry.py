"""Bands and flows: made on first use, counted as requests come and go, and collected when memory asks for it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from operator import attrgetter

import attrs
from sortedcontainers import SortedDict

from flowgate.config import FlowControlConfig, PriorityBandConfig, QueueFactory
from flowgate.contracts import FlowKey, InterFlowDispatchPolicy, ItemComparator, QueueItem, SafeQueue
from flowgate.items import Item
from flowgate.newest import Newest
from flowgate.outcomes import QueueOutcome
from flowgate.policies import adapt_fairness
from flowgate.queues import ListQueue, PriorityQueue

__all__ = ["Band", "Flow", "Registry"]

_OVERFLOW_ID = "(overflow)"
_SCORE = attrgetter("score")
_OWN_QUEUES = (ListQueue, PriorityQueue)


@attrs.define(eq=False, repr=False, weakref_slot=False)
class Flow:
    """One flow of one band.

    Attributes:
        key: Its name; the overflow flow's is its own, whatever the ids that share it.
        band: The band it is in.
        uses: Waiting items and live tickets.
        queued: Waiting items.
        queued_bytes: Their bytes.
        shared: In an overflow flow, the items and bytes of each id that waits in it; None in all others.
    """

    key: FlowKey
    band: "Band"
    uses: int = 0
    queued: int = 0
    queued_bytes: int = 0
    shared: dict[str, tuple[int, int]] | None = None

    def __repr__(self) -> str:
        return f"<Flow {self.key}>"


@attrs.define(eq=False, repr=False)
class Band:
    """One priority band: its settings, and what waits in it.

    Attributes:
        config: Its settings.
        is_listed: Whether the configuration lists it; others are made from the template.
        is_retired: Whether it is gone from the configuration, and only serves out what it holds.
        flows: By id.
        overflow: The flow of those ids that found no place.
        queued: Waiting items.
        queued_bytes: Their bytes.
        in_flight: Unreleased tickets.
        outcomes: How often each came.
        newest: Waiting items by arrival, kept only while some may be displaced.
        credit: What it is owed of its guaranteed share, in dispatches.
        is_plain: Whether what fits into the band and the controller may wait, whatever else is known of it.
        priority: Its priority.
        fairness: Its fairness policy, adapted where it only looks.
        ordering: Its dispatch policy's comparator, which takes an item's score at enqueue.
        comparator: How its items compare: by that score.
        cost_of: What asks its fairness policy for an item's cost; None where it counts requests.
        weight_of: What asks its fairness policy for a flow's weight; None where all weigh the same.
        is_memoryless: Whether its fairness policy need not hear of requests that did not wait.
        queue_factory: What makes the queue of one flow.
        has_own_queues: Whether those are flowgate's own, which do as they promise.
        empty_queue: One that stays empty, for flows that wait no longer.
        spare_queues: Some that are empty, of flows that wait no longer: for the next.
    """

    config: PriorityBandConfig
    is_listed: bool
    is_retired: bool = False
    flows: dict[str, Flow] = attrs.Factory(dict[str, Flow])
    overflow: Flow | None = None
    queued: int = 0
    queued_bytes: int = 0
    in_flight: int = 0
    outcomes: dict[QueueOutcome, int] = attrs.Factory(lambda: dict.fromkeys(QueueOutcome, 0))
    newest: Newest | None = None
    credit: float = 0.0
    is_plain: bool = True
    priority: int = attrs.field(init=False)
    fairness: InterFlowDispatchPolicy = attrs.field(init=False)
    ordering: ItemComparator = attrs.field(init=False)
    comparator: ItemComparator = attrs.field(init=False)
    cost_of: Callable[[QueueItem], float] | None = attrs.field(init=False)
    weight_of: Callable[[FlowKey], float] | None = attrs.field(init=False)
    is_memoryless: bool = attrs.field(init=False)
    queue_factory: QueueFactory = attrs.field(init=False)
    has_own_queues: bool = attrs.field(init=False)
    empty_queue: SafeQueue = attrs.field(init=False)
    spare_queues: list[SafeQueue] = attrs.Factory(list[SafeQueue])

    def __attrs_post_init__(self) -> None:
        self.priority = self.config.priority
        self.adopt(self.config)

    def adopt(self, config: PriorityBandConfig) -> None:
        """Take over settings, policies included."""
        self.take(config)
        self.fairness = adapt_fairness(config.fairness, config.priority)
        self.cost_of = getattr(config.fairness, "cost_of", None)
        self.weight_of = getattr(config.fairness, "weight_of", None)
        self.is_memoryless = getattr(self.fairness, "memoryless", False) is True
        self.queue_factory = config.queue_factory
        self.has_own_queues = self.queue_factory in _OWN_QUEUES
        self.ordering = config.dispatch.comparator
        self.comparator = ItemComparator(self.ordering.score_type, key=_SCORE)
        self.spare_queues = []
        self.empty_queue = self.queue_factory(self.comparator) if self.has_own_queues else ListQueue()

    def take(self, config: PriorityBandConfig) -> None:
        """Take over settings; the policies stay."""
        self.config = config
        has_flow_limits = config.max_flow_requests is not None or config.max_flow_bytes is not None
        self.is_plain = config.mode == "queue" and config.reject_infeasible is None and not has_flow_limits

    def __repr__(self) -> str:
        return f"<Band {self.priority}: {self.queued} queued, {self.in_flight} in flight>"


class Registry:
    """All bands and flows of a shard, and the counts at each level.

    Every count is kept as requests come and go, so reading one is O(1). Collection is lazy: it happens when a new flow
    or band finds no place, and costs O(1) for each; an idle registry does nothing.
    """

    __slots__ = (
        "_idle_bands",
        "_idle_flows",
        "bands",
        "config",
        "flow_count",
        "outcomes",
        "queued",
        "queued_bytes",
    )

    def __init__(self, config: FlowControlConfig) -> None:
        self.config: FlowControlConfig = config
        self.bands: SortedDict[int, Band] = SortedDict()
        self.flow_count: int = 0
        self.queued: int = 0
        self.queued_bytes: int = 0
        self.outcomes: dict[QueueOutcome, int] = dict.fromkeys(QueueOutcome, 0)
        self._idle_flows: OrderedDict[Flow, None] = OrderedDict()
        self._idle_bands: OrderedDict[Band, None] = OrderedDict()
        self.configure(config)

    def configure(self, config: FlowControlConfig) -> list[Band]:
        """Take over a configuration; return the bands whose policies changed. `list_items` must follow."""
        self.config = config
        listed = {band.priority: band for band in config.bands}
        changed: list[Band] = []
        for priority, band in list(self.bands.items()):
            settings = listed.get(priority) or config.band(priority)
            band.is_listed = priority in listed
            band.is_retired = settings is None
            if settings is not None and self._resettle(band, settings):
                changed.append(band)
        for priority, settings in listed.items():
            if priority not in self.bands:
                self._add_band(settings, is_listed=True)
        for band in self.bands.values():
            self._list_newest(band)
        self._idle_bands = OrderedDict.fromkeys(
            band for band in self.bands.values() if not (band.is_listed or band.queued or band.in_flight)
        )
        for band in list(self._idle_bands):
            if band.is_retired or len(self.bands) > config.max_bands:
                self._drop_band(band)
        return changed

    def _resettle(self, band: Band, settings: PriorityBandConfig) -> bool:
        was = band.config
        band.take(settings)
        same = (was.dispatch, was.fairness, was.queue) == (settings.dispatch, settings.fairness, settings.queue)
        if not same:
            band.adopt(settings)
        return not same

    def _list_newest(self, band: Band) -> None:
        by_flow = band.config.when_full == "longest-flow"
        is_limited = self.config.max_requests is not None or self.config.max_bytes is not None
        band.newest = Newest(by_flow=by_flow) if by_flow or is_limited else None

    def list_items(self, items: Iterable[Item]) -> None:
        """Put what waits, in order of arrival, into the lists that `configure` has made anew."""
        for item in items:
            flow = item.queue.flow
            if flow.band.newest is not None:
                flow.band.newest.add(item)

    # -- bands

    def band(self, priority: int) -> Band | None:
        """Return the band of a priority, made from the template where that is allowed; None where it is not.

        At `max_bands` the longest idle band that is not listed goes first; when there is none, no band is made.
        """
        band = self.bands.get(priority)
        if band is not None:
            return None if band.is_retired else band
        settings = self.config.band(priority)
        if settings is None:
            return None
        if len(self.bands) >= self.config.max_bands:
            if not self._idle_bands:
                return None
            self._drop_band(next(iter(self._idle_bands)))
        return self._add_band(settings, is_listed=False)

    def _add_band(self, settings: PriorityBandConfig, *, is_listed: bool) -> Band:
        band = Band(settings, is_listed=is_listed)
        self._list_newest(band)
        self.bands[settings.priority] = band
        if not is_listed:
            self._idle_bands[band] = None
        return band

    def _drop_band(self, band: Band) -> None:
        del self.bands[band.priority]
        self._idle_bands.pop(band, None)
        for flow in [*band.flows.values(), *filter(None, [band.overflow])]:
            self._idle_flows.pop(flow, None)
        self.flow_count -= len(band.flows) + (band.overflow is not None)

    def _note_band(self, band: Band) -> None:
        if band.queued or band.in_flight:
            self._idle_bands.pop(band, None)
        elif band.is_retired:
            self._drop_band(band)
        else:
            self._idle_bands[band] = None

    # -- flows

    def flow(self, band: Band, key: FlowKey) -> Flow:
        """Return the flow that serves a key: its own, or at `max_flows` with none idle, the band's overflow flow."""
        flow = band.flows.get(key.id) or self.find(band, key)
        if flow is not None:
            return flow  # also where that is the overflow flow: one of its own would overtake what waits there
        while self.flow_count >= self.config.max_flows:
            if not self._idle_flows:
                return self._overflow(band)
            self._drop_flow(next(iter(self._idle_flows)))
        flow = band.flows[key.id] = Flow(key, band)
        self.flow_count += 1
        self._idle_flows[flow] = None
        return flow

    def _overflow(self, band: Band) -> Flow:
        # One more than max_flows for each band: the bound on flows is max_flows + max_bands.
        if band.overflow is None:
            band.overflow = Flow(FlowKey(_OVERFLOW_ID, band.priority), band, shared={})
            self.flow_count += 1
        return band.overflow

    def _drop_flow(self, flow: Flow) -> None:
        del self._idle_flows[flow]
        self.flow_count -= 1
        if flow is flow.band.overflow:
            flow.band.overflow = None
        else:
            del flow.band.flows[flow.key.id]

    # -- requests

    def count(self, band: Band | None, outcome: QueueOutcome) -> None:
        """Count an outcome."""
        self.outcomes[outcome] += 1
        if band is not None:
            band.outcomes[outcome] += 1

    def enter(self, item: Item, flow: Flow) -> None:
        """Note that an item waits."""
        band, size = flow.band, item.byte_size
        if not flow.uses:
            self._idle_flows.pop(flow, None)
        flow.uses += 1
        self.queued += 1
        self.queued_bytes += size
        band.queued += 1
        band.queued_bytes += size
        flow.queued += 1
        flow.queued_bytes += size
        if flow.shared is not None:
            _share(flow.shared, item, 1)
        if band.newest is not None:
            band.newest.add(item)
        if not band.is_listed:
            self._note_band(band)

    def leave(self, item: Item, flow: Flow) -> None:
        """Note that an item waits no longer."""
        band, size = flow.band, item.byte_size
        flow.uses -= 1
        if not flow.uses:
            self._idle_flows[flow] = None
        self.queued -= 1
        self.queued_bytes -= size
        band.queued -= 1
        band.queued_bytes -= size
        flow.queued -= 1
        flow.queued_bytes -= size
        if not band.queued:
            band.credit = 0.0
        if flow.shared is not None:
            _share(flow.shared, item, -1)
        if band.newest is not None:
            band.newest.remove(item)
        if not band.is_listed:
            self._note_band(band)

    def dispatch(self, item: Item, flow: Flow) -> None:
        """Note that an item waits no longer, and its flow was given a ticket: `take_off` and `leave` in one."""
        band, size = flow.band, item.byte_size
        self.queued -= 1
        self.queued_bytes -= size
        band.queued -= 1
        band.queued_bytes -= size
        band.in_flight += 1
        flow.queued -= 1
        flow.queued_bytes -= size
        if not band.queued:
            band.credit = 0.0
        if flow.shared is not None:
            _share(flow.shared, item, -1)
        if band.newest is not None:
            band.newest.remove(item)

    def backlog(self, band: Band, key: FlowKey) -> tuple[int, int]:
        """Return how many requests of an id wait, and their bytes; an id in the overflow flow counts for itself."""
        flow = self.find(band, key)
        if flow is None:
            return 0, 0
        if flow.shared is not None:
            return flow.shared[key.id]
        return flow.queued, flow.queued_bytes

    def find(self, band: Band, key: FlowKey) -> Flow | None:
        """Return the flow in which requests of an id wait, or may wait; None when it is not known."""
        flow = band.flows.get(key.id)
        overflow = band.overflow
        if flow is None and overflow is not None and overflow.shared and key.id in overflow.shared:
            return overflow
        return flow

    def take_off(self, flow: Flow) -> None:
        """Note that a ticket was given to a flow."""
        if not flow.uses:
            self._idle_flows.pop(flow, None)
        flow.uses += 1
        band = flow.band
        band.in_flight += 1
        if not band.is_listed:
            self._note_band(band)

    def land(self, flow: Flow | None) -> None:
        """Note that a ticket of a flow was released."""
        assert flow is not None  # noqa: S101 - the engine's own tickets have one
        flow.uses -= 1
        if not flow.uses:
            self._idle_flows[flow] = None
        band = flow.band
        band.in_flight -= 1
        if not band.is_listed:
            self._note_band(band)


def _share(shared: dict[str, tuple[int, int]], item: Item, sign: int) -> None:
    name = item.flow_key.id
    count, size = shared.get(name, (0, 0))
    if count + sign:
        shared[name] = count + sign, size + sign * item.byte_size
    else:
        del shared[name]
