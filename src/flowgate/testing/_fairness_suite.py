"""The promises of every InterFlowDispatchPolicy, and of those that have a bound."""

import gc
import weakref
from itertools import count, islice
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings

from flowgate.contracts import Costed, InterFlowDispatchPolicy
from flowgate.testing._contracts import assert_complete
from flowgate.testing._fairness_bounds import BoundedFairnessPolicy, Step, assert_finite, check_bound, steps
from flowgate.testing._groups import Lane, absent_flow, come_and_go, play, size_of
from flowgate.testing._items import Item
from flowgate.testing._settlements import check_settlement

__all__ = ["BoundedFairnessSuite", "FairnessPolicySuite"]

# One policy serves all examples, and every subclass runs the same test: policies hold no state, groups do.
_SHARED_POLICY = (HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow)


class FairnessPolicySuite:
    """Tests of a policy between flows.

    Subclass it under a name that pytest collects, beside a fixture `policy` that answers with your policy.

    Attributes:
        remembered_flows: The most flows that do not wait that a group of it remembers.
    """

    remembered_flows: ClassVar[int] = 5_000

    def test_is_a_fairness_policy(self, policy: InterFlowDispatchPolicy) -> None:
        """It has every part of the contract, and a name to show."""
        assert_complete(policy, InterFlowDispatchPolicy)
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
        """Two groups of one policy share no state: each serves its own flows, and names no flow of the other."""
        first, second = Lane(policy), Lane(policy)
        assert first.group is not second.group, f"{policy.name}: new_group() answered with one group twice"
        first.arrive("a")
        second.arrive("b")
        for lane, own in ((second, "b"), (first, "a")):
            named = lane.group.select()
            assert named is lane.flows[own], f"{policy.name}: the group of flow {own!r} named {named!r}"
        assert (second.drain(), first.drain()) == (["b"], ["a"])

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
        kept: list[weakref.ref[object]] = []
        for name in "abcab":
            kept.append(weakref.ref(lane.arrive(name)))
            kept.append(weakref.ref(lane.flows[name]))
        lane.drain()
        gc.collect()
        assert not any(reference() for reference in kept)

    def test_memory_stays_bounded(self, policy: InterFlowDispatchPolicy) -> None:
        """Flow ids that come, are served and leave do not add up: a group's memory stops growing.

        Half of them are charged for a request that did not wait; the others are served beside a flow that keeps
        waiting, or cancelled. Where a policy remembers more than `remembered_flows` of them, say so.
        """
        lane = Lane(policy)
        ids = (f"flow {number}" for number in count())
        first_ids, more_ids = 2 * self.remembered_flows, 4 * self.remembered_flows
        come_and_go(lane, islice(ids, first_ids))
        first = size_of(lane.group)
        come_and_go(lane, islice(ids, more_ids))
        last = size_of(lane.group)
        assert last <= 2 * first + 50_000, (
            f"{policy.name}: after {first_ids} flow ids that came and left, a group held {first} bytes; "
            f"after {first_ids + more_ids}, {last}"
        )


class BoundedFairnessSuite(FairnessPolicySuite):
    """Tests of a policy between flows that has a `bound`; all those of `FairnessPolicySuite` among them.

    Subclass it under a name that pytest collects, beside a fixture `policy` that answers with your policy. It has
    `bound(max_cost, weights)`, a `BoundedFairnessPolicy`; and `weight_of(flow_key)`, if flows weigh differently. One
    that is `Costed` must make up for settlements too. The flows here are ``"a"`` to ``"d"``; what is not in a
    request's bytes, its metadata does not tell either.
    """

    @settings(deadline=None, suppress_health_check=_SHARED_POLICY)
    @given(history=steps())
    def test_bound_holds_over_every_interval(self, policy: BoundedFairnessPolicy, history: list[Step]) -> None:
        """Over any interval in which two flows both wait, their service per weight differs by at most `bound`.

        Whatever arrives, large or small, first in its queue or not; is cancelled; is charged without having waited;
        is settled at another cost, which counts when it becomes known, and widens the bound by its size.
        """
        check_bound(policy, history)

    def test_bound_is_a_number_that_grows_with_cost(self, policy: BoundedFairnessPolicy) -> None:
        """It is finite, 0 or more, needs no arguments, and is no smaller for larger requests."""
        costs = ((1, 1), (1, 1_000), (1_000_000, 1_000))
        assert_finite("bound()", policy.bound())
        bounds = [policy.bound(cost) for cost in costs]
        for cost, bound in zip(costs, bounds, strict=True):
            assert_finite(f"bound({cost})", bound)
        assert bounds == sorted(bounds), f"for max_cost of {costs} the bounds are {bounds}: larger ones may not sink"

    @pytest.mark.parametrize("sign", [1, -1], ids=["more", "less"])
    def test_settlements_are_made_up_for(self, policy: BoundedFairnessPolicy, sign: int) -> None:
        """Requests of a waiting flow turn out to cost more: another that waits gets as much; less: the flow itself.

        Give or take `bound`, which what is settled here does not widen. Asked of policies that are `Costed`.
        """
        if isinstance(policy, Costed):
            check_settlement(policy, sign)
