"""What HTTP says: two tables, total over the outcomes."""

import math

import pytest

from flowgate import FlowControlError, QueueOutcome, RequestEvicted, RequestRejected
from flowgate.admission import PR_1952, STANDARD, ResponseTable, http_response

ROWS = {
    QueueOutcome.DISPATCHED: (200, None, 200),
    QueueOutcome.REJECTED_CAPACITY: (429, "saturated", 429),
    QueueOutcome.REJECTED_NO_PODS: (503, "no-pods", 429),
    QueueOutcome.REJECTED_TOO_LARGE: (413, "too-large", 429),
    QueueOutcome.REJECTED_SHED: (429, "shed", 429),
    QueueOutcome.REJECTED_SHUTDOWN: (503, "shutting-down", 500),
    QueueOutcome.REJECTED_INVALID: (400, "invalid", 500),
    QueueOutcome.EVICTED_TTL: (429, "ttl-expired", 503),
    QueueOutcome.EVICTED_NO_PODS: (503, "no-pods", 503),
    QueueOutcome.REJECTED_INFEASIBLE: (429, "infeasible", 429),
    QueueOutcome.EVICTED_CANCELLED: (499, "cancelled", 503),
    QueueOutcome.EVICTED_DISPLACED: (429, "displaced", 429),
    QueueOutcome.EVICTED_SHUTDOWN: (503, "shutting-down", 500),
}


def error_of(outcome: QueueOutcome, retry_after: float | None = None) -> FlowControlError:
    kind = RequestRejected if outcome.is_rejected else RequestEvicted
    return kind("no", outcome=outcome, request_id="r", retry_after=retry_after)


def test_the_tables_are_total() -> None:
    """Every outcome has an answer in both tables, and nothing else has."""
    assert set(STANDARD) == set(PR_1952) == set(QueueOutcome) == set(ROWS)


@pytest.mark.parametrize("outcome", QueueOutcome)
def test_each_row_says_what_the_table_says(outcome: QueueOutcome) -> None:
    """Status and reason, of the outcome alone and of an error that carries it."""
    status, reason, old_status = ROWS[outcome]
    for result in (outcome, error_of(outcome)):
        response = http_response(result)
        assert (response.status, response.reason) == (status, reason)
        assert response.headers == ({} if reason is None else {"x-flowgate-dropped-reason": reason})
        old = http_response(result, table=PR_1952)
        assert (old.status, old.reason, old.headers) == (old_status, None, {})


@pytest.mark.parametrize("table", [STANDARD, PR_1952])
@pytest.mark.parametrize("outcome", QueueOutcome)
def test_retry_after_is_told_where_a_retry_may_help(outcome: QueueOutcome, table: ResponseTable) -> None:
    """On 429 and 503 alone, and only when it is known."""
    response = http_response(error_of(outcome, 2.0), table=table)
    assert response.headers.get("retry-after") == ("2" if response.status in (429, 503) else None)
    assert "retry-after" not in http_response(error_of(outcome), table=table).headers
    assert "retry-after" not in http_response(outcome, table=table).headers


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "0"), (0.01, "1"), (1.0, "1"), (1.5, "2"), (-3.0, "0"), (60, "60")]
)
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    """Rounded up, never negative: a client that waits so long does not come early."""
    assert http_response(error_of(QueueOutcome.EVICTED_TTL, seconds)).headers["retry-after"] == header


def test_the_tables_cannot_be_changed_by_accident() -> None:
    """They are data to read; a gateway with answers of its own passes its own table."""
    for table in (STANDARD, PR_1952):
        with pytest.raises(TypeError):
            table[QueueOutcome.DISPATCHED] = (500, None)  # type: ignore[index]
    own = {**STANDARD, QueueOutcome.EVICTED_TTL: (504, "too-late")}
    assert http_response(QueueOutcome.EVICTED_TTL, table=own).status == 504


def test_errors_carry_what_a_gateway_needs() -> None:
    """Outcome, id, wait and retry are attributes; the rest has defaults."""
    error = RequestEvicted("gone", outcome=QueueOutcome.EVICTED_TTL, request_id="r", queue_wait=1.5, retry_after=3.0)
    assert isinstance(error, FlowControlError)
    assert str(error) == "gone"
    assert (error.outcome, error.request_id, error.queue_wait, error.retry_after) == (
        QueueOutcome.EVICTED_TTL,
        "r",
        1.5,
        3.0,
    )
    plain = RequestRejected("no", outcome=QueueOutcome.REJECTED_SHED, request_id="r")
    assert (plain.queue_wait, plain.retry_after) == (0.0, None)
    assert math.isfinite(plain.queue_wait)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_a_time_that_is_none_is_not_told(seconds: float) -> None:
    """An error of somebody's own making is answered all the same."""
    response = http_response(error_of(QueueOutcome.EVICTED_TTL, seconds))
    assert "retry-after" not in response.headers
