"""The accounting: an observer that counts every event of the controller.

It hears what happens, and keeps its own books; nothing here asks the engine for its counts. So the checks at the end
compare two books that were kept apart.
"""

from collections import Counter, defaultdict

from examples.demo.journal import Journal
from examples.demo.settings import BANDS, STANDARD
from flowgate import FlowKey, Pod, QueueOutcome
from flowgate.admission import http_response
from flowgate.contracts import Dispatched, Dropped, Enqueued, Observer, PassEnded, PodsChanged, Released

__all__ = ["Ledger"]

FIRST_TURNS = 24


class Ledger(Observer):
    """Counts what waits, what went on where, and how the rest ended.

    Args:
        journal: Told of what happens for the first time.

    Attributes:
        waiting: Requests that wait, by flow.
        in_flight: Unreleased tickets, by pod name.
        most_in_flight: The most there ever were.
        waits: Seconds in the queue of each request that went on, by flow.
        outcomes: How many requests ended in each way.
        first_arrival: When the first request was queued, in seconds of the loop's clock.
        first_dispatch: When the first one went on.
        inversions: Dispatches while a request of a higher band waited: there must be none.
        lateness: How many seconds after its own TTL each impatient request left.
        first_turns: The tenants of the first standard requests that went on.
        backlog_then: How many standard requests each tenant had waiting as the first of them went on.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pods_are_new = False
        self._cleared: set[int] = set()
        self._in_pass: Counter[int] = Counter()
        self.waiting: Counter[FlowKey] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight: Counter[str] = Counter()
        self.waits: defaultdict[FlowKey, list[float]] = defaultdict(list)
        self.outcomes: Counter[QueueOutcome] = Counter()
        self.first_arrival: float | None = None
        self.first_dispatch: float | None = None
        self.inversions = 0
        self.lateness: list[float] = []
        self.first_turns: list[str] = []
        self.backlog_then: dict[str, int] = {}

    def on_enqueued(self, event: Enqueued) -> None:
        """Count a request that waits."""
        self.waiting[event.item.flow_key] += 1
        if self.first_arrival is None:
            self.first_arrival = event.time
            self._journal.note("the first request arrives, and there are no pods: it is held")

    def on_dispatched(self, event: Dispatched) -> None:
        """Count a request that goes on, and the slot that it takes."""
        key = event.flow_key
        self.inversions += self._waits_above(key.priority)
        if key.priority == STANDARD and len(self.first_turns) < FIRST_TURNS:
            self.backlog_then = self.backlog_then or self.backlog(STANDARD)
            self.first_turns.append(key.id)
        self.waiting[key] -= event.waited
        self.waits[key].append(event.queue_wait)
        self.outcomes[QueueOutcome.DISPATCHED] += 1
        self._in_pass[key.priority] += 1
        self._take_slot(event.ticket.pod)
        if self.first_dispatch is None:
            self.first_dispatch = event.time
        if self.waiting_in(key.priority) == 0 and key.priority not in self._cleared:
            self._cleared.add(key.priority)
            self._journal.note(f"no {BANDS[key.priority]} request waits any more")

    def on_dropped(self, event: Dropped) -> None:
        """Count a request that ends in any other way."""
        if event.outcome.is_evicted and event.flow_key is not None:
            self.waiting[event.flow_key] -= 1
        if event.outcome not in self.outcomes:
            self._note_first(event)
        self.outcomes[event.outcome] += 1
        ttl = event.request.initial_effective_ttl()
        if ttl is not None and event.outcome in {QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_NO_PODS}:
            self.lateness.append(event.queue_wait - ttl)

    def on_released(self, event: Released) -> None:
        """Count a slot that is given back."""
        if event.ticket.pod is not None:
            self.in_flight[event.ticket.pod.name] -= 1

    def on_pods_changed(self, event: PodsChanged) -> None:
        """Remember that the next pass is the first with these pods."""
        self._pods_are_new = bool(event.pods)

    def on_pass(self, event: PassEnded) -> None:
        """Tell what the first pass with new pods let go."""
        if self._pods_are_new and event.dispatched:
            bands = ", ".join(f"{count} {BANDS[priority]}" for priority, count in sorted(self._in_pass.items())[::-1])
            self._journal.note(f"at once {event.dispatched} go on: {bands}")
            self._pods_are_new = False
        self._in_pass.clear()

    def waiting_in(self, priority: int) -> int:
        """Return how many requests of a band wait."""
        return sum(count for key, count in self.waiting.items() if key.priority == priority)

    def backlog(self, priority: int) -> dict[str, int]:
        """Return how many requests of a band wait, by tenant."""
        return {key.id: count for key, count in sorted(self.waiting.items(), key=str) if key.priority == priority}

    def _waits_above(self, priority: int) -> bool:
        return any(count and key.priority > priority for key, count in self.waiting.items())

    def _take_slot(self, pod: Pod | None) -> None:
        if pod is not None:
            self.in_flight[pod.name] += 1
            self.most_in_flight[pod.name] = max(self.most_in_flight[pod.name], self.in_flight[pod.name])

    def _note_first(self, event: Dropped) -> None:
        if event.outcome is QueueOutcome.EVICTED_CANCELLED:
            self._journal.note(f"a client hangs up after {event.queue_wait:.2f} s: its place is free at once")
            return
        said = http_response(event.outcome)
        ttl = event.request.initial_effective_ttl()
        limit = "" if ttl is None else f" of the {ttl:.2f} s that it gave us"
        self._journal.note(f"a request leaves with {said.status} {said.reason} after {event.queue_wait:.2f} s{limit}")
