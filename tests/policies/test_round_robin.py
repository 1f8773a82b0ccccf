"""RoundRobin's bound, and its cost."""

from itertools import combinations

import hypothesis.strategies as st
from hypothesis import example, given, settings

from flowgate.policies import RoundRobin
from flowgate.testing._groups import Lane, absent_flow
from flowgate.testing._items import Flow, Item

NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), NAMES),
        st.tuples(st.just("cancel"), NAMES),
        st.tuples(st.just("dispatch"), NAMES),
        st.tuples(st.just("charge the absent"), NAMES),
    ),
    max_size=120,
)


class Spread:
    """How far two flows drift apart over any interval in which both wait."""

    def __init__(self) -> None:
        self.level = self.lowest = self.highest = self.widest = 0

    def served(self, change: int) -> None:
        self.level += change
        self.lowest, self.highest = min(self.lowest, self.level), max(self.highest, self.level)
        self.widest = max(self.widest, self.highest - self.lowest)

    def interrupted(self) -> None:
        self.level = self.lowest = self.highest = 0


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
@example(steps=[("arrive", name) for name in "aab"] + [("dispatch", "a"), ("arrive", "b"), ("dispatch", "a")] * 3)
def test_bound_holds_over_every_interval(steps: list[tuple[str, str]]) -> None:
    """Over any interval in which two flows both wait, their numbers of dispatches differ by at most bound()."""
    policy = RoundRobin()
    lane = Lane(policy)
    spreads = {pair: Spread() for pair in combinations("abcd", 2)}
    for step, name in steps:
        before, winner = lane.waiting, None
        if step == "arrive":
            lane.arrive(name)
        elif step == "charge the absent":
            lane.group.charged(absent_flow(name), Item())
        elif step == "cancel" and name in before:
            lane.cancel(name)
        elif step == "dispatch" and before:
            winner, _ = lane.dispatch()
        for pair, spread in spreads.items():
            if winner in pair and before.issuperset(pair):
                spread.served(1 if winner == pair[0] else -1)
            if not lane.waiting.issuperset(pair):
                spread.interrupted()
            assert spread.widest <= policy.bound()


def test_flows_take_turns_in_order() -> None:
    """Flows that keep waiting are served in a fixed rotation, the longest waiting first."""
    lane = Lane(RoundRobin())
    for name in "abcabcabc":
        lane.arrive(name)
    assert "".join(lane.drain()) == "abcabcabc"


def test_selection_is_no_turn() -> None:
    """To be asked twice without a charge between is to answer the same."""
    lane = Lane(RoundRobin())
    for name in "ab":
        lane.arrive(name)
    assert lane.group.select() is lane.group.select()


def test_come_back_goes_to_the_end() -> None:
    """A flow that left and returns banks no credit: it waits behind those that stayed."""
    lane = Lane(RoundRobin())
    for name in "abc":
        lane.arrive(name)
    lane.cancel("a")
    lane.arrive("a")
    assert lane.drain() == ["b", "c", "a"]


def test_new_flows_starve_nobody() -> None:
    """A flow is served within as many choices as flows waited when it began, though a new one comes at each."""
    lane = Lane(RoundRobin())
    for name in ("old", "mine"):
        lane.arrive(name)
    served = []
    for newcomer in range(5):
        lane.arrive(f"new-{newcomer}")
        served.append(lane.dispatch()[0])
    assert served.index("mine") == 1


def test_every_call_touches_one_flow() -> None:
    """The cost does not depend on the number of flows: a call looks up its own flow, and no other."""
    group = RoundRobin().new_group()
    flows = [Looked() for _ in range(1000)]
    for flow in flows:
        group.activated(flow)
    for flow in flows:
        flow.looked_up = 0
    for _ in range(1000):
        flow = group.select()
        group.charged(flow, Item())
        group.head_changed(flow)
        group.settled(flow, 1.0)
    assert max(flow.looked_up for flow in flows) <= 4


def test_says_that_it_is_memoryless() -> None:
    """It may be spared the charges of requests that did not wait."""
    assert RoundRobin.memoryless is True
    assert RoundRobin() == RoundRobin()


class Looked(Flow):
    """A flow that counts how often it is looked up."""

    looked_up = 0

    def __init__(self) -> None:
        pass

    def __hash__(self) -> int:
        self.looked_up += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other
