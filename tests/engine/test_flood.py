"""One tenant floods: the others get what max-min fairness gives them, in the queue and out of it."""

import math
from collections.abc import Mapping

import pytest

from flowgate.contracts import InterFlowDispatchPolicy
from flowgate.policies import (
    DeficitRoundRobin,
    LeastAttainedService,
    RoundRobin,
    StartTimeFairQueuing,
    VirtualTokenCounter,
)
from tests.engine.world import drain, world

SERVED = 80.0
"""Requests that the world's pods serve each second."""


def max_min(offered: Mapping[str, float], capacity: float) -> dict[str, float]:
    """Fill all to the same level, none beyond what it asks for."""
    shares: dict[str, float] = {}
    left = capacity
    for place, (name, rate) in enumerate(sorted(offered.items(), key=lambda entry: entry[1])):
        shares[name] = min(rate, left / (len(offered) - place))
        left -= shares[name]
    return shares


@pytest.mark.parametrize(
    "fairness",
    [
        RoundRobin(),
        DeficitRoundRobin(quantum=100),
        StartTimeFairQueuing(),
        VirtualTokenCounter(),
        LeastAttainedService(half_life=5.0),
    ],
    ids=lambda policy: policy.name,
)
def test_a_flood_takes_only_what_others_leave(fairness: InterFlowDispatchPolicy) -> None:
    """A hundred times its share from one, in a band with little room: all others go as if it were just another."""
    offered = {"flood": 100 * SERVED / 5, "heavy": 40.0, "fair": 16.0, "light": 4.0, "rare": 1.0}
    place = world(fairness=fairness, max_requests=40, when_full="longest-flow")
    for flow, rate in offered.items():
        place.stream(rate, lambda flow=flow: flow, 0, until=30.0, byte_size=100)  # type: ignore[misc]
    drain(place)
    fair = max_min(offered, SERVED)
    for flow in offered:
        expected = fair[flow] * 30.0
        slack = 4 * math.sqrt(expected) + 0.1 * expected
        assert place.served[flow] >= expected - slack, f"{flow} got {place.served[flow]} of {expected:.0f}"
        assert place.accepted[flow] >= expected - slack
    assert place.served["flood"] <= 1.25 * fair["flood"] * 30.0
