"""What fairness shares by: costs and weights, as each policy reads them."""

import math
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from flowgate.contracts import Costed, FlowKey
from flowgate.policies import DeficitRoundRobin, LeastAttainedService, StartTimeFairQueuing, VirtualTokenCounter
from flowgate.policies._shares import UNIT_BITS, share
from flowgate.testing._groups import Lane
from flowgate.testing._items import Asked, Item

POLICIES = [DeficitRoundRobin, StartTimeFairQueuing, VirtualTokenCounter, LeastAttainedService]
every_policy = pytest.mark.parametrize("policy_type", POLICIES, ids=lambda policy: policy.__name__)


def of(tokens: object) -> Item:
    return Item(byte_size=7, request=Asked(metadata={"tokens": tokens}))


@every_policy
def test_shares_bytes_by_default(policy_type: Any) -> None:
    """Without a word about cost, a request costs its bytes, and every flow weighs 1."""
    policy = policy_type()
    assert isinstance(policy, Costed)
    assert policy.cost_of(Item(byte_size=7)) == 7.0
    assert policy.weight_of(FlowKey("a")) == 1.0


@every_policy
@pytest.mark.parametrize("tokens", [5, 5.0, "5", " 5.0"])
def test_reads_a_named_cost_from_metadata(policy_type: Any, tokens: object) -> None:
    """A name stands for a number in the metadata; a header's text that reads as one is one."""
    assert policy_type(cost="tokens").cost_of(of(tokens)) == 5.0


@every_policy
@pytest.mark.parametrize("tokens", [None, "many", True, [5], 10**400])
def test_says_which_number_is_missing(policy_type: Any, tokens: object) -> None:
    """Metadata without that number are an error that names it; the engine then counts bytes."""
    with pytest.raises(ValueError, match=r"must have a number as 'tokens', not "):
        policy_type(cost="tokens").cost_of(of(tokens))


@every_policy
def test_asks_a_callable_for_the_cost(policy_type: Any) -> None:
    """A callable is asked with the request."""
    assert policy_type(cost=lambda request: len(request.get_metadata())).cost_of(of(1)) == 1


@every_policy
@pytest.mark.parametrize(("cost", "error"), [("", ValueError), (5, TypeError), (b"tokens", TypeError)])
def test_refuses_what_is_no_cost(policy_type: Any, cost: object, error: type[Exception]) -> None:
    """A cost is a name or a callable, at the constructor."""
    with pytest.raises(error, match="cost must"):
        policy_type(cost=cost)


@every_policy
def test_weighs_by_flow_id(policy_type: Any) -> None:
    """A mapping is read by flow id, and copied; who is not in it weighs 1."""
    weights = {"a": 2.5}
    policy = policy_type(weights=weights)
    weights["a"] = 9.0
    assert [policy.weight_of(FlowKey(flow)) for flow in "ab"] == [2.5, 1.0]


@every_policy
def test_asks_a_callable_for_the_weight(policy_type: Any) -> None:
    """A callable is asked with the flow's key."""
    assert policy_type(weights=lambda key: key.priority).weight_of(FlowKey("a", 3)) == 3


@every_policy
@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_refuses_what_is_no_weight(policy_type: Any, weight: object, error: type[Exception]) -> None:
    """A weight is finite and more than 0: in a mapping at the constructor, from a callable when it answers."""
    with pytest.raises(error, match="the weight of flow 'a' must be"):
        policy_type(weights={"a": weight})
    with pytest.raises(error, match="the weight of flow 'a' must be"):
        policy_type(weights=lambda _: weight).weight_of(FlowKey("a"))


@every_policy
def test_refuses_what_are_no_weights(policy_type: Any) -> None:
    """Weights are a mapping or a callable."""
    with pytest.raises(TypeError, match="weights must be a mapping of flow ids or a callable, not 2"):
        policy_type(weights=2)


@every_policy
def test_is_a_value(policy_type: Any) -> None:
    """Equal arguments make equal policies, which may be keys."""
    one, other = (policy_type(weights={"a": 2.0}, cost="tokens") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != policy_type()


@every_policy
def test_weight_is_looked_up_once_for_a_wait(policy_type: Any) -> None:
    """While a flow waits its weight is not asked for again, whatever is charged."""
    asked: list[str] = []

    def weigh(key: FlowKey) -> float:
        asked.append(key.id)
        return 1.0

    lane = Lane(policy_type(weights=weigh))
    for _ in range(5):
        lane.arrive("a")
        lane.arrive("b")
    for _ in range(3):
        name, _ = lane.dispatch()
        lane.settle(name, 2.0)
    assert sorted(asked) == ["a", "b"]


@pytest.mark.parametrize("policy_type", [VirtualTokenCounter, LeastAttainedService])
@pytest.mark.parametrize(("most", "error"), [(-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_refuses_what_is_no_number_of_flows(policy_type: Any, most: object, error: type[Exception]) -> None:
    """The memory of idle flows is a count, 0 or more."""
    with pytest.raises(error, match="max_idle_flows must be"):
        policy_type(max_idle_flows=most)


amounts = st.one_of(st.integers(1, 10**30), st.floats(1.0, 1.7e308))
weights = st.one_of(st.just(1), st.floats(5e-324, 1.7e308))


@given(amount=amounts, weight=weights)
def test_share_is_exact_and_never_nothing(amount: float, weight: float) -> None:
    """A share is rounded up to its unit, over the whole range of floats, and is never 0."""
    exact = Fraction(amount) / Fraction(weight) * 2**UNIT_BITS
    assert 0 <= share(amount, weight) - exact < 1
    assert share(amount, weight) >= 1
    assert share(-amount, weight) <= 0


@every_policy
def test_a_weight_that_cannot_be_told_is_one(policy_type: Any) -> None:
    """As the engine has it: a flow whose weight raises is like any other."""

    def weigh(key: FlowKey) -> float:
        raise RuntimeError(f"no weight of {key.id}")

    lane = Lane(policy_type(weights=weigh))
    for name in "abab":
        lane.arrive(name)
    assert sorted(lane.drain()) == ["a", "a", "b", "b"]
