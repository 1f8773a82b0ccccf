"""What HTTP says to an outcome: the tables, as data."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from flowgate.errors import FlowControlError
from flowgate.outcomes import QueueOutcome

__all__ = ["PR_1952", "STANDARD", "HttpResponse", "ResponseTable", "http_response"]

_REASON_HEADER = "x-flowgate-dropped-reason"

ResponseTable = Mapping[QueueOutcome, tuple[int, str | None]]
"""For each outcome the status, and the reason for the header, if any."""

STANDARD: ResponseTable = MappingProxyType(
    {
        QueueOutcome.DISPATCHED: (200, None),
        QueueOutcome.REJECTED_CAPACITY: (429, "saturated"),
        QueueOutcome.REJECTED_NO_PODS: (503, "no-pods"),
        QueueOutcome.REJECTED_TOO_LARGE: (413, "too-large"),
        QueueOutcome.REJECTED_SHED: (429, "shed"),
        QueueOutcome.REJECTED_INFEASIBLE: (429, "infeasible"),
        QueueOutcome.REJECTED_SHUTDOWN: (503, "shutting-down"),
        QueueOutcome.REJECTED_INVALID: (400, "invalid"),
        QueueOutcome.EVICTED_TTL: (429, "ttl-expired"),
        QueueOutcome.EVICTED_NO_PODS: (503, "no-pods"),
        QueueOutcome.EVICTED_CANCELLED: (499, "cancelled"),
        QueueOutcome.EVICTED_DISPLACED: (429, "displaced"),
        QueueOutcome.EVICTED_SHUTDOWN: (503, "shutting-down"),
    }
)
"""flowgate's own answers."""

PR_1952: ResponseTable = MappingProxyType(
    {
        QueueOutcome.DISPATCHED: (200, None),
        QueueOutcome.REJECTED_CAPACITY: (429, None),
        QueueOutcome.REJECTED_NO_PODS: (429, None),
        QueueOutcome.REJECTED_TOO_LARGE: (429, None),
        QueueOutcome.REJECTED_SHED: (429, None),
        QueueOutcome.REJECTED_INFEASIBLE: (429, None),
        QueueOutcome.REJECTED_SHUTDOWN: (500, None),
        QueueOutcome.REJECTED_INVALID: (500, None),
        QueueOutcome.EVICTED_TTL: (503, None),
        QueueOutcome.EVICTED_NO_PODS: (503, None),
        QueueOutcome.EVICTED_CANCELLED: (503, None),
        QueueOutcome.EVICTED_DISPLACED: (429, None),
        QueueOutcome.EVICTED_SHUTDOWN: (500, None),
    }
)
"""The answers of the Endpoint Picker as scale from zero came in: no reasons, and 500 for a shutdown or a bad request.

An outcome that it did not have is answered as the nearest one that it had.
"""

_MAY_RETRY = (429, 503)


@attrs.frozen
class HttpResponse:
    """How to answer a request.

    Attributes:
        status: The HTTP status; 200 means: go on.
        reason: Why the request was dropped, in a word or two; None when the table gives none.
        headers: That reason, and Retry-After in whole seconds where it is known.
    """

    status: int
    reason: str | None
    headers: Mapping[str, str]


def http_response(result: FlowControlError | QueueOutcome, *, table: ResponseTable = STANDARD) -> HttpResponse:
    """Say how HTTP answers an outcome, or the error that carries it.

    Args:
        result: What a caller caught, or what an observer saw.
        table: The answers: `STANDARD`, or `PR_1952` for those who migrate.

    >>> from flowgate import QueueOutcome
    >>> http_response(QueueOutcome.EVICTED_NO_PODS).status
    503
    """
    outcome = result.outcome if isinstance(result, FlowControlError) else result
    retry_after = result.retry_after if isinstance(result, FlowControlError) else None
    status, reason = table[outcome]
    headers: dict[str, str] = {}
    if reason is not None:
        headers[_REASON_HEADER] = reason
    if retry_after is not None and math.isfinite(retry_after) and status in _MAY_RETRY:
        headers["retry-after"] = str(max(0, math.ceil(retry_after)))
    return HttpResponse(status, reason, headers)
