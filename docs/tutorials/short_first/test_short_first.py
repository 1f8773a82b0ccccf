"""The policy keeps what every policy promises, and what it promises itself."""

import pytest
from short_first import ShortFirst

from flowgate import Request
from flowgate.contracts import IntraFlowDispatchPolicy, QueueItem
from flowgate.queues import PriorityQueue
from flowgate.testing import Item
from flowgate.testing.suites import DispatchPolicySuite


class TestEveryPolicy(DispatchPolicySuite):
    @pytest.fixture
    def policy(self) -> IntraFlowDispatchPolicy:
        return ShortFirst()


# -- its own promises


def prompt(tokens: int, at: float = 0.0) -> Item:
    """Make a request that arrives at a time, in seconds."""
    return Item(enqueue_time=at, request=Request("tenant-a", metadata={"tokens": tokens}))


def first_of(*items: Item) -> QueueItem | None:
    policy = ShortFirst()
    queue = PriorityQueue(policy.comparator)
    for item in items:
        queue.add(item)
    return policy.select_item(queue)


def test_the_shortest_goes_first() -> None:
    long, short = prompt(6_000), prompt(80)
    assert first_of(long, short) is short


def test_a_long_prompt_is_not_overtaken_by_those_that_come_a_minute_later() -> None:
    long, short = prompt(6_000, at=0.0), prompt(80, at=61.0)
    assert first_of(long, short) is long
