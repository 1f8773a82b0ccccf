"""The promises of every InterFlowDispatchPolicy."""

import gc
import weakref

import pytest

from flowgate.contracts import InterFlowDispatchPolicy
from flowgate.testing._groups import Lane, absent_flow, play
from flowgate.testing._items import Item


class FairnessPolicySuite:
    """Tests of a policy between flows.

    Subclass it under a name that pytest collects, beside a fixture `policy` that answers with your policy.
    """

    def test_is_a_fairness_policy(self, policy: InterFlowDispatchPolicy) -> None:
        """It has every part of the contract, and a name to show."""
        assert isinstance(policy, InterFlowDispatchPolicy)
        assert policy.name == policy.name.strip() != ""

    def test_only_flow_is_selected(self, policy: InterFlowDispatchPolicy) -> None:
        """A flow that waits alone has every turn."""
        lane = Lane(policy)
        for _ in range(3):
            lane.arrive("a")
        assert lane.drain() == ["a", "a", "a"]

    @pytest.mark.parametrize("seed", range(20))
    def test_names_only_flows_that_wait(self, policy: InterFlowDispatchPolicy, seed: int) -> None:
        """Through any history it names a flow that waits, until all is served: nothing is lost, nothing doubled."""
        lane = Lane(policy)
        arrived, gone = play(lane, seed, steps=300)
        assert len(lane.drain()) == arrived - gone

    def test_serves_every_flow(self, policy: InterFlowDispatchPolicy) -> None:
        """Once arrivals end, every flow that waits is served."""
        lane = Lane(policy)
        for name in "abcabcaab":
            lane.arrive(name)
        assert sorted(lane.drain()) == sorted("abcabcaab")

    def test_groups_are_independent(self, policy: InterFlowDispatchPolicy) -> None:
        """Two groups of one policy share no state: each serves its own flows."""
        first, second = Lane(policy), Lane(policy)
        first.arrive("a")
        second.arrive("b")
        assert (first.drain(), second.drain()) == (["a"], ["b"])

    def test_flow_may_come_back(self, policy: InterFlowDispatchPolicy) -> None:
        """A flow that was emptied, by dispatch or by cancellation, waits again like any other."""
        lane = Lane(policy)
        for leave in (lane.dispatch, lambda: lane.cancel("a")):
            lane.arrive("a")
            leave()
            assert not lane.waiting
        lane.arrive("a")
        assert lane.drain() == ["a"]

    def test_flows_that_do_not_wait_do_no_harm(self, policy: InterFlowDispatchPolicy) -> None:
        """A charge, a settlement or an end for a flow that never waited here changes nobody's turn."""
        lane = Lane(policy)
        lane.arrive("a")
        for flow in (absent_flow(), absent_flow("a")):
            lane.group.charged(flow, Item())
            lane.group.settled(flow, 1.0)
            lane.group.emptied(flow)
        assert lane.drain() == ["a"]

    def test_settlement_is_heard(self, policy: InterFlowDispatchPolicy) -> None:
        """A cost that turns out higher or lower, of a flow that waits, is taken without complaint."""
        lane = Lane(policy)
        for name in "aabb":
            lane.arrive(name)
        name, _ = lane.dispatch()
        lane.group.settled(lane.flows[name], 2.0)
        lane.group.settled(lane.flows[name], -1.0)
        assert len(lane.drain()) == 3

    def test_empty_group_holds_no_flow(self, policy: InterFlowDispatchPolicy) -> None:
        """Once nothing waits, the group keeps neither flows nor items alive."""
        lane = Lane(policy)
        kept = []
        for name in "abcab":
            kept.append(weakref.ref(lane.arrive(name)))
            kept.append(weakref.ref(lane.flows[name]))
        lane.drain()
        gc.collect()
        assert not any(reference() for reference in kept)
