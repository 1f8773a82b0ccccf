"""The place that `explain` tells is the one in which requests go, wherever the order is known."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import Explanation, FlowControlConfig, PriorityBandConfig, Request, Ticket
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, Fcfs, RoundRobin
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A

Arrival = tuple[str, int, float, bool]
ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1]), st.sampled_from([5.0, 6.0, 7.0]), st.booleans()),
    max_size=25,
)


def engine(**band: Any) -> ShardProcessor:
    config = FlowControlConfig([PriorityBandConfig(priority, **band) for priority in (0, 1)], explain_last=50)
    return ShardProcessor(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))


def fill(core: ShardProcessor, arrivals: Sequence[Arrival]) -> Ticket:
    """Let requests wait behind one that has the only slot, and some of them leave."""
    held = core.submit(Request("holds"), 0.0)
    assert isinstance(held, Ticket)
    items: list[Item] = []
    for number, (flow, priority, ttl, stays) in enumerate(arrivals):
        item = core.submit(Request(flow, priority, ttl=ttl, request_id=f"r{number}"), 0.0)
        assert isinstance(item, Item)
        if not stays:
            items.append(item)
    for item in items:
        core.cancel(item, 0.0)
    return held


def told(core: ShardProcessor, arrivals: Sequence[Arrival]) -> list[Explanation]:
    every = (each for number in range(len(arrivals)) for each in core.explain(f"r{number}", 0.0))
    return [each for each in every if each.state == "waiting"]


def turn(explained: Explanation) -> int:
    assert explained.ahead_in_band is not None
    assert explained.ahead_above is not None
    return explained.ahead_in_band + explained.ahead_above


def serve(core: ShardProcessor, held: Ticket) -> list[str]:
    """Hand the slot on until nobody waits, and return who had it."""
    went: list[str] = []
    held.release()
    core.ledger.finished.clear()
    while core.has_waiting:
        core.advance(0.0)
        (item,) = core.ledger.finished
        core.ledger.finished.clear()
        assert isinstance(item.result, Ticket)
        went.append(item.result.request_id)
        item.result.release()
    return went


@pytest.mark.parametrize("dispatch", [Fcfs(), EarliestDeadlineFirst()], ids=lambda policy: policy.name)
@pytest.mark.parametrize("fairness", [RoundRobin(), BestHead()], ids=lambda policy: policy.name)
@given(arrivals=ARRIVALS)
def test_of_one_flow_in_each_band_places_are_the_order_in_which_they_go(
    dispatch: Any, fairness: Any, arrivals: list[Arrival]
) -> None:
    """By whatever dispatch policy, and whoever left meanwhile; the first ten ids ahead are those that go first."""
    arrivals = [("a", priority, ttl, stays) for _, priority, ttl, stays in arrivals]
    core = engine(dispatch=dispatch, fairness=fairness)
    held = fill(core, arrivals)
    waiting = sorted(told(core, arrivals), key=turn)
    assert [turn(each) for each in waiting] == list(range(len(waiting)))
    order = serve(core, held)
    assert order == [each.request_id for each in waiting]
    for place, each in enumerate(waiting):
        assert each.place == (each.ahead_in_band or 0) + 1
        if place <= 10:
            assert set(each.ahead) == set(order[:place])


@pytest.mark.parametrize("dispatch", [Fcfs(), EarliestDeadlineFirst()], ids=lambda policy: policy.name)
@given(arrivals=ARRIVALS)
def test_under_best_head_places_are_exact_among_many_flows(dispatch: Any, arrivals: list[Arrival]) -> None:
    """It makes one queue of many."""
    core = engine(dispatch=dispatch, fairness=BestHead())
    held = fill(core, arrivals)
    waiting = sorted(told(core, arrivals), key=turn)
    assert [turn(each) for each in waiting] == list(range(len(waiting)))
    assert serve(core, held) == [each.request_id for each in waiting]


@given(arrivals=ARRIVALS)
def test_under_round_robin_nobody_goes_later_than_told(arrivals: list[Arrival]) -> None:
    """As many of each other flow may go first as there would be in turns; the true number is that or less."""
    core = engine(fairness=RoundRobin())
    held = fill(core, arrivals)
    waiting = told(core, arrivals)
    order = serve(core, held)
    for each in waiting:
        assert (each.place or 0) - 1 <= order.index(each.request_id) <= turn(each)
