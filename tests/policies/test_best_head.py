"""BestHead against a scan of all heads, its refusals, its memory and its cost."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from flowgate.contracts import FlowGroup, ItemComparator, RankedGroup
from flowgate.policies import BestHead
from flowgate.queues import LAST, PriorityQueue
from flowgate.testing._groups import Lane
from flowgate.testing._items import SCORE, Flow, Item
from flowgate.testing._queue_suite import Grade

NAMES = st.sampled_from("abcde")
SCORES = st.sampled_from([0.0, 1, 2.0, -math.inf, math.inf, math.nan, None, ArithmeticError("score")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), NAMES, SCORES),
        st.tuples(st.just("return"), NAMES, st.integers(0, 9)),
        st.tuples(st.just("cancel"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("dispatch"), NAMES, st.none()),
        st.tuples(st.just("remind"), NAMES, st.none()),
    ),
    max_size=80,
)


def place(item: Item) -> tuple[bool, float, int]:
    has_key = isinstance(item.score, int | float) and not math.isnan(item.score)
    return (not has_key, item.score if has_key else 0, item.arrival)


def tombstones(group: FlowGroup) -> int:
    return len(group._heap) - len(group._entries)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_agrees_with_a_scan(steps: list[tuple[str, str, Any]]) -> None:
    """Through any history the selected flow is the one that a scan of all heads finds, and so is the rank."""
    lane = Lane(BestHead(), SCORE)
    gone: list[Item] = []
    for step, name, detail in steps:
        if step == "arrive":
            lane.arrive(name, Item(score=detail))
        elif step == "return" and gone:
            lane.arrive(name, gone.pop(detail % len(gone)))
        elif step == "dispatch" and lane.waiting:
            gone.append(lane.dispatch()[1])
        elif step == "cancel" and name in lane.waiting:
            gone.append(list(lane.flows[name].queue)[detail % len(lane.flows[name])])
            lane.cancel(name, detail)
        elif step == "remind" and name in lane.waiting:
            lane.group.head_changed(lane.flows[name])
        assert 0 <= tombstones(lane.group) <= len(lane.waiting)
        if lane.waiting:
            best = min(lane.flows.values(), key=lambda flow: place(flow.head))
            key = LAST if place(best.head)[0] else best.head.score
            assert lane.group.rank() == (key, best.head.arrival)
            assert lane.group.select() is best


def test_groups_can_be_ranked() -> None:
    """Its groups offer their best head, so that lanes are compared by it; ranks of any two compare."""
    first, second = Lane(BestHead(), SCORE), Lane(BestHead(), SCORE)
    first.arrive("a", Item(score=None, arrival=1))
    second.arrive("a", Item(score=9.0, arrival=2))
    assert isinstance(first.group, RankedGroup)
    assert second.group.rank() < first.group.rank() == (LAST, 1)


def test_shares_nothing() -> None:
    """A flow with the better requests takes every slot."""
    lane = Lane(BestHead(), SCORE)
    for name, score in (("a", 3.0), ("b", 1.0), ("b", 2.0), ("b", 2.5)):
        lane.arrive(name, Item(score=score))
    assert lane.drain() == ["b", "b", "b", "a"]


def test_two_score_types_do_not_mix() -> None:
    """A flow whose keys are of another type than the group's is refused, by a TypeError that names both."""
    group = BestHead().new_group()
    group.activated(flow_of(SCORE, "a"))
    with pytest.raises(TypeError, match=r"'b'.* str,.* float"):
        group.activated(flow_of(ItemComparator(str, lambda item: "x"), "b"))
    assert group.select().flow_key.id == "a"


def test_empty_group_takes_a_new_score_type() -> None:
    """Once all flows have left, those of a new dispatch policy may come."""
    group = BestHead().new_group()
    old, new = flow_of(SCORE, "a"), flow_of(ItemComparator(str, lambda item: "x"), "b")
    group.activated(old)
    group.emptied(old)
    group.activated(new)
    assert group.select() is new


def test_keys_need_only_know_their_own_kind() -> None:
    """A key type that fails against strangers serves, beside heads without a key."""
    lane = Lane(BestHead(), ItemComparator(Grade, SCORE.key))
    for name, score in (("a", None), ("b", Grade(2)), ("c", Grade(1)), ("d", None)):
        lane.arrive(name, Item(score=score))
    assert lane.drain() == ["c", "b", "a", "d"]


def test_tie_with_a_tombstone_compares_no_flows() -> None:
    """An item that left a flow and is the head of another has two entries of one rank; flows need no order."""
    lane = Lane(BestHead(), SCORE)
    for name, score in (("a", 0.0), ("a", 2.0), ("b", 1.0)):
        lane.arrive(name, Item(score=score))
    moved = lane.flows["b"].head
    lane.cancel("b")
    lane.arrive("c", moved)
    assert tombstones(lane.group) == 1
    assert lane.drain() == ["a", "c", "a"]


def test_flow_without_a_head_waits_no_longer() -> None:
    """Told that the head of an empty flow changed, it takes the flow for emptied."""
    group = BestHead().new_group()
    full, empty = flow_of(SCORE, "a"), flow_of(SCORE, "b")
    group.activated(empty)
    group.activated(full)
    empty.queue.remove(empty.head)
    group.head_changed(empty)
    assert group.select() is full


def test_tombstones_do_not_pile_up() -> None:
    """Flows that come and go behind a best head which never moves leave no more tombstones than flows wait."""
    lane = Lane(BestHead(), SCORE)
    lane.arrive("best", Item(score=-1.0))
    for number in range(1000):
        lane.arrive(f"flow-{number}", Item(score=float(number)))
    for number in range(1000):
        lane.cancel(f"flow-{number}")
        assert tombstones(lane.group) <= len(lane.waiting)
    assert lane.drain() == ["best"]
    assert tombstones(lane.group) == 0


def test_dispatch_leaves_no_tombstone() -> None:
    """While the selected flows go on waiting, their entries are replaced in place."""
    lane = Lane(BestHead())
    for name in "abcabcabc":
        lane.arrive(name)
    for _ in range(6):
        lane.dispatch()
        assert tombstones(lane.group) == 0


def test_choice_costs_log_n() -> None:
    """Among 4,096 flows a dispatch takes O(log n) comparisons of keys, in the long run."""
    lane = Lane(BestHead(), ItemComparator(Grade, lambda item: Grade(item.arrival)))
    for number in range(2 * 4096):
        lane.arrive(f"flow-{number % 4096}")
    Grade.compared = 0
    for _ in range(4096):
        lane.dispatch()
    assert Grade.compared <= 4096 * 4 * 12


def test_says_that_it_is_memoryless() -> None:
    """It may be spared the charges of requests that did not wait."""
    assert BestHead.memoryless is True
    assert BestHead() == BestHead()


def flow_of(comparator: ItemComparator, name: str) -> Flow:
    flow = Flow(PriorityQueue(comparator), comparator, name)
    flow.queue.add(Item())
    return flow
