"""The synchronous core: a state machine that gives slots to requests.

Every step takes the time as an argument, changes state, and leaves what happened in `events` and `finished`. No step
awaits, reads a clock, sleeps or starts anything. Whoever drives it (the asynchronous shell, a simulator, a test) calls
`advance` while a pass is `pending` and at `next_due`.

A slot goes to the highest band that has a request waiting for that pod; within the band to the flow that fairness
chooses; within the flow to the request that the dispatch policy chooses. The invariant: after every step, unless a pass
is pending, no pod is open to a band in which a request waits for it. So whatever may open a pod to somebody leaves a
mark: the pod in `PodTable.dirty`, or the lane in `LaneTable.offers` or `stale`. A pass works off the marks.

Steps never nest. One that is called from inside another (a plug-in that releases a ticket, say) is done right after it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, cast

import attrs

from flowgate.capacity import band_shortage, global_shortage, size_limit, victims
from flowgate.ceilings import Ceilings
from flowgate.config import FlowControlConfig
from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    FlowControlRequest,
    FlowKey,
    PassEnded,
    PluginFailed,
    Pod,
    PodLocator,
    PodsChanged,
    Released,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.dispatch import DispatchPass
from flowgate.expiry import Deadlines
from flowgate.items import Item
from flowgate.lanes import FlowQueue, Group, Lane
from flowgate.lanetable import LaneTable
from flowgate.outcomes import QueueOutcome
from flowgate.plugins import Watched, plugin_name
from flowgate.pods import PodState, PodTable
from flowgate.registry import Band, Flow, Registry
from flowgate.requests import read_request
from flowgate.selection import Selection
from flowgate.stats import ControllerStats, band_stats
from flowgate.ticket import ReleaseResult, Ticket, TicketOwner

__all__ = ["Event", "ShardProcessor"]

Event = Enqueued | Dispatched | Dropped | Released | PassEnded | PodsChanged | PluginFailed
_EVENTS = frozenset({Enqueued, Dispatched, Dropped, Released, PassEnded, PodsChanged, PluginFailed})

_P = ParamSpec("_P")


def _step(
    method: "Callable[Concatenate[ShardProcessor, _P], None]",
) -> "Callable[Concatenate[ShardProcessor, _P], None]":
    """Make a method whose last argument is the time a step: one that comes from inside a step is done after it."""

    def step(self: "ShardProcessor", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if self.is_stepping:
            self.deferred.append(lambda: step(self, *args, **kwargs))
            return
        self.begin_step(cast("float", args[-1]))
        try:
            method(self, *args, **kwargs)
        finally:
            self.end_step()

    return cast("Callable[Concatenate[ShardProcessor, _P], None]", wraps(method)(step))


class ShardProcessor:
    """Holds requests, and releases them to pods.

    Args:
        config: Limits, budgets and policies.
        locator: Resolves metadata to pods. It is bound to the processor's time, and subscribed to.
        detector: Says how full a pod is. The same.
        usage_limit: Holds lower bands back; None lets every band fill a pod.
        owner: What tickets report to; None for the processor itself, at the time of its last step.
        clock: The time outside steps, in seconds; None for that of the last step.
        wake: Called when a plug-in announces a change, before anything is done about it; the time for a step may be near.

    Attributes:
        events: What happened since somebody last emptied it, in order.
        hears: The kinds of events that are recorded. Failures of plug-ins always are.
        finished: Items that left the queue since somebody last emptied it, in order; cancelled ones are not among them.
        is_closing: Whether new requests are refused.
        plugin_failures: How often each plug-in failed, by kind and name.
    """

    def __init__(
        self,
        config: FlowControlConfig,
        *,
        locator: PodLocator,
        detector: SaturationDetector,
        usage_limit: UsageLimitPolicy | None = None,
        owner: TicketOwner | None = None,
        clock: Callable[[], float] | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.config = config
        self.events: list[Event] = []
        self.hears: frozenset[type] = _EVENTS
        self.finished: list[Item] = []
        self.is_closing = False
        self.is_stepping = False
        self.deferred: deque[Callable[[], None]] = deque()
        self.plugin_failures: Counter[tuple[str, str]] = Counter()
        self._owner = owner or _SelfOwned(self)
        self._clock = clock
        self._wake = wake
        self._now = 0.0
        self._arrivals = 0
        self._planned_reads = 0
        self._must_relocate = False
        self._must_reread = False
        self._lost: deque[Ticket] = deque()
        self.registry = Registry(config)
        self.deadlines = Deadlines(config.default_ttl, config.empty_pool_ttl)
        self._locator = Watched("locator", locator, self.time, self.plugin_failed, config.poll_interval)
        self._detector = Watched("detector", detector, self.time, self.plugin_failed, config.poll_interval)
        self.pods = PodTable(detector, self._detector)
        self.lanes = LaneTable(
            locator,
            self._locator,
            self.pods,
            self.deadlines,
            self.registry,
            self.time,
            self.plugin_failed,
            self._pods_changed,
        )
        self._ceilings = Ceilings(usage_limit, self.pods, self.plugin_failed)
        self._selection = Selection(self.lanes, self.time, self.plugin_failed)
        self._pass = DispatchPass(
            self.pods,
            self.lanes,
            self._ceilings,
            self._selection,
            send=self._send,
            resolve=self._resolve,
            may_go=self._may_go,
        )
        self._locator.connect(self._locator_announced)
        self._detector.connect(self._detector_announced)

    # -- time and steps

    def time(self) -> float:
        """Return the time in seconds; inside a step it stands still."""
        return self._now if self.is_stepping or self._clock is None else self._clock()

    @property
    def last_time(self) -> float:
        """The time of the last step, in seconds."""
        return self._now

    def begin_step(self, now: float) -> None:
        """Note that a step begins at this time."""
        self.is_stepping = True
        self._now = now

    def end_step(self) -> None:
        """Note that the step is over, and do what came up inside it."""
        self.lanes.trim()
        self.is_stepping = False
        while self.deferred:
            self.deferred.popleft()()

    @property
    def pending(self) -> bool:
        """Whether a pass is due: something may go that did not."""
        lanes = self.lanes
        if self._lost:
            return True
        if not lanes.waiting:
            return False
        return bool(self.pods.dirty or lanes.offers or lanes.stale or self._must_relocate or self._must_reread)

    @property
    def next_due(self) -> float:
        """When `advance` must be called at the latest, in seconds; infinite while nothing waits."""
        due = self.deadlines.next_due
        return min(due, self._locator.due, self._detector.due) if self.lanes.waiting else due

    # -- steps

    def submit(self, request: FlowControlRequest, now: float) -> Ticket | Item | Dropped:
        """Take a request.

        Returns:
            A ticket when it can go at once, an item when it waits, and what was wrong when it was rejected.

        Raises:
            RuntimeError: Called from inside a step.
        """
        if self.is_stepping:
            raise RuntimeError("a request was submitted from inside a step: plug-ins must not submit requests")
        self.begin_step(now)
        try:
            return self._submit(request, now)
        finally:
            self.end_step()

    @_step
    def cancel(self, item: Item, now: float) -> None:
        """Withdraw a waiting item whose caller is gone; nothing happens to one that left already."""
        if item.result is None:
            self._evict(item, QueueOutcome.EVICTED_CANCELLED, "its caller was cancelled", now)

    @_step
    def release(self, ticket: Ticket, result: ReleaseResult, now: float) -> None:
        """Take a ticket's slot back."""
        self._release(ticket, result, now)

    @_step
    def assign(self, ticket: Ticket, pod: Pod, now: float) -> None:
        """Charge a ticket to another pod."""
        self.pods.move(ticket, pod, now)

    @_step
    def advance(self, now: float) -> None:
        """Do what is due: evict what has waited too long, then run one pass of at most `max_dispatch_batch`."""
        while self._lost:
            self._release(self._lost.popleft(), "ignored", now)
        self._keep_time(now)
        if self.pending:
            self._run_pass(now)

    @_step
    def notify(self, now: float) -> None:
        """Note that anything about pods may have changed."""
        self._keep_time(now)
        self._locator_announced(None)
        self._detector_announced(None)

    @_step
    def refresh(self, request: FlowControlRequest, now: float) -> None:
        """Note that the metadata of a request object changed while it waits."""
        band = self.registry.bands.get(request.flow_key().priority)
        if band is not None:
            flows = (band.flows.get(request.flow_key().id), band.overflow)
            for item in list(self.lanes.find(request, [flow for flow in flows if flow is not None])):
                self.lanes.move(item, now)

    @_step
    def reconfigure(self, config: FlowControlConfig, now: float) -> None:
        """Take over a configuration: items keep their place by arrival and the TTL that they stated."""
        tracked = self.registry.tracks_arrivals
        self.config = config
        changed = self.registry.configure(config)
        self.deadlines.default_ttl = config.default_ttl
        self.deadlines.no_pods_ttl = config.empty_pool_ttl
        self._locator.poll_interval = self._detector.poll_interval = config.poll_interval
        self.lanes.rebuild(changed)
        if self.registry.tracks_arrivals and not tracked:
            self.registry.list_arrivals(self._waiting_items())
        for lane in self.lanes.waiting:
            self.deadlines.watch(lane)
        self._offer_all()

    @_step
    def close(self, now: float) -> None:
        """Refuse new requests, and evict what waits."""
        self.is_closing = True
        for item in self._waiting_items():
            self._evict(item, QueueOutcome.EVICTED_SHUTDOWN, "the controller closed", now)
            self.finished.append(item)
        self._locator.disconnect()
        self._detector.disconnect()

    def lose(self, ticket: Ticket) -> None:
        """Note that a ticket was collected unreleased; the next `advance` takes its slot back. Safe in any thread."""
        self._lost.append(ticket)

    def stats(self) -> ControllerStats:
        """Take a snapshot of the counts. O(bands)."""
        registry = self.registry
        return ControllerStats(
            queued_requests=registry.queued,
            queued_bytes=registry.queued_bytes,
            in_flight=self.pods.in_flight,
            overcommitted=self.pods.overcommitted,
            flows=registry.flow_count,
            lanes=len(self.lanes.waiting),
            bands={priority: band_stats(band) for priority, band in registry.bands.items()},
            outcomes=dict(registry.outcomes),
            plugin_failures=dict(self.plugin_failures),
            max_requests=self.config.max_requests,
            max_bytes=self.config.max_bytes,
        )

    # -- arrivals

    def _submit(self, request: FlowControlRequest, now: float) -> Ticket | Item | Dropped:
        try:
            key, size, ttl, metadata = read_request(request)
        except Exception as error:  # a custom request may raise anything
            return self._reject(request, None, 0, QueueOutcome.REJECTED_INVALID, f"it has a bad value: {error}", error)
        if self.is_closing:
            return self._reject(request, key, size, QueueOutcome.REJECTED_SHUTDOWN, "the controller is closing")
        band = self.registry.band(key.priority)
        if band is None:
            return self._reject(request, key, size, QueueOutcome.REJECTED_INVALID, self._no_band(key.priority))
        self._keep_time(now)
        self._locator.look_again()
        self._detector.look_again()
        arrival = _Arrival(request, key, size, ttl, band, self.lanes.lane_of(key, metadata, now))
        ticket = self._try_now(arrival)
        if ticket is not None:
            return ticket
        refusal, displaced = self._judge(arrival)
        if (refusal is not None or displaced) and self.pending:
            # A pass that is due may make room, or let this very request go: it comes first.
            self._run_pass(now)
            arrival.lane = self.lanes.lane_of(key, metadata, now)  # a lane of one flow was resolved for others since
            ticket = self._try_now(arrival)
            if ticket is not None:
                return ticket
            refusal, displaced = self._judge(arrival)
        if refusal is not None:
            return self._reject(request, key, size, *refusal, arrival.lane.fault)
        self._displace(displaced, band, now)
        return self._enqueue(arrival, now)

    def _try_now(self, arrival: "_Arrival") -> Ticket | None:
        """Dispatch an arrival at once, if nothing waits that must go first and a candidate is open."""
        band, lane = arrival.band, arrival.lane
        if self.lanes.waiting:
            if self.pending or self._holds_back:
                return None
            top = lane.top()
            if top is not None and top.band.priority >= band.priority:
                return None
        if not self._ceilings.is_static:
            self._ceilings.update((lane,), (band.priority,))
        ceiling = self._ceilings.of(band.priority)
        state = lane.candidates.best(ceiling)
        self._plan_reads()
        if state is None or (self.lanes.waiting and self.pods.dirty):
            return None  # a pod that was read anew may be open to somebody who waits for it
        flow = self.registry.flow(band, arrival.flow_key)
        ticket = Ticket(self._owner, arrival.request, flow, lane.candidates.open(ceiling), 0.0, self._now)
        self.registry.take_off(flow)
        self._charge(ticket, state, arrival.flow_key, arrival.byte_size, waited=False)
        if not band.is_memoryless:
            self._charge_idle(arrival, ticket, flow)
        return ticket

    @property
    def _holds_back(self) -> bool:
        """Whether one waiting request may hold back another that could go."""
        return self.config.hol_scope == "pool" or not self._ceilings.is_static

    def _charge_idle(self, arrival: "_Arrival", ticket: Ticket, flow: Flow) -> None:
        queue = self.lanes.queue_for(arrival.lane, flow)
        item = self._new_item(arrival, queue)
        item.result = ticket
        self.lanes.tell_charged(queue.group, queue, item)

    def _judge(self, arrival: "_Arrival") -> tuple[tuple[QueueOutcome, str] | None, Sequence[Item]]:
        """Decide about an arrival that cannot go at once: why it may not wait, else whom it pushes out."""
        band, size = arrival.band, arrival.byte_size
        if band.config.mode == "shed":
            return (QueueOutcome.REJECTED_SHED, f"no candidate is open, and band {band.priority} never queues"), ()
        limit = size_limit(self.registry, band)
        if size > limit:
            return (QueueOutcome.REJECTED_TOO_LARGE, f"its {size} bytes exceed the limit of {limit}"), ()
        shortage = band_shortage(band, size)
        if shortage is None:
            shortage = global_shortage(self.registry, size)
            if shortage is None:
                return None, ()
            displaced = victims(self.registry, band, size)
            if displaced is not None:
                return None, displaced
        outcome = QueueOutcome.REJECTED_CAPACITY if arrival.lane.candidates.pods else QueueOutcome.REJECTED_NO_PODS
        return (outcome, shortage), ()

    def _displace(self, victims: Sequence[Item], band: Band, now: float) -> None:
        message = f"a request of band {band.priority} took its place under the controller's limit"
        for victim in victims:
            self._evict(victim, QueueOutcome.EVICTED_DISPLACED, message, now)
            self.finished.append(victim)

    def _enqueue(self, arrival: "_Arrival", now: float) -> Item | Dropped:
        band, lane = arrival.band, arrival.lane
        may_go = self.pending or self._holds_back
        flow = self.registry.flow(band, arrival.flow_key)
        try:
            item = self._new_item(arrival, self.lanes.queue_for(lane, flow))
            self.lanes.score(item)
            self.lanes.put(item)
        except Exception as error:  # a user's queue may raise anything
            self.plugin_failed("queue", band.config.queue_factory, error)
            message = f"the queue of band {band.priority} does not take it: {error}"
            outcome = QueueOutcome.REJECTED_INVALID
            return self._reject(arrival.request, arrival.flow_key, arrival.byte_size, outcome, message, error)
        self.registry.enter(item, flow)
        if may_go:
            self.lanes.offers[lane] = None
        if Enqueued in self.hears:
            self.events.append(Enqueued(now, item, bool(lane.candidates.pods)))
        return item

    def _new_item(self, arrival: "_Arrival", queue: FlowQueue) -> Item:
        self._arrivals += 1
        ttl = arrival.ttl
        return Item(
            arrival.request,
            arrival.flow_key,
            arrival.byte_size,
            self._arrivals,
            self._now,
            self.config.default_ttl if ttl is None else ttl,
            ttl is not None,
            queue,
        )

    def _no_band(self, priority: int) -> str:
        if self.registry.config.band(priority) is None:
            return f"priority {priority} is none of the bands {list(self.registry.bands)}"
        return f"priority {priority} would be one band more than max_bands={self.config.max_bands}, and none is idle"

    # -- ends

    def _reject(
        self,
        request: FlowControlRequest,
        key: FlowKey | None,
        size: int,
        outcome: QueueOutcome,
        message: str,
        cause: BaseException | None = None,
    ) -> Dropped:
        band = None if key is None else self.registry.bands.get(key.priority)
        return self._drop(Dropped(self._now, request, key, size, 0.0, outcome, message, cause), band)

    def _evict(self, item: Item, outcome: QueueOutcome, message: str, now: float) -> None:
        lane, flow = item.queue.group.lane, item.queue.flow
        self.lanes.take(item, is_dispatched=False)
        self.registry.leave(item, flow)
        waited = now - item.enqueue_time
        item.result = self._drop(
            Dropped(now, item.request, item.flow_key, item.byte_size, waited, outcome, message, lane.fault), flow.band
        )
        # Where bands hold each other back, one that left may let others go.
        if not self._ceilings.is_static or (self.config.hol_scope == "pool" and not flow.band.queued):
            self._offer_all()

    def _drop(self, dropped: Dropped, band: Band | None) -> Dropped:
        self.registry.count(band, dropped.outcome)
        if Dropped in self.hears:
            self.events.append(dropped)
        return dropped

    def _release(self, ticket: Ticket, result: ReleaseResult, now: float) -> None:
        self.pods.release(ticket)
        if ticket.flow is not None:
            self.registry.land(ticket.flow)
        if Released in self.hears:
            self.events.append(Released(now, ticket, result, now - ticket.dispatched_at))

    # -- the pass

    def _keep_time(self, now: float) -> None:
        """Evict what has waited too long, and note which plug-ins' answers are out of date."""
        if self.deadlines.next_due <= now:
            for item, lane in self.deadlines.pop_due(now):
                outcome = QueueOutcome.EVICTED_TTL if lane.candidates.pods else QueueOutcome.EVICTED_NO_PODS
                state = "its candidates were full" if lane.candidates.pods else "it had no candidates"
                message = f"it waited {now - item.enqueue_time:.3f} s, its budget is spent, and {state}"
                self._evict(item, outcome, message, now)
                self.finished.append(item)
        if now >= self._locator.due:
            self._locator.expire()
            self._must_relocate = True
        if now >= self._detector.due:
            self._detector.expire()
            self._must_reread = True
        if not self.lanes.waiting:
            self._must_relocate = self._must_reread = False

    def _run_pass(self, now: float) -> None:
        if self._must_relocate:
            self._must_relocate = False
            for lane in list(self.lanes.waiting):
                self._resolve(lane)
        if self._must_reread:
            self._must_reread = False
            self._offer_all()
        went = self._pass.run(self.config.max_dispatch_batch)
        self._plan_reads()
        if PassEnded in self.hears:
            self.events.append(PassEnded(now, went, not self.pending))

    def _send(self, group: Group, state: PodState) -> bool:
        queue = self._selection.flow(group)
        item = self._selection.item(queue)
        flow, lane = queue.flow, group.lane
        if not lane.is_keyed and item is not lane.resolved_for:
            # Since the candidates were resolved, the policy thought of another request: they are not that one's.
            self.lanes.resolve_waiting(lane, (item,), self._now)
            self.lanes.offers[lane] = None
            return False
        spare = lane.candidates.open(self._ceilings.of(group.band.priority))
        ticket = Ticket(self._owner, item.request, flow, spare, self._now - item.enqueue_time, self._now)
        # The ticket counts for the flow before the item counts no longer: in between the band would look idle.
        self.registry.take_off(flow)
        self.lanes.take(item, is_dispatched=True)
        self.registry.leave(item, flow)
        item.result = ticket
        self.finished.append(item)
        self._charge(ticket, state, item.flow_key, item.byte_size, waited=True)
        if not group.band.queued and self.config.hol_scope == "pool":
            self._offer_all()
        return True

    def _charge(self, ticket: Ticket, state: PodState, key: FlowKey, size: int, *, waited: bool) -> None:
        self.pods.charge(ticket, state, self._now)
        assert ticket.flow is not None  # noqa: S101 - the engine's own tickets have one
        self.registry.count(ticket.flow.band, QueueOutcome.DISPATCHED)
        if Dispatched in self.hears:
            wait = ticket.queue_wait
            self.events.append(Dispatched(self._now, ticket.request, key, size, wait, waited, ticket))

    def _resolve(self, lane: Lane) -> None:
        """Resolve a lane's candidates again; in the lane of one flow, for the request whose turn it is."""
        flow = lane.any_flow()
        if flow is not None:
            items = lane.items() if lane.is_keyed else (self._selection.item(flow),)
            self.lanes.resolve_waiting(lane, items, self._now)

    def _may_go(self, group: Group) -> bool:
        if self.config.hol_scope == "candidates":
            return True
        bands = self.registry.bands
        return group.band.priority == next(priority for priority in reversed(bands) if bands[priority].queued)

    def _offer_all(self) -> None:
        self.lanes.offers.update(self.lanes.waiting)

    def _waiting_items(self) -> list[Item]:
        items = (item for lane in self.lanes.waiting for item in lane.items())
        return sorted(items, key=lambda item: item.arrival)

    # -- plug-ins

    def _plan_reads(self) -> None:
        if self.pods.reads != self._planned_reads:
            self._planned_reads = self.pods.reads
            self._detector.plan()

    def _locator_announced(self, pods: Sequence[Pod] | None = None) -> None:
        self._announced()
        if pods is None or not self._renewed(self._locator, pods):
            self._locator.expire()
            self._must_relocate = bool(self.lanes.waiting)

    def _detector_announced(self, pods: Sequence[Pod] | None = None) -> None:
        self._announced()
        if pods is None or not self._renewed(self._detector, pods):
            self._detector.expire()
            self._must_reread = bool(self.lanes.waiting)

    def _renewed(self, watched: Watched, pods: Iterable[Pod]) -> bool:
        try:
            for pod in pods:
                self.pods.renew(pod)
        except Exception as error:  # a plug-in may announce anything
            watched.fail(error)
            return False
        return True

    def _announced(self) -> None:
        if self._wake is not None:
            self._wake()

    def plugin_failed(self, kind: str, plugin: object, error: BaseException) -> None:
        """Note that a plug-in raised, or answered nonsense."""
        name = plugin_name(plugin)
        self.plugin_failures[kind, name] += 1
        self.events.append(PluginFailed(self._now, kind, name, error))

    def _pods_changed(self, lane: Lane) -> None:
        if PodsChanged in self.hears:
            pods = tuple(state.pod for state in lane.candidates.pods)
            self.events.append(PodsChanged(self._now, lane.key, pods, lane.waiting))


# Slotted and not frozen: one is made for each request.
@attrs.define(eq=False, weakref_slot=False)
class _Arrival:
    """A request that was just read, with the band and lane that it belongs to."""

    request: FlowControlRequest
    flow_key: FlowKey
    byte_size: int
    ttl: float | None
    band: Band
    lane: Lane


class _SelfOwned:
    """The owner of tickets where nobody stands around the processor: steps at the time of the last one."""

    def __init__(self, processor: ShardProcessor) -> None:
        self._processor = processor

    def release_ticket(self, ticket: Ticket, result: ReleaseResult) -> None:
        self._processor.release(ticket, result, self._processor.time())

    def assign_ticket(self, ticket: Ticket, pod: Pod) -> None:
        self._processor.assign(ticket, pod, self._processor.time())

    def lose_ticket(self, ticket: Ticket) -> None:
        self._processor.lose(ticket)
