"""Our policies between flows keep the promises of every such policy, and the bounds that they state."""

import re

import pytest

from flowgate.contracts import BandView, FlowQueueView, InterFlowDispatchPolicy, QueueItem
from flowgate.policies import (
    BestHead,
    DeficitRoundRobin,
    LeastAttainedService,
    QueueSelectorPolicy,
    RoundRobin,
    StartTimeFairQueuing,
    VirtualTokenCounter,
)
from flowgate.policies._round_robin import _Ring
from flowgate.testing._fairness_bounds import Step, check_bound
from flowgate.testing._fairness_suite import BoundedFairnessSuite, FairnessPolicySuite


class LongestQueue:
    """A policy in its small form."""

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        return max(band.queues, key=len)


UNEQUAL = {"a": 1e-3, "b": 1e6, "c": 3.0}
WITHOUT_BOUND = [BestHead(), QueueSelectorPolicy(LongestQueue(), 0), LeastAttainedService()]
WITH_BOUND = [
    RoundRobin(),
    DeficitRoundRobin(),
    DeficitRoundRobin(quantum=1),
    DeficitRoundRobin(quantum=50),
    DeficitRoundRobin(quantum=100, weights=UNEQUAL),
    StartTimeFairQueuing(),
    StartTimeFairQueuing(weights=UNEQUAL),
    VirtualTokenCounter(),
    VirtualTokenCounter(weights=UNEQUAL, cost="tokens"),  # of which no request says a word
    VirtualTokenCounter(weights={"a": 1.7, "b": 0.3}, max_idle_flows=1),
    # Whoever was remembered as ahead starts with a lead, which its bound takes as an argument.
    LeastAttainedService(max_idle_flows=0),
    LeastAttainedService(weights=UNEQUAL, max_idle_flows=0),
]


class TestFairnessPolicies(FairnessPolicySuite):
    """Those that share nothing, or promise nothing without a further argument."""

    @pytest.fixture(params=WITHOUT_BOUND, ids=lambda policy: policy.name)
    def policy(self, request: pytest.FixtureRequest) -> InterFlowDispatchPolicy:
        return request.param


class TestBoundedFairnessPolicies(BoundedFairnessSuite):
    """Those that say how far apart two flows may come."""

    @pytest.fixture(params=WITH_BOUND, ids=repr)
    def policy(self, request: pytest.FixtureRequest) -> InterFlowDispatchPolicy:
        return request.param


class Boastful(RoundRobin):
    """A policy that promises more than it keeps: turns of one request, whatever it costs, for a bound in cost."""

    def cost_of(self, item: QueueItem) -> float:
        return item.byte_size

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        return sum(max_cost)


class Unforgetting(RoundRobin):
    """A policy that remembers everybody."""

    memoryless = False

    def new_group(self) -> "Remembering":
        return Remembering()


class Remembering(_Ring):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        self.seen.add(flow.flow_key.id)
        super().charged(flow, item)


def test_suite_tells_who_broke_the_bound_and_when() -> None:
    """A bound that does not hold fails with the policy, the flows, the steps and the numbers."""
    history = [Step("arrive", flow, cost) for flow, cost in (("a", 100), ("c", 1)) for _ in range(5)]
    message = (
        "round-robin: flows 'a' and 'c' both waited from step 6 on, and from step 6 to step 13 'a' got 199 more "
        "per weight than 'c', where bound(max_cost=(100, 1), weights=(1.0, 1.0)) is 101"
    )
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_bound(Boastful(), history)


def test_suite_tells_what_memory_grew_to() -> None:
    """A group that remembers every flow id fails with its size after so many and after more."""
    with pytest.raises(AssertionError, match=r"round-robin: after 10000 flow ids .* held \d+ bytes; after 30000, \d+"):
        FairnessPolicySuite().test_memory_stays_bounded(Unforgetting())
