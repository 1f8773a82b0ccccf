"""What happened: one record for each event, and the observer that receives them."""

from collections.abc import Sequence
from typing import NamedTuple

from flowgate.contracts._pods import Pod
from flowgate.contracts._queues import QueueItem
from flowgate.contracts._requests import FlowControlRequest, FlowKey
from flowgate.contracts._tickets import AdmissionTicket
from flowgate.outcomes import QueueOutcome

__all__ = ["Dispatched", "Dropped", "Enqueued", "Observer", "PassEnded", "PluginFailed", "PodsChanged", "Released"]

# Named tuples, not frozen attrs classes: as immutable, and half the time to make, once or more for each request.


class Enqueued(NamedTuple):
    """A request was committed to its queue."""

    time: float
    """Seconds of the controller's clock."""
    item: QueueItem
    """The engine's record of it."""
    has_pods: bool
    """Whether its lane had candidates at that moment."""


class Dispatched(NamedTuple):
    """A request was released to candidates, at once or after waiting."""

    time: float
    """Seconds of the controller's clock."""
    request: FlowControlRequest
    """The request, as submitted."""
    flow_key: FlowKey
    """Its flow."""
    byte_size: int
    """Its size in bytes."""
    queue_wait: float
    """Seconds from arrival to dispatch; 0.0 for a request that did not wait."""
    waited: bool
    """Whether it was queued."""
    ticket: AdmissionTicket
    """What its caller gets."""


class Dropped(NamedTuple):
    """A request ended in any other way."""

    time: float
    """Seconds of the controller's clock."""
    request: FlowControlRequest
    """The request, as submitted."""
    flow_key: FlowKey | None
    """Its flow; None when the request did not name a valid one."""
    byte_size: int
    """Its size in bytes; 0 when the request did not state a valid one."""
    queue_wait: float
    """Seconds from arrival to outcome."""
    outcome: QueueOutcome
    """Why; never DISPATCHED."""
    message: str
    """The same in one sentence, with the numbers."""
    cause: BaseException | None
    """The error behind it: a bad value, or a plug-in that failed."""
    retry_after: float | None = None
    """Seconds after which a new try makes sense; None when that is not known, or no new try does."""


class Released(NamedTuple):
    """A ticket gave its slot back."""

    time: float
    """Seconds of the controller's clock."""
    ticket: AdmissionTicket
    """The ticket; its pod is the one it was charged to last."""
    result: str
    """``"ok"``, ``"dropped"`` or ``"ignored"``."""
    held: float
    """Seconds from dispatch to release."""


class PassEnded(NamedTuple):
    """A dispatch pass ran."""

    time: float
    """Seconds of the controller's clock."""
    dispatched: int
    """Requests it released."""
    is_complete: bool
    """False when it stopped at `max_dispatch_batch`; the next goes on in the next turn of the loop."""
    seconds: float = 0.0
    """How long it took, of real time; 0.0 where nobody lent the engine a stopwatch, as in a simulation."""


class PodsChanged(NamedTuple):
    """A lane's candidates were resolved to other pods than before."""

    time: float
    """Seconds of the controller's clock."""
    lane: object
    """The lane's selection key."""
    pods: Sequence[Pod]
    """The candidates now."""
    waiting: int
    """Requests waiting in the lane."""


class PluginFailed(NamedTuple):
    """A plug-in raised, or answered nonsense."""

    time: float
    """Seconds of the controller's clock."""
    kind: str
    """What it is: ``"locator"``, ``"detector"``, ``"dispatch policy"``, ``"fairness policy"``, ``"usage limit"``,
    ``"queue"``, ``"request"`` or ``"observer"``."""
    name: str
    """Its name, else its type's."""
    error: BaseException
    """What it raised, or an error that tells what was wrong with its answer."""


class Observer:
    """Receives events; subclass it and override what you want to hear.

    Called by the controller after the step in which the event happened, in the order of events, on the event loop's
    thread. A method must return at once; it may call the controller, whose steps then follow. It may run outside any
    task, from a timer, where anyio's functions do not work: the time of an event is ``event.time``. One that raises is
    logged and counted, and nothing else happens. An object that has some of the methods when the controller is built,
    without this base, serves too.
    """

    def on_enqueued(self, event: Enqueued) -> None:
        """Receive each commitment of a request to its queue."""

    def on_dispatched(self, event: Dispatched) -> None:
        """Receive each dispatch."""

    def on_dropped(self, event: Dropped) -> None:
        """Receive each outcome other than DISPATCHED."""

    def on_released(self, event: Released) -> None:
        """Receive each release of a ticket, once."""

    def on_pass(self, event: PassEnded) -> None:
        """Receive each end of a dispatch pass."""

    def on_pods_changed(self, event: PodsChanged) -> None:
        """Receive each change of a lane's candidates."""

    def on_plugin_error(self, event: PluginFailed) -> None:
        """Receive each failure of a plug-in."""
