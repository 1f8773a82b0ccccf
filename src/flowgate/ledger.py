"""What happened: outcomes are counted, and events recorded for whoever drives the engine."""

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    FlowControlRequest,
    FlowKey,
    PassEnded,
    PluginFailed,
    PodsChanged,
    Released,
    ReleaseResult,
)
from flowgate.items import Item
from flowgate.lanes import Lane
from flowgate.outcomes import QueueOutcome
from flowgate.plugins import plugin_name
from flowgate.registry import Band, Registry
from flowgate.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowgate.recent import Recent

__all__ = ["Event", "Ledger"]

_DISPATCHED = QueueOutcome.DISPATCHED
# Makes an event of all its fields, twice for each request. A named tuple's own constructor is a function in Python, and
# takes 2.5 times as long.
_event = cast("Callable[[type, tuple[object, ...]], Any]", cast("Any", tuple).__new__)

Event = Enqueued | Dispatched | Dropped | Released | PassEnded | PodsChanged | PluginFailed
_EVENTS = frozenset({Enqueued, Dispatched, Dropped, Released, PassEnded, PodsChanged, PluginFailed})


def _stopped() -> float:
    return 0.0


class Ledger:
    """The record of a shard. Each method notes one event; what nobody hears is only counted.

    Attributes:
        events: What happened since somebody last emptied it, in order.
        hears: The kinds of events that are recorded. Failures of plug-ins always are.
        finished: Items that left the queue since somebody last emptied it, in order; cancelled ones are not among them.
        failures: How often each plug-in failed, by kind and name.
        now: The time of the step in which things happen, in seconds.
        stopwatch: Measures passes, in seconds; nothing is decided by it. By itself it stands still.
        recent: The last decisions, where they are kept; it hears only of kinds of events that are recorded.
    """

    __slots__ = ("_registry", "events", "failures", "finished", "hears", "now", "recent", "stopwatch")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.events: list[Event] = []
        self.hears: frozenset[type] = _EVENTS
        self.finished: list[Item] = []
        self.failures: Counter[tuple[str, str]] = Counter()
        self.now: float = 0.0
        self.stopwatch: Callable[[], float] = _stopped
        self.recent: Recent | None = None

    def enqueued(self, item: Item, lane: Lane) -> None:
        """Note that an item was committed to its queue."""
        if Enqueued in self.hears:
            if self.recent is not None:
                self.recent.enqueued(item, lane)
            self.events.append(_event(Enqueued, (self.now, item, bool(lane.candidates))))

    def dispatched(self, ticket: Ticket, band: Band, key: FlowKey, size: int, lane: Lane, item: Item | None) -> None:
        """Note that a request went, with its ticket: the item that waited for it, or None."""
        self._registry.outcomes[_DISPATCHED] += 1
        band.outcomes[_DISPATCHED] += 1
        if Dispatched in self.hears:
            if self.recent is not None:
                self.recent.dispatched(ticket, band, key, lane, item)
            fields = (self.now, ticket.request, key, size, ticket.queue_wait, item is not None, ticket)
            self.events.append(_event(Dispatched, fields))

    def rejected(
        self,
        request: FlowControlRequest,
        key: FlowKey | None,
        size: int,
        outcome: QueueOutcome,
        message: str,
        cause: BaseException | None = None,
        retry_after: float | None = None,
        lane: Lane | None = None,
    ) -> Dropped:
        """Note that a request was refused."""
        band = None if key is None else self._registry.bands.get(key.priority)
        dropped = Dropped(self.now, request, key, size, 0.0, outcome, message, cause, retry_after)
        return self._drop(dropped, band, lane)

    def evicted(
        self,
        item: Item,
        outcome: QueueOutcome,
        message: str,
        cause: BaseException | None,
        retry_after: float | None = None,
    ) -> None:
        """Note that an item left without being dispatched."""
        waited = self.now - item.enqueue_time
        item.result = self._drop(
            Dropped(
                self.now, item.request, item.flow_key, item.byte_size, waited, outcome, message, cause, retry_after
            ),
            item.queue.flow.band,
            item.queue.group.lane,
            item,
        )

    def _drop(self, dropped: Dropped, band: Band | None, lane: Lane | None, item: Item | None = None) -> Dropped:
        self._registry.count(band, dropped.outcome)
        if Dropped in self.hears:
            if self.recent is not None:
                self.recent.dropped(dropped, band, lane, item)
            self.events.append(dropped)
        return dropped

    def released(self, ticket: Ticket, result: ReleaseResult) -> None:
        """Note that a ticket gave its slot back."""
        if Released in self.hears:
            now = self.now
            self.events.append(_event(Released, (now, ticket, result, now - ticket.dispatched_at)))

    def pass_ended(self, dispatched: int, began: float, *, is_complete: bool) -> None:
        """Note that a pass ran, which began at this time of the stopwatch."""
        if PassEnded in self.hears:
            self.events.append(PassEnded(self.now, dispatched, is_complete, self.stopwatch() - began))

    def pods_changed(self, lane: Lane) -> None:
        """Note that a lane has other candidates than before."""
        if PodsChanged in self.hears:
            pods = tuple(state.pod for state in lane.candidates.pods)
            self.events.append(PodsChanged(self.now, lane.key, pods, lane.waiting))

    def plugin_failed(self, kind: str, plugin: object, error: BaseException) -> None:
        """Note that a plug-in raised, or answered nonsense."""
        name = plugin_name(plugin)
        self.failures[kind, name] += 1
        self.events.append(PluginFailed(self.now, kind, name, error))
