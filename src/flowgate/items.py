"""flowgate's own record around one queued request."""

from typing import TYPE_CHECKING, Any

import attrs

from flowgate.contracts import Dropped, FlowControlRequest, FlowKey
from flowgate.outcomes import QueueOutcome

if TYPE_CHECKING:
    from flowgate.lanes import FlowQueue
    from flowgate.ticket import Ticket

__all__ = ["Item"]


# Slotted and not frozen: one is made for each request that waits.
@attrs.define(eq=False, repr=False, weakref_slot=False)
class Item:
    """One queued request: a `QueueItem` to policies, and the engine's bookkeeping.

    Attributes:
        request: As submitted.
        flow_key: Its flow, as read at submit.
        byte_size: Bytes, as read at submit.
        arrival: Place in the order of all arrivals.
        enqueue_time: Seconds of the controller's clock.
        effective_ttl: Seconds: its own TTL, else the controller's `default_ttl` at submit.
        states_ttl: Whether that TTL is its own.
        score: The dispatch policy's key, taken once.
        queue: Where it waits; the last place once it left.
        cost: What its fairness policy charges for it, taken once.
        waiter: Whatever the shell parks its caller with.
        result: What became of it; None while it waits.
        timer: Its cell among the deadlines, if it has one.
    """

    request: FlowControlRequest
    flow_key: FlowKey
    byte_size: int
    arrival: int
    enqueue_time: float
    effective_ttl: float
    states_ttl: bool
    queue: "FlowQueue"
    score: object = None
    cost: float = 1
    waiter: object = None
    result: "Ticket | Dropped | None" = None
    timer: list[Any] | None = None

    def __repr__(self) -> str:
        state = "waits" if self.result is None else str(self.outcome)
        return f"<Item {self.arrival} of {self.flow_key}: {state}>"

    @property
    def deadline(self) -> float:
        """When its TTL ends, fixed at enqueue; seconds of the controller's clock."""
        return self.enqueue_time + self.effective_ttl

    @property
    def outcome(self) -> QueueOutcome | None:
        """Its terminal outcome; None while it waits."""
        if self.result is None:
            return None
        return self.result.outcome if isinstance(self.result, Dropped) else QueueOutcome.DISPATCHED
