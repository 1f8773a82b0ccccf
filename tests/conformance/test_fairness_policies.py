"""Our policies between flows keep the promises of every such policy."""

import pytest

from flowgate.contracts import BandView, FlowQueueView, InterFlowDispatchPolicy
from flowgate.policies import BestHead, QueueSelectorPolicy, RoundRobin
from flowgate.testing._fairness_suite import FairnessPolicySuite


class LongestQueue:
    """A policy in its small form."""

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        return max(band.queues, key=len)


@pytest.fixture(
    params=[BestHead(), RoundRobin(), QueueSelectorPolicy(LongestQueue(), 0)], ids=lambda policy: policy.name
)
def policy(request: pytest.FixtureRequest) -> InterFlowDispatchPolicy:
    return request.param


class TestFairnessPolicies(FairnessPolicySuite):
    """All of them."""
