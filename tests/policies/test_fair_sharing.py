"""What all policies that share by cost have in common: max-min shares, no starvation, exact levels, and their cost."""

import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from flowgate.contracts import InterFlowDispatchPolicy
from flowgate.policies import (
    DeficitRoundRobin,
    LeastAttainedService,
    RoundRobin,
    StartTimeFairQueuing,
    VirtualTokenCounter,
)
from flowgate.testing._fairness_bounds import FLOW_IDS, Step, check_bound, steps
from flowgate.testing._groups import Lane, absent_flow
from flowgate.testing._items import Item

POLICIES = [RoundRobin, DeficitRoundRobin, StartTimeFairQueuing, VirtualTokenCounter, LeastAttainedService]
every_policy = pytest.mark.parametrize("policy_type", POLICIES, ids=lambda policy: policy.__name__)
by_cost = pytest.mark.parametrize("policy_type", POLICIES[1:], ids=lambda policy: policy.__name__)


class Pool:
    """A lane that gives away so much service a second, to flows that ask for it at their own rates."""

    def __init__(self, policy: InterFlowDispatchPolicy, capacity: float, seed: int, costs: tuple[int, int]) -> None:
        self.now = 0.0
        bind = getattr(policy, "bind", None)
        if bind is not None:
            bind(lambda: self.now)
        self.lane = Lane(policy)
        self.capacity = capacity
        self.chance = random.Random(seed)
        self.costs = costs
        self.served: Counter[str] = Counter()

    def run(self, demands: dict[str, float], seconds: int) -> None:
        budget = 0.0
        asked = dict.fromkeys(demands, 0.0)
        for tick in range(seconds * 10):
            self.now = tick / 10
            for name, rate in demands.items():
                asked[name] += rate / 10
                while asked[name] > 0:
                    cost = self.chance.randint(*self.costs)
                    self.lane.arrive(name, Item(byte_size=cost))
                    asked[name] -= cost
            budget += self.capacity / 10
            while budget > 0 and self.lane.flows:
                name, item = self.lane.dispatch()
                self.served[name] += item.byte_size
                budget -= item.byte_size


def max_min(demands: dict[str, float], weights: dict[str, float], capacity: float) -> dict[str, float]:
    """Fill the flows' demands like water, in proportion to their weights."""
    shares = dict.fromkeys(demands, 0.0)
    thirsty = set(demands)
    while thirsty and capacity > 1e-9:
        step = min((demands[name] - shares[name]) / weights[name] for name in thirsty)
        step = min(step, capacity / sum(weights[name] for name in thirsty))
        for name in thirsty:
            shares[name] += step * weights[name]
            capacity -= step * weights[name]
        thirsty = {name for name in thirsty if demands[name] - shares[name] > 1e-9}
    return shares


@every_policy
@pytest.mark.parametrize("seed", range(3))
def test_flood_takes_nothing_from_others(policy_type: Any, seed: int) -> None:
    """One flow asks for a hundred times its share: each gets its max-min share, a light one all that it asks for."""
    costs = (1, 1) if policy_type is RoundRobin else (1, 200)
    policy = policy_type() if policy_type is not DeficitRoundRobin else DeficitRoundRobin(quantum=200)
    capacity = 20.0 if policy_type is RoundRobin else 2_000.0
    demands = {"flood": 25 * capacity, "light": capacity / 8, "even": capacity / 2, "more": capacity}
    pool = Pool(policy, capacity, seed, costs)
    pool.run(demands, seconds=30)
    shares = max_min({name: rate * 30 for name, rate in demands.items()}, dict.fromkeys(demands, 1.0), capacity * 30)
    for name, share in shares.items():
        assert pool.served[name] == pytest.approx(share, rel=0.05), name


@by_cost
def test_flood_takes_nothing_from_others_by_weight(policy_type: Any) -> None:
    """The same where flows weigh differently: what is left is shared by weight."""
    weights = {"flood": 1.0, "light": 0.5, "even": 2.0, "more": 4.0}
    demands = {"flood": 25_000.0, "light": 100.0, "even": 2_000.0, "more": 2_000.0}
    policy = policy_type(weights=weights) if policy_type is not DeficitRoundRobin else policy_type(200, weights)
    pool = Pool(policy, 2_000.0, 0, (1, 200))
    pool.run(demands, seconds=60)
    shares = max_min({name: rate * 60 for name, rate in demands.items()}, weights, 2_000.0 * 60)
    for name, share in shares.items():
        assert pool.served[name] == pytest.approx(share, rel=0.05), name


