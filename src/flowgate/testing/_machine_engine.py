"""The engine beside a naive model of it: the model keeps lists, scans everything, and believes nothing."""

from collections.abc import Callable, Sequence

from flowgate.config import FlowControlConfig
from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    PassEnded,
    PluginFailed,
    PodLocator,
    PodMetrics,
    Released,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.items import Item
from flowgate.ledger import Event
from flowgate.outcomes import QueueOutcome
from flowgate.processor import ShardProcessor
from flowgate.testing._model import Charge, Model
from flowgate.testing._model_counts import Counts, check_rest, check_tickets, check_work
from flowgate.testing._model_dispatch import check_dispatch
from flowgate.testing._model_drops import check_expiry, check_rejection, check_wait
from flowgate.testing._model_lanes import LaneTurns
from flowgate.testing._model_parts import (
    KeyedSubsetPool,
    MovableRequest,
    RoomGauge,
    Subset,
    SubsetPool,
    TellingSubsetPool,
)
from flowgate.testing._model_room import Room
from flowgate.testing._model_shares import Lags
from flowgate.testing._model_turns import Turns, check_cost
from flowgate.ticket import Ticket

__all__ = ["CheckedEngine"]

_EXPIRED = (QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_NO_PODS)
_MOST_PASSES = 10_000


