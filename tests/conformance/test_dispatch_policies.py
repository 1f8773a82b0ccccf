"""Our policies within a flow keep the promises of every such policy."""

import pytest

from flowgate.contracts import IntraFlowDispatchPolicy
from flowgate.policies import EarliestDeadlineFirst, Fcfs, SloDeadline
from flowgate.testing.suites import DispatchPolicySuite


@pytest.fixture(params=[Fcfs(), EarliestDeadlineFirst(), SloDeadline()], ids=lambda policy: policy.name)
def policy(request: pytest.FixtureRequest) -> IntraFlowDispatchPolicy:
    return request.param


class TestDispatchPolicies(DispatchPolicySuite):
    """All of them."""