@every_policy
def test_stream_of_new_flows_starves_nobody(policy_type: Any) -> None:
    """One that is ahead has its turn although two new flows wait at any time, each with one request."""
    lane = Lane(policy_type() if policy_type is not DeficitRoundRobin else DeficitRoundRobin(quantum=50))
    names = (f"new-{number}" for number in itertools.count())
    for _ in range(3):
        lane.arrive("old", Item(byte_size=100))
    for number in range(2_000):  # those who left take no part any longer
        lane.arrive(f"gone-{number}")
    for number in range(2_000):
        lane.cancel(f"gone-{number}")
    while len(lane.flows) < 3:
        lane.arrive(next(names), Item(byte_size=50))
    while len(lane.flows["old"]) == 3:
        lane.dispatch()
    for _ in range(400):
        while len(lane.flows) < 3:
            lane.arrive(next(names), Item(byte_size=50))
        name, _ = lane.dispatch()
        if name == "old":
            return
    raise AssertionError("400 requests of new flows went before it")


@by_cost
@pytest.mark.parametrize("cost", [1, 10**6])
def test_crowd_of_new_flows_starves_nobody(policy_type: Any, cost: int) -> None:
    """More new flows come than can go, of any size, and still whoever is ahead is served, after a while."""
    lane = Lane(policy_type() if policy_type is not DeficitRoundRobin else DeficitRoundRobin(quantum=cost))
    names = (f"new-{number}" for number in itertools.count())
    for _ in range(2):
        lane.arrive("old", Item(byte_size=3 * cost))
    for name in itertools.islice(names, 5):
        lane.arrive(name, Item(byte_size=cost))
    while len(lane.flows["old"]) == 2:
        lane.dispatch()
    for turn in range(3_000):
        for name in itertools.islice(names, 1 + (turn % 4 == 0)):
            lane.arrive(name, Item(byte_size=cost))
        if lane.dispatch()[0] == "old":
            return
    raise AssertionError("3,000 requests of new flows went before it")


@by_cost
@pytest.mark.parametrize(("huge", "weights"), [(1e12, {}), (1.0, {"small": 1e-3, "great": 1e6}), (1e300, {})])
def test_every_request_goes_in_the_end(policy_type: Any, huge: float, weights: dict[str, float]) -> None:
    """Beside a flow that never stops, huge requests and flows that weigh next to nothing are served."""
    policy = policy_type(weights=weights, cost=lambda request: request.get_metadata()["cost"])
    lane = Lane(policy)

    def item(cost: float) -> Item:
        made = Item()
        made.request = type(made.request)(metadata={"cost": cost})
        return made

    for name in ("small", "great", "whole"):
        for _ in range(3):
            lane.arrive(name, item(huge))
    assert Counter(lane.drain()) == dict.fromkeys(("small", "great", "whole"), 3)


@by_cost
def test_shares_stay_exact_after_much_service(policy_type: Any) -> None:
    """After 10**15 of service without a pause, requests of one byte still share a byte at a time."""
    policy = policy_type() if policy_type is not DeficitRoundRobin else DeficitRoundRobin(quantum=1)
    if policy_type is LeastAttainedService:
        policy.bind(lambda: 0.0)
    lane = Lane(policy)
    for name in "ab":
        for _ in range(500):
            lane.arrive(name, Item(byte_size=2 * 10**12))
        for _ in range(10_000):
            lane.arrive(name, Item(byte_size=1))
    while any(flow.head.byte_size > 1 for flow in lane.flows.values()):
        lane.dispatch()
    served = Counter(lane.dispatch()[0] for _ in range(4_000))
    assert abs(served["a"] - served["b"]) <= policy.bound()


