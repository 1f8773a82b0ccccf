"""VirtualTokenCounter: its counters, one rule at a time."""

from flowgate.policies import VirtualTokenCounter
from flowgate.testing._groups import Lane, absent_flow
from flowgate.testing._items import Item


def fill(lane: Lane, **counts: int) -> None:
    for name, count in counts.items():
        for _ in range(count):
            lane.arrive(name, Item(byte_size=10))


def served(lane: Lane, turns: int) -> str:
    return "".join(lane.dispatch()[0] for _ in range(turns))


def test_least_counter_goes_next() -> None:
    """Flows of equal requests take turns; one whose requests cost double has every third turn."""
    lane = Lane(VirtualTokenCounter())
    for _ in range(20):
        lane.arrive("a", Item(byte_size=20))
        lane.arrive("b", Item(byte_size=10))
    turns = served(lane, 30)
    assert turns.count("a") == 10


def test_nobody_banks_credit() -> None:
    """Who comes back from idling is lifted to the least counter among those waiting."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, idler=1)
    lane.dispatch()
    fill(lane, a=100, b=100)
    served(lane, 100)
    fill(lane, idler=100)
    assert served(lane, 30).count("idler") in (9, 10, 11)


def test_who_is_ahead_stays_ahead_while_idle() -> None:
    """A large request dispatched without waiting is remembered until others have caught up with it."""
    lane = Lane(VirtualTokenCounter())
    lane.pass_by("heavy", Item(byte_size=50))
    lane.pass_by("light", Item(byte_size=10))
    fill(lane, light=10, heavy=5)
    turns = [lane.dispatch()[0] for _ in range(8)]
    assert turns.index("heavy") in (4, 5)


def test_using_an_idle_lane_costs_at_most_a_request() -> None:
    """Whoever had the lane for itself is behind by its last request, not by all of them."""
    lane = Lane(VirtualTokenCounter())
    for _ in range(1_000):
        lane.pass_by("busy", Item(byte_size=10))
    fill(lane, other=10, busy=10)
    assert served(lane, 4).count("other") == 2


def test_settlement_counts_while_idle() -> None:
    """What a request turned out to cost more is counted although its flow waits no longer."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, a=1, b=10)
    assert served(lane, 1) == "a"
    lane.settle("a", 40.0)
    fill(lane, a=1)
    assert served(lane, 6) == "bbbbba"


def test_settlement_counts_when_nobody_waits() -> None:
    """A settlement after the lane has fallen idle still counts, for a flow that is ahead and for one that is not."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, a=1)
    lane.dispatch()
    lane.settle("a", 40.0)
    lane.settle("new", 40.0)
    fill(lane, b=8, a=1, new=1)
    turns = [lane.dispatch()[0] for _ in range(10)]
    assert turns[:4] == ["b"] * 4
    assert turns.index("new") < turns.index("a")


def test_refund_lets_a_waiting_flow_catch_up() -> None:
    """What a request turned out to cost less is made up for; by whichever object the flow is named."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, a=10, b=10)
    assert served(lane, 2) == "ab"
    lane.group.settled(absent_flow("a"), -9.0)
    lane.group.settled(absent_flow("a"), -9.0)
    assert served(lane, 4) == "aaba"


def test_refund_is_not_credit_for_others() -> None:
    """A refund lowers one counter; who comes then is lifted as if it had not been."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, a=100, b=100)
    served(lane, 40)
    lane.settle("a", -100.0)
    fill(lane, new=100)
    turns = served(lane, 30)
    assert abs(turns.count("new") - turns.count("b")) <= 2


def test_idle_refund_is_no_credit() -> None:
    """A refund to a flow that does not wait makes it no better than others when it comes back."""
    lane = Lane(VirtualTokenCounter())
    fill(lane, a=1, b=50)
    served(lane, 2)
    lane.settle("a", -9.0)
    fill(lane, a=50)
    assert served(lane, 20).count("a") in (9, 10, 11)


def test_remembers_so_many_idle_flows() -> None:
    """Of more flows than it may remember, the one that was served longest ago starts anew."""
    lane = Lane(VirtualTokenCounter(max_idle_flows=2))
    for name in "xyz":
        lane.pass_by(name, Item(byte_size=1_000))
    for name in "xyz":
        fill(lane, **{name: 1})
    fill(lane, new=5)
    assert served(lane, 2) in ("xnew", "newx")


def test_settlement_finds_a_flow_that_came_back() -> None:
    """A flow that was remembered, and waits again, is settled by whichever object it is named."""
    lane = Lane(VirtualTokenCounter())
    lane.pass_by("a", Item(byte_size=20))
    fill(lane, b=30, a=30)
    served(lane, 10)
    lane.group.settled(absent_flow("a"), 50.0)
    assert served(lane, 10).count("b") >= 7
