"""The synchronous core: a state machine that gives slots to requests.

Every step takes the time as an argument, changes state, and leaves what happened in `events` and `finished`. No step
awaits, reads a clock, sleeps or starts anything. Whoever drives it (the asynchronous shell, a simulator, a test) calls
`advance` while a pass is `pending` and at `next_due`.

A slot goes to the highest band that has a request waiting for that pod; within the band to the flow that fairness
chooses; within the flow to the request that the dispatch policy chooses. The invariant: after every step, unless a pass
is pending, no pod is open to a band in which a request waits for it. So whatever may open a pod to somebody leaves a
mark (`Shard` names them), and a pass works off the marks.

Steps never nest. One that is called from inside another (a plug-in that releases a ticket, say) is done right after it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, cast

from flowgate.arrivals import Arrivals
from flowgate.config import FlowControlConfig
from flowgate.contracts import (
    Dropped,
    FlowControlRequest,
    Pod,
    PodLocator,
    ReleaseResult,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.dispatch import DispatchPass
from flowgate.explaining import explain, explain_ticket
from flowgate.explanation import Explanation
from flowgate.items import Item
from flowgate.lanes import Group
from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodState
from flowgate.shard import Shard
from flowgate.stats import ControllerStats, band_stats
from flowgate.ticket import Ticket, TicketOwner

if TYPE_CHECKING:
    from flowgate.ledger import Ledger

__all__ = ["ShardProcessor"]

_P = ParamSpec("_P")


def _step(
    method: "Callable[Concatenate[ShardProcessor, _P], None]",
) -> "Callable[Concatenate[ShardProcessor, _P], None]":
    """Make a method whose last argument is the time a step: one that comes from inside a step is done after it."""

    def step(self: "ShardProcessor", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if self.is_stepping:
            self.deferred.append(lambda: step(self, *args, **kwargs))
            return
        self.is_stepping = True
        self.ledger.now = args[-1]  # type: ignore[assignment]
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
        wake: Called when a plug-in announces a change, before anything is done about it: a step may be due soon.

    Attributes:
        shard: All state; whoever drives the processor reads it, and changes nothing.
        ledger: What happened; whoever drives the processor empties its `events` and `finished`.
        is_closing: Whether new requests are refused.
        is_stepping: Whether a step is under way.
        deferred: Steps that came up inside it.
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
        self.is_closing: bool = False
        self.is_stepping: bool = False
        self.deferred: deque[Callable[[], None]] = deque()
        self._owner = owner or _SelfOwned(self)
        self._clock = clock
        self._wake = wake
        self._lost: deque[Ticket] = deque()
        shard = Shard(config, locator, detector, usage_limit, self.time)
        self.shard: Shard = shard
        self.ledger: Ledger = shard.ledger
        self._arrivals = Arrivals(shard, self._owner, self._run_pass)
        self._pass = DispatchPass(
            shard.pods,
            shard.lanes,
            shard.ceilings,
            shard.selection,
            send=self._send,
            resolve=shard.resolve,
            may_go=shard.may_go,
        )
        shard.locator.connect(self._locator_announced, shard.lanes.log.subscribe)
        shard.detector.connect(self._detector_announced)

    # -- time and steps

    def time(self) -> float:
        """Return the time in seconds; inside a step it stands still."""
        return self.last_time if self.is_stepping or self._clock is None else self._clock()

    @property
    def last_time(self) -> float:
        """The time of the last step, in seconds."""
        return self.shard.ledger.now

    def end_step(self) -> None:
        """Note that the step is over, and do what came up inside it."""
        self.is_stepping = False
        while self.deferred:
            self.deferred.popleft()()

    @property
    def pending(self) -> bool:
        """Whether `advance` has something to do now."""
        return bool(self._lost) or self.shard.pending

    @property
    def next_due(self) -> float:
        """When `advance` must be called at the latest, in seconds; infinite while nothing waits."""
        return self.shard.next_due

    @property
    def has_waiting(self) -> bool:
        """Whether any request waits."""
        return bool(self.shard.lanes.waiting)

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
        self.is_stepping = True
        self.ledger.now = now
        try:
            return self._arrivals.submit(request, is_closing=self.is_closing)
        finally:
            self.is_stepping = False
            if self.deferred:
                self.end_step()

    @_step
    def cancel(self, item: Item, now: float) -> None:  # noqa: ARG002 - the step has taken it
        """Withdraw a waiting item whose caller is gone; nothing happens to one that left already."""
        if item.result is None:
            self.shard.withdraw(item, QueueOutcome.EVICTED_CANCELLED, "its caller was cancelled")

    def release(self, ticket: Ticket, result: ReleaseResult, now: float) -> None:
        """Take a ticket's slot back."""
        if self.is_stepping:
            self.deferred.append(lambda: self.release(ticket, result, now))
            return
        ledger, shard = self.ledger, self.shard
        self.is_stepping = True  # as `_step` would, at a third of the price: it happens to each request
        ledger.now = now
        try:
            shard.pods.release(ticket, result, now)
            shard.registry.land(ticket.flow)
            ledger.released(ticket, result)
        finally:
            self.is_stepping = False
            if self.deferred:
                self.end_step()

    @_step
    def assign(self, ticket: Ticket, pod: Pod, now: float) -> None:
        """Charge a ticket to another pod."""
        self.shard.pods.move(ticket, pod, now)

    @_step
    def settle(self, ticket: Ticket, cost: float, now: float) -> None:  # noqa: ARG002 - the same
        """Correct what fairness charged for a ticket's request."""
        self.shard.groups.settle(ticket, cost)

    @_step
    def advance(self, now: float) -> None:
        """Do what is due: evict what has waited too long, then run one pass of at most `max_dispatch_batch`."""
        shard = self.shard
        while self._lost:
            ticket = self._lost.popleft()
            shard.pods.release(ticket, "ignored", now)
            shard.registry.land(ticket.flow)
            shard.ledger.released(ticket, "ignored")
        self.shard.keep_time(now)
        if self.shard.pending:
            self._run_pass()

    @_step
    def notify(self, now: float) -> None:
        """Note that anything about pods may have changed."""
        self.shard.keep_time(now)
        self.shard.locator_changed()
        self.shard.detector_changed(None)

    @_step
    def refresh(self, request: FlowControlRequest, now: float) -> None:
        """Note that the metadata of a request object changed while it waits."""
        key = request.flow_key()
        band = self.shard.registry.bands.get(key.priority)
        if band is not None:
            flows = [flow for flow in (band.flows.get(key.id), band.overflow) if flow is not None]
            for item in list(self.shard.lanes.find(request, flows)):
                self.shard.lanes.move(item, now)

    @_step
    def reconfigure(self, config: FlowControlConfig, now: float) -> None:  # noqa: ARG002 - the same
        """Take over a configuration: items keep their place by arrival and the TTL that they stated."""
        self.shard.reconfigure(config)

    @_step
    def close(self, now: float) -> None:  # noqa: ARG002 - the same
        """Refuse new requests, and evict what waits."""
        self.is_closing = True
        for item in self.shard.waiting_items():
            self.shard.evict(item, QueueOutcome.EVICTED_SHUTDOWN, "the controller closed")
        self.shard.locator.disconnect()
        self.shard.detector.disconnect()

    def lose(self, ticket: Ticket) -> None:
        """Note that a ticket was collected unreleased; the next `advance` takes its slot back. Safe in any thread."""
        self._lost.append(ticket)

    def is_open(self, ticket: Ticket, state: PodState) -> bool:
        """Say whether a pod has room for a ticket's request now; nothing is changed."""
        assert ticket.flow is not None  # noqa: S101 - the engine's own tickets have one
        return self.shard.pods.is_below(state, self.shard.ceilings.of(ticket.flow.band.priority))

    def explain(self, request_id: str, now: float) -> tuple[Explanation, ...]:
        """Say why requests wait, or how they went; nothing is changed."""
        return explain(self.shard, request_id, now)

    def explain_ticket(self, ticket: Ticket) -> Explanation | None:
        """Say why and how a ticket's request went, where that is kept."""
        return explain_ticket(self.shard, ticket)

    def stats(self) -> ControllerStats:
        """Take a snapshot of the counts. O(bands)."""
        shard, registry = self.shard, self.shard.registry
        return ControllerStats(
            queued_requests=registry.queued,
            queued_bytes=registry.queued_bytes,
            in_flight=shard.pods.in_flight,
            overcommitted=shard.pods.overcommitted,
            flows=registry.flow_count,
            lanes=len(shard.lanes.waiting),
            bands={priority: band_stats(band) for priority, band in registry.bands.items()},
            outcomes=dict(registry.outcomes),
            plugin_failures=dict(self.ledger.failures),
            max_requests=shard.config.max_requests,
            max_bytes=shard.config.max_bytes,
        )

    # -- inside steps

    def _run_pass(self) -> None:
        shard, began = self.shard, self.ledger.stopwatch()
        if shard.must_relocate or shard.must_follow:
            shard.relocate()
        if shard.must_reread:
            shard.must_reread = False
            shard.offer_all()
        went = self._pass.run(shard.config.max_dispatch_batch)
        shard.plan_reads()
        self.ledger.pass_ended(went, began, is_complete=not shard.pending)

    def _send(self, group: Group, state: PodState) -> None:
        shard, now = self.shard, self.ledger.now
        queue = shard.selection.flow(group)
        flow, lane = queue.flow, group.lane
        if lane.is_keyed:
            item = shard.selection.item(queue)
        else:
            assert lane.resolved_for is not None  # noqa: S101 - or the lane had no pods
            item = lane.resolved_for
        band = group.band
        spare = lane.candidates.open(shard.ceilings.of(band.priority))
        ticket = Ticket(self._owner, item.request, flow, spare, now - item.enqueue_time, now)
        shard.selection.count(group, state)
        shard.lanes.take(item, now, is_dispatched=True)
        shard.registry.dispatch(item, flow)
        item.result = ticket
        if band.cost_of is not None:
            ticket.book(item)
        self.ledger.finished.append(item)
        shard.pods.charge(ticket, state, now)
        self.ledger.dispatched(ticket, band, item.flow_key, item.byte_size, lane, item)
        if not band.queued and shard.config.hol_scope == "pool":
            shard.offer_all()

    def _locator_announced(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        self._announced()
        self.shard.locator_changed(pods, removed=removed, added=added)

    def _detector_announced(self, pods: Sequence[Pod] | None = None) -> None:
        self._announced()
        self.shard.detector_changed(pods)

    def _announced(self) -> None:
        if self._wake is not None:
            self._wake()


class _SelfOwned:
    """The owner of tickets where nobody stands around the processor: steps at the time of the last one."""

    def __init__(self, processor: ShardProcessor) -> None:
        self._processor = processor

    def release_ticket(self, ticket: Ticket, result: ReleaseResult) -> None:
        self._processor.release(ticket, result, self._processor.time())

    def is_open(self, ticket: Ticket, state: PodState) -> bool:
        return self._processor.is_open(ticket, state)

    def assign_ticket(self, ticket: Ticket, pod: Pod) -> None:
        self._processor.assign(ticket, pod, self._processor.time())

    def explain_ticket(self, ticket: Ticket) -> Explanation | None:
        return self._processor.explain_ticket(ticket)

    def settle_ticket(self, ticket: Ticket, cost: float) -> None:
        self._processor.settle(ticket, cost, self._processor.time())

    def lose_ticket(self, ticket: Ticket) -> None:
        self._processor.lose(ticket)