def calls_of(act: Callable[[], object]) -> int:
    """Count the calls, into Python and into C, that something makes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
    return calls


@every_policy
def test_choice_does_not_look_at_every_flow(policy_type: Any) -> None:
    """A dispatch makes as many calls among ten thousand flows as among ten."""
    calls = {}
    for flows in (10, 1_000, 10_000):
        lane = Lane(policy_type())
        chance = random.Random(0)
        for flow in range(flows):
            lane.arrive(f"flow {flow}", Item(byte_size=chance.randint(1, 100_000)))
            lane.arrive(f"flow {flow}", Item(byte_size=chance.randint(1, 100_000)))

        def turn(lane: Lane = lane, chance: random.Random = chance) -> None:
            for _ in range(300):
                name, _ = lane.dispatch()
                lane.arrive(name, Item(byte_size=chance.randint(1, 100_000)))

        calls[flows] = calls_of(turn)
    assert calls[10_000] <= 1.5 * calls[10]


def test_small_quantum_costs_no_more() -> None:
    """A request of a quantum or of 10**12 quanta: a choice makes as many calls."""
    calls = []
    for cost in (1, 10**12):
        lane = Lane(DeficitRoundRobin(quantum=1))
        for name in FLOW_IDS * 50:
            lane.arrive(name, Item(byte_size=cost))
        calls.append(calls_of(lane.drain))
    assert calls[1] <= 1.1 * calls[0]


some_weights = st.dictionaries(st.sampled_from(FLOW_IDS), st.sampled_from([1e-3, 0.3, 1 / 3, 7.0, 1e6]))


@by_cost
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(weights=some_weights, history=steps(60), quantum=st.sampled_from([1e-3, 1, 100, 16_384]))
def test_bound_holds_for_all_weights(
    policy_type: Any, weights: dict[str, float], history: list[Step], quantum: float
) -> None:
    """The bounds hold whatever flows weigh, and, of turns, whatever the quantum is."""
    arguments: dict[str, Any] = {"weights": weights}
    if policy_type is DeficitRoundRobin:
        arguments["quantum"] = quantum
    if policy_type is LeastAttainedService:
        arguments["max_idle_flows"] = 0  # or it would begin with a lead
    check_bound(policy_type(**arguments), history)


@pytest.mark.parametrize("policy_type", [VirtualTokenCounter, LeastAttainedService])
def test_weight_may_change_between_waits(policy_type: Any) -> None:
    """A flow weighs what it is said to weigh when it begins to wait; what it was charged per weight is kept."""
    weight = 1.0
    policy = policy_type(weights=lambda key: weight if key.id == "a" else 1.0)
    lane = Lane(policy)
    lane.pass_by("a", Item(byte_size=100))
    weight = 3.0
    for _ in range(60):
        lane.arrive("b", Item(byte_size=10))
        lane.arrive("a", Item(byte_size=10))
    assert {lane.dispatch()[0] for _ in range(10)} == {"b"}
    assert 29 <= [lane.dispatch()[0] for _ in range(40)].count("a") <= 31


@by_cost
@pytest.mark.parametrize("leaves_first", [0, 1])
def test_two_flows_of_one_name_are_two(policy_type: Any, leaves_first: int) -> None:
    """Two flows of one key that wait at once, as the one that overflow ids share may, have a turn each."""
    policy = policy_type()
    lanes = [Lane(policy), Lane(policy)]
    lanes[1].group = lanes[0].group
    for lane in lanes:
        for _ in range(2):
            lane.arrive("a", Item(byte_size=20_000))
    group, views = lanes[0].group, [lane.flows["a"] for lane in lanes]
    first = group.select()
    lanes[views.index(first)].dispatch()
    assert group.select() is views[1 - views.index(first)]
    for at in (leaves_first, 1 - leaves_first):
        while lanes[at].flows:
            lanes[at].cancel("a")
        rest = [view for view in views if len(view)]
        assert not rest or group.select() is rest[0]


@by_cost
def test_charge_out_of_turn_is_a_charge(policy_type: Any) -> None:
    """A request that goes although another flow was to go next counts all the same."""
    policy = policy_type() if policy_type is not DeficitRoundRobin else DeficitRoundRobin(quantum=1)
    lane = Lane(policy)
    for _ in range(50):
        lane.arrive("a", Item(byte_size=1))
        lane.arrive("b", Item(byte_size=1))
    assert lane.group.select() is lane.flows["a"]
    lane.group.charged(lane.flows["b"], Item(cost=20))
    assert [lane.dispatch()[0] for _ in range(21)].count("a") >= 19


@every_policy
def test_news_of_flows_that_do_not_wait_change_nothing(policy_type: Any) -> None:
    """A group that is told of a flow that never waited goes on as before."""
    lane = Lane(policy_type())
    for _ in range(3):
        lane.arrive("a")
        lane.arrive("b")
    lane.group.head_changed(absent_flow())
    lane.group.emptied(absent_flow("a"))
    assert sorted(lane.drain()) == ["a"] * 3 + ["b"] * 3
