"""What a caller may catch when its request is not dispatched."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowgate.contracts import Dropped
    from flowgate.outcomes import QueueOutcome

__all__ = ["FlowControlError", "RequestEvicted", "RequestRejected", "error_of"]


class FlowControlError(Exception):
    """Raised when a request ends in any other way than being dispatched.

    Chains its cause where there is one: the bad value, or the plug-in that failed.

    Attributes:
        outcome: The request's terminal outcome.
        request_id: The request's own id.
        queue_wait: Seconds between arrival and outcome; 0.0 for a request that was never queued.
        retry_after: Seconds after which a new try makes sense, or None when unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: "QueueOutcome",
        request_id: str,
        queue_wait: float = 0.0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.request_id = request_id
        self.queue_wait = queue_wait
        self.retry_after = retry_after


class RequestRejected(FlowControlError):  # noqa: N818 - it is no mistake of anybody's
    """Raised when a request was refused before it was queued: nothing was held for it."""


class RequestEvicted(FlowControlError):  # noqa: N818 - the same
    """Raised when a request was queued, and left the queue without being dispatched."""


def error_of(dropped: "Dropped") -> FlowControlError:
    """Make the error that a caller gets for a request that was not dispatched."""
    try:
        request_id = dropped.request.request_id()
    except Exception:  # a custom request may raise anything, and its outcome is what matters
        request_id = "(no id)"
    is_rejected = dropped.outcome.is_rejected
    kind = RequestRejected if is_rejected else RequestEvicted
    whose = f" of {dropped.flow_key}" if dropped.flow_key is not None else ""
    error = kind(
        f"request {request_id!r}{whose} was {'rejected' if is_rejected else 'evicted'}: {dropped.message} "
        f"({dropped.outcome.name})",
        outcome=dropped.outcome,
        request_id=request_id,
        queue_wait=dropped.queue_wait,
        retry_after=dropped.retry_after,
    )
    error.__cause__ = dropped.cause
    return error
