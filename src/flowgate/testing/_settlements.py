"""Checks that a policy which shares by cost makes up for costs that turn out otherwise."""

import math
from collections import Counter
from fractions import Fraction

from flowgate.contracts import FlowKey
from flowgate.testing._fairness_bounds import BoundedFairnessPolicy, assert_finite, bind_to_still_clock, weigh_one
from flowgate.testing._groups import Lane
from flowgate.testing._items import Item

__all__ = ["check_settlement"]

_ONE, _OTHER = "a", "b"
_LEAST_COST = 10  # of which a half can be settled
_BOUNDS = 4  # settled in all: what is made up for cannot be taken for what the bound allows


def check_settlement(policy: BoundedFairnessPolicy, sign: int) -> None:
    """Settle much of what a flow got, while it and another wait, and see who goes next.

    Args:
        policy: A policy that shares by cost.
        sign: 1 where the requests cost more than they were charged, -1 where they cost less.

    Raises:
        AssertionError: What was settled was not made up for, give or take the bound.
    """
    pair = Pair(policy)
    bound = Fraction(pair.bound)
    half = Fraction(pair.cost[_ONE]) / 2
    count = math.ceil(_BOUNDS * bound / pair.per_weight(_ONE, half))
    due = sign * count * pair.per_weight(_ONE, half)
    turns = 2 * math.ceil(abs(due) / min(pair.per_weight(flow, cost) for flow, cost in pair.cost.items()))
    pair.take_turns(2 * count)  # so many requests of it are there to be settled
    for _ in range(count):
        pair.lane.settle(_ONE, sign * float(half))
    got = pair.take_turns(turns)
    assert abs(got - due) <= bound, (
        f"{policy.name}: while flows {_ONE!r} and {_OTHER!r} both waited, requests of {_ONE!r} were settled at "
        f"{float(abs(due)):.10g} {'more' if sign > 0 else 'less'} per weight than they were charged; from then on "
        f"{_OTHER!r} got {float(got):.10g} more per weight than {_ONE!r}, where {float(due):.10g} make up for it, give "
        f"or take {pair.bound:.10g}, the bound: does settled() add delta to what the flow got?"
    )


class Pair:
    """Two flows that never stop waiting, whose requests cost about the same per weight.

    Attributes:
        lane: Where they wait.
        cost: What each request of a flow costs, in the policy's unit.
        bound: How far apart the two may come, per weight.
    """

    def __init__(self, policy: BoundedFairnessPolicy) -> None:
        bind_to_still_clock(policy)
        weight_of = getattr(policy, "weight_of", weigh_one)
        self._weights = {flow: float(weight_of(FlowKey(flow))) for flow in (_ONE, _OTHER)}
        weights = (self._weights[_ONE], self._weights[_OTHER])
        # As large as what the bound holds beside costs, so that few turns do.
        least = policy.bound((1, 1), weights)
        assert_finite(f"bound((1, 1), {weights})", least)
        unit = max(least, _LEAST_COST / min(weights))
        self._sizes = {flow: math.ceil(unit * weight) for flow, weight in self._weights.items()}
        self.lane = Lane(policy)
        self.cost = {flow: self._arrive(flow) for flow in (_ONE, _OTHER)}
        self.bound = float(policy.bound((self.cost[_ONE], self.cost[_OTHER]), weights))

    def per_weight(self, flow: str, cost: float | Fraction) -> Fraction:
        """Say how much a cost of a flow is to it."""
        return Fraction(cost) / Fraction(self._weights[flow])

    def take_turns(self, turns: int) -> Fraction:
        """Dispatch, and let one more arrive each time; return how much more per weight the other got than the one."""
        served: Counter[str] = Counter()
        for _ in range(turns):
            self._arrive(_ONE)
            self._arrive(_OTHER)
            flow, _item = self.lane.dispatch()
            served[flow] += 1
        got = {flow: served[flow] * self.per_weight(flow, cost) for flow, cost in self.cost.items()}
        return got[_OTHER] - got[_ONE]

    def _arrive(self, flow: str) -> float:
        return self.lane.arrive(flow, Item(byte_size=self._sizes[flow])).cost
