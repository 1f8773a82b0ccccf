"""What happened, for a test to look at afterwards."""

from typing import TypeVar

from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    Observer,
    PassEnded,
    PluginFailed,
    PodsChanged,
    Released,
)
from flowgate.outcomes import QueueOutcome

__all__ = ["Recorder"]

Event = Enqueued | Dispatched | Dropped | Released | PassEnded | PodsChanged | PluginFailed
Kind = TypeVar("Kind", bound=Event)


class Recorder(Observer):
    """An observer that keeps every event, in order.

    Give it to the controller: ``FlowController(..., observers=[recorder])``. It keeps everything it ever heard, so it
    is for tests alone.

    Attributes:
        events: What was heard, oldest first.

    >>> from flowgate.contracts import PassEnded
    >>> recorder = Recorder()
    >>> recorder.on_pass(PassEnded(time=0.0, dispatched=2, is_complete=True))
    >>> [event.dispatched for event in recorder.of(PassEnded)]
    [2]
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind, such as `Dispatched`."""
        return [event for event in self.events if isinstance(event, kind)]

    def outcomes(self) -> list[QueueOutcome]:
        """Return the outcome of each request that ended, in the order of their ends."""
        ends = [event for event in self.events if isinstance(event, (Dispatched, Dropped))]
        return [QueueOutcome.DISPATCHED if isinstance(event, Dispatched) else event.outcome for event in ends]

    def on_enqueued(self, event: Enqueued) -> None:
        """Keep it."""
        self.events.append(event)

    def on_dispatched(self, event: Dispatched) -> None:
        """Keep it."""
        self.events.append(event)

    def on_dropped(self, event: Dropped) -> None:
        """Keep it."""
        self.events.append(event)

    def on_released(self, event: Released) -> None:
        """Keep it."""
        self.events.append(event)

    def on_pass(self, event: PassEnded) -> None:
        """Keep it."""
        self.events.append(event)

    def on_pods_changed(self, event: PodsChanged) -> None:
        """Keep it."""
        self.events.append(event)

    def on_plugin_error(self, event: PluginFailed) -> None:
        """Keep it."""
        self.events.append(event)
