"""The policies of `policy.py` keep the promises of every policy."""

import pytest
from hypothesis import settings
from policy import LeastServed, LongestQueueFirst, SmallestFirst

from flowgate import PriorityBandConfig
from flowgate.contracts import InterFlowDispatchPolicy, IntraFlowDispatchPolicy
from flowgate.policies import adapt_fairness
from flowgate.testing.suites import (
    BoundedFairnessPolicy,
    BoundedFairnessSuite,
    DispatchPolicySuite,
    FairnessPolicySuite,
    engine_machine,
)


class TestSmallestFirst(DispatchPolicySuite):
    """The suite's tests, on this policy."""

    @pytest.fixture
    def policy(self) -> IntraFlowDispatchPolicy:
        """Answer with the policy under test."""
        return SmallestFirst()


class TestLongestQueueFirst(FairnessPolicySuite):
    """The same between flows: the small form is adapted, as the engine does it."""

    @pytest.fixture
    def policy(self) -> InterFlowDispatchPolicy:
        """Answer with the policy under test."""
        return adapt_fairness(LongestQueueFirst(), priority=0)


class TestLeastServed(BoundedFairnessSuite):
    """The same, and a search for two flows that come further apart than `bound` says."""

    @pytest.fixture
    def policy(self) -> BoundedFairnessPolicy:
        """Answer with the policy under test."""
        return LeastServed()


# -- the engine, with both in it

TestEngine = engine_machine(PriorityBandConfig(0, dispatch=SmallestFirst(), fairness=LeastServed()))
TestEngine.settings = settings(max_examples=20)
