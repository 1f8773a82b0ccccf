"""StartTimeFairQueuing: its tags, one rule at a time."""

from flowgate.policies import StartTimeFairQueuing
from flowgate.testing._groups import Lane, absent_flow
from flowgate.testing._items import Item


def lane_of(policy: StartTimeFairQueuing, **costs: list[int]) -> Lane:
    """A lane in which flows have queues of these costs."""
    lane = Lane(policy)
    for name, queue in costs.items():
        for cost in queue:
            lane.arrive(name, Item(byte_size=cost))
    return lane


def test_least_start_tag_goes_next() -> None:
    """Requests start where the one before in their flow ended; ties go to whoever was tagged first."""
    lane = lane_of(StartTimeFairQueuing(), a=[10, 10, 10], b=[4, 4, 4, 4])
    # Start tags: a 0, 10, 20; b 0, 4, 8, 12.
    assert "".join(lane.drain()) == "abbbaba"


def test_weight_divides_the_cost() -> None:
    """A flow of weight 3 sends three times as much."""
    lane = lane_of(StartTimeFairQueuing(weights={"heavy": 3.0}), heavy=[10] * 60, light=[10] * 60)
    served = [lane.dispatch()[0] for _ in range(40)]
    assert served.count("heavy") == 30


def test_nobody_banks_credit() -> None:
    """Who comes after others were served for long does not make up for it."""
    lane = lane_of(StartTimeFairQueuing(), a=[10] * 300, b=[10] * 300)
    for _ in range(200):
        lane.dispatch()
    for _ in range(100):
        lane.arrive("late", Item(byte_size=10))
    served = [lane.dispatch()[0] for _ in range(30)]
    assert served.count("late") in (9, 10, 11)


def test_leaving_sheds_no_debt() -> None:
    """Who sends one large request at a time, and never has two waiting, gets no more than its share."""
    lane = lane_of(StartTimeFairQueuing(), steady=[10] * 1_000)
    spent = dict.fromkeys(("steady", "sly"), 0)
    for _ in range(500):
        if "sly" not in lane.flows:
            lane.arrive("sly", Item(byte_size=100))
        name, item = lane.dispatch()
        spent[name] += item.byte_size
    assert abs(spent["steady"] - spent["sly"]) <= 200


def test_tags_are_forgotten_when_nobody_waits() -> None:
    """A busy period starts anew: what was served, or settled, before it does not count."""
    lane = lane_of(StartTimeFairQueuing(), a=[1_000, 1_000], b=[1])
    lane.drain()
    lane.settle("a", 1e6)
    lane.pass_by("a", Item(byte_size=1_000))
    lane.group.charged(absent_flow("a"), Item(cost=1_000))
    for name in "bab":
        lane.arrive(name, Item(byte_size=1))
    assert lane.drain() == ["b", "a", "b"]


def test_settlement_moves_the_tag() -> None:
    """What a request turned out to cost more holds its flow back, waiting or not, until the others caught up."""
    lane = lane_of(StartTimeFairQueuing(), a=[10], b=[10] * 20)
    assert lane.dispatch()[0] == "a"
    lane.settle("a", 40.0)
    lane.arrive("a", Item(byte_size=10))
    assert [lane.dispatch()[0] for _ in range(6)] == ["b"] * 5 + ["a"]


def test_settlement_of_who_left_counts_from_now() -> None:
    """A flow whose tag is passed already still pays what is settled while others wait; a refund earns it nothing."""
    for delta, turns in ((50.0, 6), (-50.0, 1)):
        lane = lane_of(StartTimeFairQueuing(), a=[10], b=[10] * 40)
        for _ in range(10):
            lane.dispatch()
        lane.settle("a", delta)
        lane.arrive("a", Item(byte_size=1))
        assert "a" not in [lane.dispatch()[0] for _ in range(turns - 1)]
        assert "a" in [lane.dispatch()[0] for _ in range(2)]


def test_newcomer_is_served_soon() -> None:
    """A newcomer goes before those who are ahead of what all have been served, however large its request."""
    lane = lane_of(StartTimeFairQueuing(), **{f"before {number}": [100] for number in range(50)})
    lane.drain()  # a busy period of its own
    for name in "abc" * 9:
        lane.arrive(name, Item(byte_size=100))
    lane.dispatch()
    lane.dispatch()  # the virtual time is 0, a and b are at 100, and 66 to 100 was served of each
    lane.arrive("late", Item(byte_size=10_000))
    assert [lane.dispatch()[0] for _ in range(2)] == ["c", "late"]


def test_newcomer_is_put_no_more_than_its_request_ahead() -> None:
    """Where a lot was served since the least tag, a small newcomer is put its own cost above that."""
    lane = lane_of(StartTimeFairQueuing(), a=[100] * 3, b=[100, 1])
    lane.dispatch()
    lane.arrive("large", Item(byte_size=60))
    lane.arrive("small", Item(byte_size=1))
    assert lane.drain()[:3] == ["b", "small", "large"]
