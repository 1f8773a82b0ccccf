"""How a request's stay ends: exactly one outcome for each submitted request."""

import enum
from typing import TYPE_CHECKING

__all__ = ["QueueOutcome"]


class QueueOutcome(enum.Enum):
    """The one terminal state of a request.

    Before a request is committed to its queue a terminal outcome other than DISPATCHED is ``REJECTED_*``; from then on
    it is ``EVICTED_*``. The value is the name in lower case, fit for a metric's label.
    """

    DISPATCHED = "dispatched"
    """Released to candidates."""
    REJECTED_CAPACITY = "rejected_capacity"
    """A count or byte limit is met, and the lane has pods."""
    REJECTED_NO_PODS = "rejected_no_pods"
    """A count or byte limit is met, and there are no candidates."""
    REJECTED_TOO_LARGE = "rejected_too_large"
    """Larger than a byte limit: it could never be queued."""
    REJECTED_SHED = "rejected_shed"
    """The band never queues (or the controller is the legacy one), and no candidate is open."""
    REJECTED_INFEASIBLE = "rejected_infeasible"
    """By the measured drain rate it would have waited beyond its deadline, and its band refuses such requests."""
    REJECTED_SHUTDOWN = "rejected_shutdown"
    """Submitted to a closed or closing controller."""
    REJECTED_INVALID = "rejected_invalid"
    """The request has a bad value, or its priority is unknown or one band too many."""
    EVICTED_TTL = "evicted_ttl"
    """Its time budget was spent, and the lane has pods."""
    EVICTED_NO_PODS = "evicted_no_pods"
    """Its time budget was spent without candidates."""
    EVICTED_CANCELLED = "evicted_cancelled"
    """Its caller was cancelled while it waited."""
    EVICTED_DISPLACED = "evicted_displaced"
    """Pushed out by a higher band under a full global limit, or by a shorter flow where its band lets it."""
    EVICTED_SHUTDOWN = "evicted_shutdown"
    """It was waiting when the controller closed."""

    if not TYPE_CHECKING:
        # Enum's own is a Python function, and outcomes are counted for each request.
        __hash__ = object.__hash__

    @property
    def is_rejected(self) -> bool:
        """Whether the request ended before it was committed to a queue."""
        return self.name.startswith("REJECTED")

    @property
    def is_evicted(self) -> bool:
        """Whether the request was taken out of a queue without being dispatched."""
        return self.name.startswith("EVICTED")
