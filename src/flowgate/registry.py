"""Bands and flows: made on first use, counted as requests come and go, and collected when memory asks for it."""

from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter

import attrs
from sortedcontainers import SortedDict

from flowgate.config import FlowControlConfig, PriorityBandConfig
from flowgate.contracts import FlowKey, InterFlowDispatchPolicy, ItemComparator, QueueItem
from flowgate.items import Item
from flowgate.outcomes import QueueOutcome
from flowgate.policies import adapt_fairness

__all__ = ["Band", "Flow", "Registry"]

_OVERFLOW_ID = "(overflow)"
_SCORE = attrgetter("score")


@attrs.define(eq=False, repr=False, weakref_slot=False)
class Flow:
    """One flow of one band.

    Attributes:
        key: Its name; the overflow flow's is its own, whatever the ids that share it.
        band: The band it is in.
        uses: Waiting items and live tickets.
        shared: In an overflow flow, how many items of each id wait in it; None in all others.
    """

    key: FlowKey
    band: "Band"
    uses: int = 0
    shared: dict[str, int] | None = None

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
        arrivals: Waiting items by arrival, kept only while a global limit may displace them.
        priority: Its priority.
        fairness: Its fairness policy, adapted where it only looks.
        ordering: Its dispatch policy's comparator, which takes an item's score at enqueue.
        comparator: How its items compare: by that score.
        cost_of: What asks its fairness policy for an item's cost; None where it counts requests.
        is_memoryless: Whether its fairness policy need not hear of requests that did not wait.
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
    arrivals: OrderedDict[Item, None] | None = None
    priority: int = attrs.field(init=False)
    fairness: InterFlowDispatchPolicy = attrs.field(init=False)
    ordering: ItemComparator = attrs.field(init=False)
    comparator: ItemComparator = attrs.field(init=False)
    cost_of: Callable[[QueueItem], float] | None = attrs.field(init=False)
    is_memoryless: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.priority = self.config.priority
        self.adopt(self.config)

    def adopt(self, config: PriorityBandConfig) -> None:
        """Take over settings, policies included."""
        self.config = config
        self.fairness = adapt_fairness(config.fairness, config.priority)
        self.cost_of = getattr(self.fairness, "cost_of", None)
        self.is_memoryless = getattr(self.fairness, "memoryless", False) is True
        self.ordering = config.dispatch.comparator
        self.comparator = ItemComparator(self.ordering.score_type, key=_SCORE)

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
        "_tracks_arrivals",
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
        self._tracks_arrivals = False
        self.configure(config)

    def configure(self, config: FlowControlConfig) -> list[Band]:
        """Take over a configuration; return the bands whose policies changed."""
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
        self._track_arrivals(config.max_requests is not None or config.max_bytes is not None)
        self._idle_bands = OrderedDict.fromkeys(
            band for band in self.bands.values() if not (band.is_listed or band.queued or band.in_flight)
        )
        for band in list(self._idle_bands):
            if band.is_retired or len(self.bands) > config.max_bands:
                self._drop_band(band)
        return changed

    def _resettle(self, band: Band, settings: PriorityBandConfig) -> bool:
        was, band.config = band.config, settings
        same = (was.dispatch, was.fairness, was.queue) == (settings.dispatch, settings.fairness, settings.queue)
        if not same:
            band.adopt(settings)
        return not same

    def _track_arrivals(self, tracks: bool) -> None:
        if tracks and not self._tracks_arrivals:
            for band in self.bands.values():
                band.arrivals = OrderedDict()
        elif not tracks:
            for band in self.bands.values():
                band.arrivals = None
        self._tracks_arrivals = tracks

    def list_arrivals(self, items: list[Item]) -> None:
        """Put what waits, sorted by arrival, into the bands' lists."""
        for item in items:
            arrivals = item.queue.flow.band.arrivals
            assert arrivals is not None  # noqa: S101 - configure() has made them
            arrivals[item] = None

    @property
    def tracks_arrivals(self) -> bool:
        """Whether bands keep their items by arrival."""
        return self._tracks_arrivals

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
        if self._tracks_arrivals:
            band.arrivals = OrderedDict()
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
        flow = band.flows.get(key.id)
        if flow is not None:
            return flow
        overflow = band.overflow
        if overflow is not None and overflow.shared and key.id in overflow.shared:
            return overflow  # a flow of its own would overtake what waits there
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

    def _use(self, flow: Flow) -> None:
        if not flow.uses:
            self._idle_flows.pop(flow, None)
        flow.uses += 1

    def _unuse(self, flow: Flow) -> None:
        flow.uses -= 1
        if not flow.uses:
            self._idle_flows[flow] = None

    # -- requests

    def count(self, band: Band | None, outcome: QueueOutcome) -> None:
        """Count an outcome."""
        self.outcomes[outcome] += 1
        if band is not None:
            band.outcomes[outcome] += 1

    def enter(self, item: Item, flow: Flow) -> None:
        """Note that an item waits."""
        band = flow.band
        self._use(flow)
        if flow.shared is not None:
            flow.shared[item.flow_key.id] = flow.shared.get(item.flow_key.id, 0) + 1
        self.queued += 1
        self.queued_bytes += item.byte_size
        band.queued += 1
        band.queued_bytes += item.byte_size
        if band.arrivals is not None:
            band.arrivals[item] = None
        if not band.is_listed:
            self._note_band(band)

    def leave(self, item: Item, flow: Flow) -> None:
        """Note that an item waits no longer."""
        band = flow.band
        self._unuse(flow)
        if flow.shared is not None:
            flow.shared[item.flow_key.id] -= 1
            if not flow.shared[item.flow_key.id]:
                del flow.shared[item.flow_key.id]
        self.queued -= 1
        self.queued_bytes -= item.byte_size
        band.queued -= 1
        band.queued_bytes -= item.byte_size
        if band.arrivals is not None:
            del band.arrivals[item]
        if not band.is_listed:
            self._note_band(band)

    def take_off(self, flow: Flow) -> None:
        """Note that a ticket was given to a flow."""
        self._use(flow)
        flow.band.in_flight += 1
        if not flow.band.is_listed:
            self._note_band(flow.band)

    def land(self, flow: Flow) -> None:
        """Note that a ticket of a flow was released."""
        self._unuse(flow)
        flow.band.in_flight -= 1
        if not flow.band.is_listed:
            self._note_band(flow.band)
