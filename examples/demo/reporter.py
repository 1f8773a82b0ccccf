"""Finds what is worth a sentence in the pictures and decisions, and writes it into the journal."""

from collections import Counter

from examples.demo.calls import CALLS
from examples.demo.decisions import Decision
from examples.demo.feed import Picture
from examples.demo.journal import Journal
from examples.demo.settings import BANDS, SLOTS
from flowgate import QueueOutcome

__all__ = ["Reporter"]

MILLISECONDS = 1_000


class Reporter:
    """Tells of what happens for the first time.

    Args:
        journal: Where it writes.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._has_held = False
        self._busy: set[int] = set()
        self._cleared: set[int] = set()
        self._told: set[QueueOutcome] = set()
        self._first: dict[str, list[Decision]] = {}

    def saw(self, picture: Picture) -> None:
        """Look at a picture."""
        if picture.queued and not picture.pods and not self._has_held:
            self._has_held = True
            self._journal.note("the first requests arrive, and there are no pods: they are held")
        for priority, name in BANDS.items():
            if picture.waiting_in(priority):
                self._busy.add(priority)
            elif priority in self._busy - self._cleared and picture.pods:
                self._cleared.add(priority)
                self._journal.note(f"no {name} request waits any more")

    def heard(self, decision: Decision) -> None:
        """Hear of a decision."""
        if decision.pod:
            self._note_pod(decision)
        elif decision.outcome not in self._told:
            self._told.add(decision.outcome)
            self._note_dropped(decision)

    def _note_pod(self, decision: Decision) -> None:
        """Tell what a new pod got first: as many requests as it has slots."""
        first = self._first.setdefault(decision.pod, [])
        if len(first) == SLOTS:
            return
        first.append(decision)
        if len(first) == SLOTS:
            counts = Counter(each.priority for each in first)
            bands = ", ".join(f"{counts[priority]} {name}" for priority, name in BANDS.items() if counts[priority])
            within = (first[-1].left_at - first[0].left_at) * MILLISECONDS
            self._journal.note(f"{decision.pod} gets its first {SLOTS} requests within {within:.0f} ms: {bands}")

    def _note_dropped(self, decision: Decision) -> None:
        wait = f"after {decision.queue_wait:.2f} s"
        if decision.outcome is QueueOutcome.EVICTED_CANCELLED:
            self._journal.note(f"a client hangs up {wait}: its place is free at once")
            return
        call = CALLS.get(decision.request_id)
        limit = "" if call is None or call.ttl is None else f" of the {call.ttl:.2f} s that it gave us"
        self._journal.note(f"a request leaves with {decision.status} {decision.reason} {wait}{limit}")
