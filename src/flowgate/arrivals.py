"""What becomes of an arrival: it goes at once, it waits, or it is refused."""

import math
from collections.abc import Callable, Mapping, Sequence

import attrs

from flowgate.capacity import Refusal, has_room, judge
from flowgate.contracts import Dropped, FlowControlRequest, FlowKey
from flowgate.forecast import chance_to_miss
from flowgate.items import Item
from flowgate.lanes import FlowQueue, Lane
from flowgate.outcomes import QueueOutcome
from flowgate.registry import Band, Flow
from flowgate.requests import read_request
from flowgate.shard import Shard
from flowgate.ticket import Ticket, TicketOwner

__all__ = ["Arrivals"]


# Slotted and not frozen: one is made for each request.
@attrs.define(eq=False, weakref_slot=False)
class _Arrival:
    """A request that was just read, with the band and lane that it belongs to."""

    request: FlowControlRequest
    flow_key: FlowKey
    byte_size: int
    ttl: float | None
    metadata: Mapping[str, object]
    band: Band
    lane: Lane


class Arrivals:
    """Decides about requests as they come.

    Args:
        shard: The state.
        owner: What tickets report to.
        run_pass: Runs one batch of the dispatch pass.
    """

    __slots__ = ("_count", "_owner", "_run_pass", "_shard")

    def __init__(self, shard: Shard, owner: TicketOwner, run_pass: Callable[[], None]) -> None:
        self._shard = shard
        self._owner = owner
        self._run_pass = run_pass
        self._count = 0

    def submit(self, request: FlowControlRequest, *, is_closing: bool) -> Ticket | Item | Dropped:
        """Take a request; see `ShardProcessor.submit`."""
        shard, reject = self._shard, self._shard.ledger.rejected
        try:
            key, size, ttl, metadata = read_request(request)
        except Exception as error:  # a custom request may raise anything
            return reject(request, None, 0, QueueOutcome.REJECTED_INVALID, f"it has a bad value: {error}", error)
        if is_closing:
            return reject(request, key, size, QueueOutcome.REJECTED_SHUTDOWN, "the controller is closing")
        band = shard.registry.bands.get(key.priority)
        if band is None or band.is_retired:
            band = shard.registry.band(key.priority)
            if band is None:
                return reject(request, key, size, QueueOutcome.REJECTED_INVALID, self._no_band(key.priority))
        now = shard.ledger.now
        if now >= shard.locator.due or now >= shard.detector.due or shard.deadlines.may_be_due(now):
            shard.keep_time(now)
        if shard.has_silent_plugins:
            shard.locator.look_again()
            shard.detector.look_again()
        arrival = _Arrival(request, key, size, ttl, metadata, band, shard.lanes.lane_of(key, metadata, now))
        return self._try_now(arrival) or self._hold(arrival)

    def _hold(self, arrival: _Arrival) -> Ticket | Item | Dropped:
        shard = self._shard
        if arrival.band.is_plain and has_room(shard.registry, arrival.band, arrival.byte_size):
            return self._enqueue(arrival)
        refusal, victims = self._judge(arrival)
        if (refusal is not None or victims) and shard.pending:
            # A pass that is due may make room, or let this very request go: it comes first.
            self._run_pass()
            # A lane of one flow was resolved for others since.
            arrival.lane = shard.lanes.lane_of(arrival.flow_key, arrival.metadata, shard.ledger.now)
            ticket = self._try_now(arrival)
            if ticket is not None:
                return ticket
            refusal, victims = self._judge(arrival)
        if refusal is not None:
            return self._refuse(arrival, refusal)
        for victim in victims:
            shard.evict(victim, QueueOutcome.EVICTED_DISPLACED, _displacement(arrival, victim))
        return self._enqueue(arrival)

    def _judge(self, arrival: _Arrival) -> tuple[Refusal | None, Sequence[Item]]:
        has_pods = bool(arrival.lane.candidates)
        registry, band = self._shard.registry, arrival.band
        refusal, victims = judge(registry, band, arrival.flow_key, arrival.byte_size, has_pods=has_pods)
        if refusal is None and band.config.reject_infeasible is not None:
            refusal = self._infeasible(arrival, band.config.reject_infeasible)
        return refusal, victims

    def _infeasible(self, arrival: _Arrival, certainty: float) -> Refusal | None:
        shard = self._shard
        budget = shard.config.default_ttl if arrival.ttl is None else arrival.ttl
        predicted = shard.forecast(arrival.lane, arrival.band, arrival.flow_key)
        # Whoever is next may wait in any case: its dispatch shows whether pods are still as slow as they were.
        if predicted is None or predicted.turn <= 1 or budget == math.inf:
            return None
        chance = chance_to_miss(predicted, budget)
        if chance < certainty:
            return None
        message = (
            f"it would wait about {predicted.wait:.3g} s and may wait {budget:g} s: {chance:.0%} sure to be in vain, "
            f"and band {arrival.band.priority} refuses at {certainty:.0%}"
        )
        return QueueOutcome.REJECTED_INFEASIBLE, message

    def _refuse(self, arrival: _Arrival, refusal: Refusal) -> Dropped:
        shard, lane = self._shard, arrival.lane
        outcome, message = refusal
        return shard.ledger.rejected(
            arrival.request,
            arrival.flow_key,
            arrival.byte_size,
            outcome,
            message,
            lane.fault,
            shard.retry_after(outcome, lane, arrival.band, arrival.flow_key),
            lane,
        )

    def _try_now(self, arrival: _Arrival) -> Ticket | None:
        """Dispatch an arrival at once, if nothing waits that must go first and a candidate is open."""
        shard, band, lane = self._shard, arrival.band, arrival.lane
        waiting = shard.lanes.waiting
        if waiting:
            if shard.pods.dirty or shard.pending or shard.holds_back:
                return None
            top = lane.top()
            if top is not None and top.band.priority >= band.priority:
                return None
        ceilings = shard.ceilings
        if not ceilings.is_static:
            ceilings.update((lane,), (band.priority,))
        ceiling = ceilings.of(band.priority)
        state = lane.candidates.best(ceiling)
        if shard.detector.changes_by_time:
            shard.plan_reads()
        if state is None or (waiting and shard.pods.dirty):
            return None  # a pod that was read anew may be open to somebody who waits for it
        key, now = arrival.flow_key, shard.ledger.now
        flow = band.flows.get(key.id) or shard.registry.flow(band, key)
        ticket = Ticket(self._owner, arrival.request, flow, lane.candidates.open(ceiling), 0.0, now)
        shard.registry.take_off(flow)
        shard.pods.charge(ticket, state, now)
        shard.ledger.dispatched(ticket, band, key, arrival.byte_size, lane, None)
        if not band.is_memoryless:
            self._charge_idle(arrival, ticket, flow)
        return ticket

    def _charge_idle(self, arrival: _Arrival, ticket: Ticket, flow: Flow) -> None:
        try:
            item = self._new_item(arrival, self._shard.groups.queue_for(arrival.lane, flow))
        except Exception as error:  # a user's queue may raise anything: then nobody is charged
            self._shard.ledger.plugin_failed("queue", flow.band.config.queue_factory, error)
            return
        item.result = ticket
        self._shard.groups.price(item)
        self._shard.groups.tell_charged(item)
        if flow.band.cost_of is not None:
            ticket.book(item)

    def _enqueue(self, arrival: _Arrival) -> Item | Dropped:
        shard, band, lane = self._shard, arrival.band, arrival.lane
        may_go = shard.pods.dirty or shard.pending or shard.holds_back
        flow = band.flows.get(arrival.flow_key.id) or shard.registry.flow(band, arrival.flow_key)
        try:
            item = self._new_item(arrival, shard.groups.queue_for(lane, flow))
            shard.lanes.put(item, shard.ledger.now)
        except Exception as error:  # a user's queue may raise anything
            shard.ledger.plugin_failed("queue", band.config.queue_factory, error)
            message = f"the queue of band {band.priority} does not take it: {error}"
            outcome = QueueOutcome.REJECTED_INVALID
            return shard.ledger.rejected(arrival.request, arrival.flow_key, arrival.byte_size, outcome, message, error)
        shard.registry.enter(item, flow)
        if may_go:
            shard.lanes.offers[lane] = None
        shard.ledger.enqueued(item, lane)
        return item

    def _new_item(self, arrival: _Arrival, queue: FlowQueue) -> Item:
        self._count += 1
        ttl = arrival.ttl
        return Item(
            arrival.request,
            arrival.flow_key,
            arrival.byte_size,
            self._count,
            self._shard.ledger.now,
            self._shard.config.default_ttl if ttl is None else ttl,
            ttl is not None,
            queue,
        )

    def _no_band(self, priority: int) -> str:
        config = self._shard.config
        if config.band(priority) is None:
            return f"priority {priority} is none of the bands {[band.priority for band in config.bands]}"
        return f"priority {priority} would be one band more than max_bands={config.max_bands}, and none is idle"


def _displacement(arrival: _Arrival, victim: Item) -> str:
    band = arrival.band.priority
    if victim.flow_key.priority != band:
        return f"a request of band {band} took its place under the controller's limit"
    return f"a request of flow {arrival.flow_key.id!r}, which is shorter, took its place in band {band}"