class CheckedEngine:
    """A `ShardProcessor`, driven as a shell drives it, and checked at every step.

    What it says is replayed, event by event, against the model; after each step all invariants are checked. A test only
    chooses what happens. Whatever is violated is an AssertionError that says so.

    Args:
        config: Where it begins.
        keyed: Whether requests of one subset share a lane; else each flow is a lane of its own.
        telling: Whether the pool then tells which pods come and go, or only that something has changed.
        room: Requests that fill a pod, where the detector is its own.
        detector: Says how full pods are: at any moment, of any pod and load, and the same each time.
        usage_limit: Holds lower bands back. It must answer the same whenever it is asked the same.
        wrap: Makes the locator of the pool of pods; it must announce each change that the pool announces.
    """

    def __init__(
        self,
        config: FlowControlConfig,
        *,
        keyed: bool = True,
        telling: bool = False,
        room: int = 2,
        detector: SaturationDetector | None = None,
        usage_limit: UsageLimitPolicy | None = None,
        wrap: Callable[[SubsetPool], PodLocator] | None = None,
    ) -> None:
        keyed_pool = TellingSubsetPool if telling else KeyedSubsetPool
        self.pool: SubsetPool = keyed_pool() if keyed else SubsetPool()
        locator = self.pool if wrap is None else wrap(self.pool)
        self.gauge: RoomGauge = RoomGauge(room)
        detector = self.gauge if detector is None else detector
        self.model: Model = Model(config, locator, detector, usage_limit)
        self.processor: ShardProcessor = ShardProcessor(
            config, locator=locator, detector=detector, usage_limit=usage_limit
        )
        self.may_fail: set[str] = set()
        """The kinds of plug-ins that a test has let fail; no other may."""
        self._counts = Counts(self.model)
        self._turns = Turns(self.model)
        self._lags = Lags(self.model)
        self._lane_turns = LaneTurns(self.model)
        self._room = Room(self.model, None)
        self._is_exact = True
        self._was_settled = True
        self._replayed: list[Event] = []

    @property
    def waiting(self) -> dict[MovableRequest, Item]:
        """The requests that wait."""
        return self.model.waiting

    @property
    def tickets(self) -> dict[Ticket, Charge]:
        """The tickets that live."""
        return self.model.tickets

    # -- what a test may do

    def submit(self, request: MovableRequest) -> Item | Ticket | Dropped:
        """Submit a request."""
        self._was_settled = not self.processor.pending
        self.model.submitted[request.priority] += 1
        self._room = Room(self.model, request)
        result = self.processor.submit(request, self.model.now)
        self.replay()
        self._room = Room(self.model, None)
        if isinstance(result, Item):
            assert self.waiting.get(request) is result, f"{request} was queued, and does not wait"
        return result

    def cancel(self, request: MovableRequest) -> None:
        """Cancel the caller of a waiting request: its room is free at once."""
        item = self.waiting[request]
        self.processor.cancel(item, self.model.now)
        outcome = item.outcome
        assert outcome is QueueOutcome.EVICTED_CANCELLED, f"{request} was cancelled, and its outcome is {outcome}"
        self.replay()

    def release(self, ticket: Ticket) -> None:
        """Release a ticket, twice for good measure."""
        ticket.release()
        ticket.release()
        self.replay()

    def serve(self) -> None:
        """Release the oldest ticket, if there is one, and dispatch."""
        for ticket in list(self.tickets)[:1]:
            self.release(ticket)
            self.settle()

    def lose(self, ticket: Ticket) -> None:
        """Forget a ticket, as the garbage collector finds it."""
        ticket.is_released = True  # or it would warn when it is collected indeed
        self.processor.lose(ticket)
        self.settle()
        assert ticket not in self.tickets, f"{ticket!r} was lost, and still holds its slot"

    def assign(self, ticket: Ticket, name: str) -> None:
        """Move a ticket's charge to a pod, a candidate or not."""
        pod, charge = self.pool.pod(name), self.tickets[ticket]
        if pod != charge.pod:
            charge.is_overcommitted = pod not in ticket.candidates or self.model.saturation(pod) >= 1.0
            charge.pod, charge.at = pod, self.model.now
        ticket.assign(pod)
        self.replay()

    def settle_cost(self, ticket: Ticket, cost: float) -> None:
        """Say what a ticket's request truly cost."""
        charge = self.tickets[ticket]
        ticket.settle(cost)
        if charge.cost is not None:
            delta, charge.cost = max(1, cost) - charge.cost, max(1, cost)
            self._turns.settled(charge, delta)
        self.replay()

    def set_pods(self, names: Sequence[str]) -> None:
        """Let the pool have these pods, and say so."""
        self.pool.set_names(names)
        self._note_announcement()

    def report(self, name: str, waiting: int, kv_cache_usage: float) -> None:
        """Let a pod say something new of itself."""
        self.pool.set_metrics(name, PodMetrics(waiting, 0, kv_cache_usage, self.model.now))
        self._note_announcement()

    def fail_locator(self, fails: bool) -> None:
        """Let the locator raise, or recover."""
        self.may_fail.add("locator")
        self.pool.set_fails(fails)
        self._note_announcement()

    def set_extra(self, name: str, extra: float) -> None:
        """Let a pod be fuller than flowgate's own load says, and say so."""
        self.gauge.set_extra(name, extra)
        self._note_announcement()

    def fail_detector(self, name: str, fails: bool) -> None:
        """Let the detector answer nonsense for a pod, or recover."""
        self.may_fail.add("detector")
        self.gauge.set_fails(name, fails)
        self._note_announcement()

    def refresh(self, request: MovableRequest, subset: Subset) -> None:
        """Change a waiting request's metadata."""
        request.subset = subset
        self.model.rebudgeted_at = self.model.now  # the lane that it comes to may have spent its budget
        self.processor.refresh(request, self.model.now)
        if self.model.is_keyed:
            self.model.note_regime(request)
        self._note_waiting()  # it may have moved to another lane, which is no event
        self.replay()

    def reconfigure(self, config: FlowControlConfig) -> None:
        """Take over another configuration."""
        self.model.config = config
        self.model.rebudgeted_at = self.model.now
        self.model.most_flows = max(self.model.most_flows, config.max_flows)
        self.processor.reconfigure(config, self.model.now)
        self._turns.restart()
        self._lags.restart()
        self._lane_turns.restart()
        self.replay()

    def close(self) -> None:
        """Shut down: everybody who waits hears of it before the step returns."""
        self.processor.close(self.model.now)
        self.replay()
        assert not self.waiting, f"the engine closed, and {next(iter(self.waiting))} still waits"

    def settle(self) -> None:
        """Run every pass that is due at this moment, as the shell's turns do."""
        for _ in range(_MOST_PASSES):
            if not self.processor.pending:
                return
            self._advance()
        raise AssertionError(f"the engine has run {_MOST_PASSES} passes at {self.model.now:g} s, and wants more")

    def sleep(self, seconds: float, *, late: bool = False) -> None:
        """Let time pass: with a timer that rings at each due time, or with one that rings only at the end."""
        self.settle()
        end = self.model.now + seconds
        self._is_exact = not late
        while not late and self.processor.next_due <= end:
            self.model.now = max(self.model.now, self.processor.next_due)
            self._advance()
            self.settle()
        self.model.now = end
        self._advance()
        self.settle()
        self._is_exact = True

    def finish(self) -> None:
        """Close, and give every slot back: nothing is left."""
        self.settle()
        self.close()
        for ticket in list(self.tickets):
            self.release(ticket)

    def abandon(self) -> None:
        """Give up after a failure: no ticket may warn that it was never released, though it was not replayed."""
        events = *self._replayed, *self.processor.ledger.events
        told = [event.ticket for event in events if isinstance(event, Dispatched | Released)]
        for ticket in [ticket for ticket in (*self.tickets, *told) if isinstance(ticket, Ticket)]:
            ticket.is_released = True

    def _note_announcement(self) -> None:
        check_rest(self.model, self.processor)
        self._note_waiting()

    def _advance(self) -> None:
        self.processor.advance(self.model.now)
        self.replay()
        for request in self.waiting:
            due = self.model.due(request)
            assert due > self.model.now, f"{request} was due at {due:g} s, and still waits at {self.model.now:g} s"

    # -- replaying what the engine says

    def replay(self) -> None:
        """Replay what the engine says has happened, and check every invariant."""
        self._replayed, self.processor.ledger.events = self.processor.ledger.events, []
        self.processor.ledger.finished.clear()
        for event in self._replayed:
            self._replay_one(event)
        stats = self.processor.stats()
        self._counts.check(self.processor, stats)
        check_tickets(self.model, stats)
        check_work(self.model, self.processor)
        check_rest(self.model, self.processor)

    def _note_waiting(self) -> None:
        self._turns.note_waiting()
        self._lags.note_waiting()
        self._lane_turns.note_waiting()

    def _replay_one(self, event: Event) -> None:
        if isinstance(event, Enqueued):
            self._enqueued(event)
        elif isinstance(event, Dispatched):
            self._dispatched(event)
        elif isinstance(event, Dropped):
            self._dropped(event)
        elif isinstance(event, Released):
            self._released(event)
        elif isinstance(event, PassEnded):
            for request in self.waiting:
                self.model.note_regime(request)
        elif isinstance(event, PluginFailed):
            self._plugin_failed(event)

    def _enqueued(self, event: Enqueued) -> None:
        request, item = event.item.request, event.item
        assert isinstance(request, MovableRequest)
        assert isinstance(item, Item)
        model = self.model
        if model.is_keyed:
            has_pods = bool(model.candidates(request))
            assert event.has_pods == has_pods, f"{request} has {'' if has_pods else 'no '}candidates when it is queued"
        self.waiting[request] = item
        check_cost(item)
        if model.is_keyed or len(model.in_flow(request)) == 1:  # else its lane is resolved by the next pass
            model.note_regime(request)
        self._note_waiting()

    def _dispatched(self, event: Dispatched) -> None:
        request, ticket, model = event.request, event.ticket, self.model
        assert isinstance(request, MovableRequest)
        assert isinstance(ticket, Ticket)
        pod = check_dispatch(model, request, event)
        model.note_regime(request)
        flow = event.flow_key if ticket.flow is None else ticket.flow.key
        cost = ticket.cost if ticket.queue is not None else None
        charge = Charge(pod, model.now, model.group(request), flow, cost)
        self._turns.dispatched(request, event, charge)
        if event.waited:
            self._lags.dispatched(request, pod)
            self._lane_turns.dispatched(request, pod)
            del self.waiting[request]
        self.tickets[ticket] = charge
        model.ended[request.priority, QueueOutcome.DISPATCHED] += 1
        self._note_waiting()

    def _released(self, event: Released) -> None:
        ticket = event.ticket
        assert isinstance(ticket, Ticket)
        assert ticket in self.tickets, f"{ticket!r} was released twice"
        held = self.model.now - ticket.dispatched_at
        assert event.held == held, f"{ticket!r} was held for {held:g} s, not {event.held:g}"
        del self.tickets[ticket]

    def _dropped(self, event: Dropped) -> None:
        request, model = event.request, self.model
        assert isinstance(request, MovableRequest)
        check_wait(model, request, event)
        if event.outcome.is_evicted:
            assert request in self.waiting, f"{request} was evicted, and did not wait"
            if event.outcome in _EXPIRED:
                check_expiry(model, request, exact=self._is_exact)
            elif event.outcome is QueueOutcome.EVICTED_DISPLACED:
                self._room.check_victim(request)
            del self.waiting[request]
        else:
            closing = self.processor.is_closing
            check_rejection(model, request, event, settled=self._was_settled, closing=closing)
            if event.outcome not in (QueueOutcome.REJECTED_INVALID, QueueOutcome.REJECTED_SHUTDOWN):
                model.note_regime(request)  # its lane was looked at
        model.ended[request.priority, event.outcome] += 1
        self._note_waiting()

    def _plugin_failed(self, event: PluginFailed) -> None:
        assert event.kind in self.may_fail, f"the {event.kind} {event.name!r} failed: {event.error!r}"
        if event.kind == "fairness policy":
            self._turns.distrust()
            self._lane_turns.distrust()
