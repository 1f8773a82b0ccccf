"""A refusal says when to come back, where that is known."""

import pytest

from flowgate import QueueOutcome, RequestEvicted, RequestRejected
from flowgate_asgi._response import Response, refuse

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        (RequestRejected, QueueOutcome.REJECTED_CAPACITY, 429),
        (RequestEvicted, QueueOutcome.EVICTED_NO_PODS, 503),
    ],
)
async def test_retry_after_is_in_whole_seconds(connect, kind, outcome, status):
    connection = connect()
    await refuse(Response(connection.send), kind("no room", outcome=outcome, request_id="r", retry_after=1.2))
    assert (connection.status, connection.headers["retry-after"]) == (status, "2")
    assert connection.headers["content-length"] == str(len(connection.body))
