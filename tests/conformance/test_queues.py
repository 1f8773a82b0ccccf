"""Our queues keep the promises of every queue."""

import pytest

from flowgate.queues import ListQueue, PriorityQueue
from flowgate.testing.suites import QueueFactory, SafeQueueSuite


@pytest.fixture(params=[ListQueue, PriorityQueue])
def make_queue(request: pytest.FixtureRequest) -> QueueFactory:
    return request.param


class TestQueues(SafeQueueSuite):
    """Both, made alike."""
