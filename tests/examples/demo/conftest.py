"""What the demo's tests share: decisions and reports that are made up."""

from collections.abc import Callable
from typing import Any

import pytest

from examples.demo.decisions import Decision
from flowgate import QueueOutcome


def make_decision(request_id: str, **changes: Any) -> Decision:
    """Make a decision that let a request of acme go on to pod-1 at once, except for the changes."""
    given = {
        "tenant": "acme",
        "priority": 0,
        "arrived_at": 100.0,
        "queue_wait": 0.0,
        "outcome": QueueOutcome.DISPATCHED,
        "status": 200,
        "pod": "pod-1",
    }
    return Decision(request_id, **given | changes)


@pytest.fixture
def decision() -> Callable[..., Decision]:
    """Make decisions."""
    return make_decision
