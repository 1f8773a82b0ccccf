"""All mutable state of one shard, named in one place, and what its steps have in common."""

from collections.abc import Callable, Sequence
from itertools import chain

from flowgate.ceilings import Ceilings
from flowgate.config import FlowControlConfig
from flowgate.contracts import FlowKey, Pod, PodLocator, SaturationDetector, UsageLimitPolicy
from flowgate.expiry import Deadlines
from flowgate.forecast import Forecast, forecast
from flowgate.groups import Groups
from flowgate.items import Item
from flowgate.lanes import Group, Lane
from flowgate.lanetable import LaneTable
from flowgate.ledger import Ledger
from flowgate.outcomes import QueueOutcome
from flowgate.plugins import Watched
from flowgate.pods import PodTable
from flowgate.recent import Recent
from flowgate.registry import Band, Registry
from flowgate.selection import Selection
from flowgate.shares import Credits

__all__ = ["Shard"]

_WORTH_A_RETRY = frozenset(
    {
        QueueOutcome.REJECTED_CAPACITY,
        QueueOutcome.REJECTED_SHED,
        QueueOutcome.REJECTED_INFEASIBLE,
        QueueOutcome.EVICTED_TTL,
        QueueOutcome.EVICTED_DISPLACED,
    }
)


class Shard:
    """Everything that the steps of a `ShardProcessor` read and write.

    Whatever may open a pod to a request that waits leaves a mark: the pod in `PodTable.dirty`, or its lane in
    `LaneTable.offers` or `stale`, or one of the two flags here. A pass is pending while there are marks and somebody
    waits.

    Args:
        config: Limits, budgets and policies.
        locator: Resolves metadata to pods.
        detector: Says how full a pod is.
        usage_limit: Holds lower bands back; None lets every band fill a pod.
        time: The time in seconds; inside a step it stands still.

    Attributes:
        must_relocate: Whether any lane's candidates may have changed.
        must_follow: Whether pods came or went, which the lanes in which requests wait do not know yet.
        must_reread: Whether any pod's saturation may have changed.
        has_silent_plugins: Whether the locator or the detector can announce nothing.
    """

    def __init__(
        self,
        config: FlowControlConfig,
        locator: PodLocator,
        detector: SaturationDetector,
        usage_limit: UsageLimitPolicy | None,
        time: Callable[[], float],
    ) -> None:
        self.config: FlowControlConfig = config
        self.must_relocate: bool = False
        self.must_follow: bool = False
        self.must_reread: bool = False
        self._planned_reads = 0
        self._retries = 0
        self._time = time
        self._bind_policies(config)
        self.registry: Registry = Registry(config)
        self.ledger: Ledger = Ledger(self.registry)
        failed = self.ledger.plugin_failed
        self.deadlines: Deadlines = Deadlines(config.default_ttl, config.empty_pool_ttl)
        self.locator: Watched = Watched("locator", locator, time, failed, config.poll_interval)
        self.detector: Watched = Watched("detector", detector, time, failed, config.poll_interval)
        self.has_silent_plugins: bool = self.locator.is_silent or self.detector.is_silent
        self.pods: PodTable = PodTable(detector, self.detector)
        self.groups: Groups = Groups(self.registry, time, failed, lambda: self.config.poll_interval)
        self.lanes: LaneTable = LaneTable(
            locator,
            self.locator,
            self.pods,
            self.deadlines,
            self.groups,
            time,
            failed,
            self.ledger.pods_changed,
        )
        self.ceilings: Ceilings = Ceilings(usage_limit, self.pods, failed)
        self.selection: Selection = Selection(self.groups, time, failed)
        self._keep_decisions()
        self._settle_shares()

    @property
    def pending(self) -> bool:
        """Whether a pass is due: something may go that did not."""
        lanes = self.lanes
        if not lanes.waiting:
            return False
        if self.pods.dirty or lanes.offers or lanes.stale:
            return True
        return self.must_relocate or self.must_follow or self.must_reread

    @property
    def next_due(self) -> float:
        """When something is due by time alone, in seconds; infinite while nothing waits."""
        due = self.deadlines.next_due
        return min(due, self.locator.due, self.detector.due) if self.lanes.waiting else due

    @property
    def holds_back(self) -> bool:
        """Whether one waiting request may hold back another that could go."""
        return self.config.hol_scope == "pool" or not self.ceilings.is_static

    def may_go(self, group: Group) -> bool:
        """Return whether a group may be served at all: under ``hol_scope="pool"`` only the highest band that waits."""
        if self.config.hol_scope == "candidates":
            return True
        bands = self.registry.bands
        return group.band.priority == next(priority for priority in reversed(bands) if bands[priority].queued)

    def offer_all(self) -> None:
        """Mark every lane in which requests wait."""
        if len(self.lanes.offers) < len(self.lanes.waiting):  # every offered lane waits
            self.lanes.offers.update(self.lanes.waiting)

    def keep_time(self, now: float) -> None:
        """Evict what has waited too long, and note which plug-ins' answers are out of date."""
        if self.deadlines.next_due <= now:
            for item, lane in self.deadlines.pop_due(now):
                has_pods = bool(lane.candidates)
                outcome = QueueOutcome.EVICTED_TTL if has_pods else QueueOutcome.EVICTED_NO_PODS
                state = "its candidates were full" if has_pods else "it had no candidates"
                waited = now - item.enqueue_time
                self.evict(item, outcome, f"it waited {waited:.3f} s, its budget is spent, and {state}")
        if now >= self.locator.due:
            self.locator.expire()
            self.must_relocate = True
        if now >= self.detector.due:
            self.detector.expire()
            self.must_reread = True
        if not self.lanes.waiting:
            self.must_relocate = self.must_follow = self.must_reread = False

    def evict(self, item: Item, outcome: QueueOutcome, message: str) -> None:
        """Take an item out of its queue without dispatching it, and let its caller know."""
        self.withdraw(item, outcome, message)
        self.ledger.finished.append(item)

    def withdraw(self, item: Item, outcome: QueueOutcome, message: str) -> None:
        """Do the same for an item whose caller is gone."""
        lane, flow = item.queue.group.lane, item.queue.flow
        self.lanes.take(item, self.ledger.now, is_dispatched=False)
        self.registry.leave(item, flow)
        retry_after = self.retry_after(outcome, lane, flow.band, item.flow_key)
        self.ledger.evicted(item, outcome, message, lane.fault, retry_after)
        # Where bands hold each other back, one that left may let others go.
        if not self.ceilings.is_static or (self.config.hol_scope == "pool" and not flow.band.queued):
            self.offer_all()

    def forecast(self, lane: Lane, band: Band, key: FlowKey) -> Forecast | None:
        """Predict the wait of a request that would join a lane now; None when too little is known."""
        shares = self.config.band_shares
        share = 0.0 if shares is None else shares.shares.get(band.priority, 0.0)
        return forecast(lane, band, self.registry.find(band, key), share, self.ledger.now)

    def retry_after(self, outcome: QueueOutcome, lane: Lane, band: Band, key: FlowKey) -> float | None:
        """Say in how many seconds a caller should try again; None when nobody knows, or nothing would be better."""
        if self.config.retry_after is None or outcome not in _WORTH_A_RETRY:
            return None
        predicted = self.forecast(lane, band, key)
        if predicted is None:
            return None
        self._retries += 1
        return self.config.retry_after.seconds(predicted.wait, self._retries)

    def plan_reads(self) -> None:
        """Find out when the detector must be asked again, if it was asked."""
        if self.pods.reads != self._planned_reads:
            self._planned_reads = self.pods.reads
            self.detector.plan()

    def resolve(self, lane: Lane) -> None:
        """Resolve the candidates of a lane that waits; in the lane of one flow, for the request whose turn it is."""
        first = () if lane.is_keyed else (self.selection.item(lane.any_flow()),)
        self.lanes.resolve_waiting(lane, chain(first, lane.items()), self.ledger.now)

    def relocate(self) -> None:
        """Let each lane in which requests wait know its candidates."""
        is_all, self.must_relocate, self.must_follow = self.must_relocate, False, False
        for lane in list(self.lanes.waiting):
            if is_all or not self.lanes.catch_up(lane, self.ledger.now):
                self.resolve(lane)

    def locator_changed(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        """Note that the locator announced a change; the arguments are those of a `PoolCallback`."""
        if pods is None or not self._renew(self.locator, pods) or not self._note_moves(removed, added):
            self.locator.expire()
            self.must_relocate = bool(self.lanes.waiting)

    def detector_changed(self, pods: Sequence[Pod] | None) -> None:
        """Note that the detector announced a change: of these pods' saturation, or of anything."""
        if pods is None or not self._renew(self.detector, pods):
            self.detector.expire()
            self.must_reread = bool(self.lanes.waiting)

    def _renew(self, watched: Watched, pods: Sequence[Pod]) -> bool:
        try:
            for pod in pods:
                self.pods.renew(pod)
        except Exception as error:  # a plug-in may announce anything
            watched.fail(error)
            return False
        return True

    def _note_moves(self, removed: Sequence[Pod], added: Sequence[Pod]) -> bool:
        if not (removed or added):
            return True
        try:
            for pod in removed:
                self.pods.strip(pod)
            self.lanes.log.note(removed, added)
        except Exception as error:  # a plug-in may announce anything
            self.locator.fail(error)
            return False
        self.must_follow = bool(self.lanes.waiting)
        return True

    def reconfigure(self, config: FlowControlConfig) -> None:
        """Take over a configuration: items keep their place by arrival and the TTL that they stated."""
        self._bind_policies(config)  # it may raise, and then nothing has changed
        self.config = config
        changed = self.registry.configure(config)
        self.deadlines.default_ttl = config.default_ttl
        self.deadlines.no_pods_ttl = config.empty_pool_ttl
        self.locator.poll_interval = self.detector.poll_interval = config.poll_interval
        self.lanes.rebuild(changed)
        self._keep_decisions()
        self._settle_shares()
        self.registry.list_items(self.waiting_items())
        for lane in self.lanes.waiting:
            self.deadlines.watch(lane)
        self.offer_all()

    def _keep_decisions(self) -> None:
        most, recent = self.config.explain_last, self.ledger.recent
        if not most:
            self.ledger.recent = None
        elif recent is None:
            self.ledger.recent = Recent(most, self.ceilings.of)
        else:
            recent.resize(most)

    def _settle_shares(self) -> None:
        shares = self.config.band_shares
        self.selection.credits = None if shares is None else Credits(self.registry, shares, self.ceilings)
        for band in self.registry.bands.values():
            band.credit = 0.0

    def _bind_policies(self, config: FlowControlConfig) -> None:
        bands = (*config.bands, *filter(None, [config.default_band]))
        for policy in (policy for band in bands for policy in (band.dispatch, band.fairness)):
            bind = getattr(policy, "bind", None)
            if bind is not None:
                bind(self._time)

    def waiting_items(self) -> list[Item]:
        """Return everything that waits, in order of arrival."""
        items = (item for lane in self.lanes.waiting for item in lane.items())
        return sorted(items, key=lambda item: item.arrival)
