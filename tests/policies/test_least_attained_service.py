"""LeastAttainedService against levels that are really decayed, and its rules one by one."""

from fractions import Fraction
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from flowgate.contracts import ClockBound
from flowgate.policies import LeastAttainedService
from flowgate.testing._groups import Lane
from flowgate.testing._items import Item


class Ticking:
    """A lane of a policy whose half-life is 1 second of its own time."""

    def __init__(self, **arguments: Any) -> None:
        self.now = 0.0
        self.policy = LeastAttainedService(half_life=1.0, **arguments)
        self.policy.bind(lambda: self.now)
        self.lane = Lane(self.policy)

    def arrive(self, name: str, cost: int, count: int = 1) -> None:
        for _ in range(count):
            self.lane.arrive(name, Item(byte_size=cost))

    def pass_by(self, name: str, cost: int) -> None:
        self.lane.pass_by(name, Item(byte_size=cost))

    def serve(self, turns: int) -> list[str]:
        return [self.lane.dispatch()[0] for _ in range(turns)]


@attrs.define
class Shared:
    """Two flows that wait together: how far apart they were then, and the lead since each instant, decayed to now."""

    lead: Fraction
    since: list[Fraction]


class Decayed:
    """What flows attained, halved with every second that passes."""

    def __init__(self) -> None:
        self.levels: dict[str, Fraction] = dict.fromkeys("abcd", Fraction(0))
        self.weights = dict(zip("abcd", [1, 2, 3, 1], strict=True))
        self.largest = dict.fromkeys("abcd", 1)
        self.fluid = Fraction(0)
        self.shared: dict[tuple[str, str], Shared] = {}

    def wait(self, seconds: int) -> None:
        self.fluid /= 2**seconds
        self.levels = {name: level / 2**seconds for name, level in self.levels.items()}
        for shared in self.shared.values():
            shared.since = [lead / 2**seconds for lead in shared.since]

    def begin(self, name: str, cost: int, waiting: set[str]) -> None:
        least = min((self.levels[other] for other in waiting), default=Fraction(0))
        entry = max(least, min(self.fluid, least + Fraction(cost, self.weights[name])))
        self.levels[name] = max(self.levels[name], entry)
        for other in waiting:
            lead = abs(self.levels[name] - self.levels[other])
            self.shared[min(name, other), max(name, other)] = Shared(lead, [Fraction(0)])

    def charge(self, name: str, cost: int, waiting: set[str]) -> None:
        if name in waiting:
            least = min(self.levels[other] for other in waiting)
            assert self.levels[name] - least < Fraction(1, 10**9), "another attained less"
            self.fluid = max(self.fluid, least) + Fraction(cost, sum(self.weights[other] for other in waiting))
        self.levels[name] += Fraction(cost, self.weights[name])
        for pair, shared in self.shared.items():
            if name in pair:
                gain = Fraction(cost, self.weights[name]) * (1 if name == pair[0] else -1)
                shared.since = [lead + gain for lead in shared.since] + [Fraction(0)]

    def end(self, waiting: set[str]) -> None:
        self.shared = {pair: shared for pair, shared in self.shared.items() if waiting.issuperset(pair)}
        if not waiting:
            self.fluid = Fraction(0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive"] * 3 + ["dispatch"] * 3 + ["wait", "cancel", "pass by"]),
        st.sampled_from("abcd"),
        st.one_of(st.integers(1, 30), st.sampled_from([100, 10_000])),
    ),
    max_size=100,
)


@given(steps=STEPS)
@example(  # a has a lead of 600, and b may catch up
    steps=[("pass by", "a", 30)] * 20 + [("arrive", "b", 30)] * 50 + [("arrive", "a", 30)] + [("dispatch", "b", 1)] * 45
)
def test_least_attained_goes_next_and_bound_holds(steps: list[tuple[str, str, int]]) -> None:
    """As time goes by the least attained goes next, and over any interval two flows differ by at most the bound.

    The service of an interval counts as decayed to its end; the lead is what the two levels were apart at first.
    """
    model = Decayed()
    ticking = Ticking(weights=model.weights)
    lane = ticking.lane
    for what, name, cost in steps:
        before = lane.waiting
        if what == "wait":
            ticking.now += cost % 300
            model.wait(cost % 300)
        elif what == "arrive":
            model.largest[name] = max(model.largest[name], cost)
            if name not in before:
                model.begin(name, cost, before)
            ticking.arrive(name, cost)
        elif what == "cancel" and name in before:
            lane.cancel(name)
        elif what == "dispatch" and before:
            winner, item = lane.dispatch()
            model.charge(winner, item.byte_size, before)
        elif what == "pass by" and not before:
            ticking.pass_by(name, cost)
            model.charge(name, cost, before)
        for (one, other), shared in model.shared.items():
            bound = ticking.policy.bound(
                (model.largest[one], model.largest[other]),
                (model.weights[one], model.weights[other]),
                lead=float(shared.lead),
            )
            assert max(map(abs, shared.since)) <= bound * (1 + 1e-9)
        model.end(lane.waiting)


def test_is_bound_to_a_clock() -> None:
    """It takes its time from the controller, also for groups that it made before."""
    assert isinstance(LeastAttainedService(), ClockBound)
    assert LeastAttainedService() == LeastAttainedService()


def test_past_decays() -> None:
    """After ten half-lives a thousand is like one."""
    ticking = Ticking()
    ticking.pass_by("heavy", 1024)
    ticking.now = 10.0
    ticking.arrive("light", 1, count=20)
    ticking.arrive("heavy", 1, count=20)
    assert ticking.serve(6).count("heavy") in (2, 3)


def test_past_decays_within_a_half_life() -> None:
    """After half a half-life a thousand counts 707."""
    ticking = Ticking()
    ticking.pass_by("heavy", 1_000)
    ticking.now = 0.5
    ticking.arrive("light", 10, count=200)
    ticking.arrive("heavy", 10)
    assert ticking.serve(80).index("heavy") == 71


def test_past_counts_until_it_decays() -> None:
    """Who used an idle lane much stays behind who did not."""
    ticking = Ticking()
    for _ in range(10):
        ticking.pass_by("heavy", 100)
    ticking.arrive("light", 10, count=101)
    ticking.arrive("heavy", 10)
    assert ticking.serve(100) == ["light"] * 100


def test_nobody_banks_credit() -> None:
    """Who comes back is lifted to the least level among those waiting."""
    ticking = Ticking()
    ticking.arrive("a", 10, count=200)
    ticking.arrive("b", 10, count=200)
    ticking.serve(100)
    ticking.arrive("idler", 10, count=100)
    assert ticking.serve(30).count("idler") in (9, 10, 11)


def test_idle_lane_lifts_nobody() -> None:
    """Who comes first to a lane in which nobody waits starts from what it attained itself, whatever others did."""
    ticking = Ticking()
    ticking.arrive("before", 100, count=2)
    ticking.serve(2)
    ticking.pass_by("b", 8)
    ticking.arrive("a", 10, count=2)
    ticking.arrive("b", 1, count=4)
    assert ticking.serve(4) == ["a", "b", "b", "a"]


def test_time_alone_changes_no_turn() -> None:
    """Decay keeps the order: who is next stays next, through any number of half-lives."""
    for seconds in (1.5, 300.0, 1e6, 1e300):
        ticking = Ticking()
        for name, turns in (("a", 3), ("b", 1), ("c", 2)):
            for _ in range(turns):
                ticking.pass_by(name, 10)
        for name in "bca":
            ticking.arrive(name, 10, count=2)
        ticking.now = seconds
        assert ticking.serve(1) == ["b"]


def test_rescaling_keeps_who_is_ahead() -> None:
    """Service counts the same on both sides of a rescaling, of those who wait and of those who do not."""
    ticking = Ticking()
    ticking.now = 254.0
    ticking.pass_by("idle", 1 << 12)
    ticking.arrive("b", 10, count=200)
    ticking.arrive("a", 10, count=200)
    ticking.serve(101)
    ticking.now = 258.0
    ticking.arrive("idle", 10)
    # b is ahead by 10 / 16 of a's level; idle attained 4096 / 16, they 500 / 16 each.
    assert ticking.serve(1) == ["a"]
    served = ticking.serve(60)
    assert served.index("idle") in range(43, 48)


def test_numbers_do_not_grow_with_time() -> None:
    """A group that is always busy holds as much after thousands of half-lives as after a few."""
    ticking = Ticking()
    ticking.arrive("a", 10, count=500)
    ticking.arrive("b", 10, count=500)
    sizes: list[int] = []
    for _ in range(2):
        ticking.serve(400)
        ticking.now += 250.0
        ticking.lane.cancel("a", 1)
        sizes.append(sum(account.level.bit_length() for account in ticking.lane.group._accounts.values()))
        for _ in range(90):
            ticking.now += 100.0
            ticking.serve(1)
    sizes.append(sum(account.level.bit_length() for account in ticking.lane.group._accounts.values()))
    assert max(sizes) < 2 * 500


def test_rescaling_lifts_nobody() -> None:
    """The first that is heard of a flow may be what has the levels rescaled; it begins with nothing all the same."""
    for tell in (lambda ticking: ticking.pass_by("a", 10), lambda ticking: ticking.lane.settle("a", 10.0)):
        ticking = Ticking()
        ticking.now = 200.0
        ticking.pass_by("old", 10)
        ticking.now = 300.0
        tell(ticking)
        ticking.arrive("b", 1, count=20)
        ticking.arrive("a", 1)
        assert ticking.serve(12).index("a") in (10, 11)


def test_rescaling_keeps_where_newcomers_enter() -> None:
    """A newcomer goes before those who are ahead of what all have been served, also after a rescaling."""
    ticking = Ticking()
    ticking.now = 255.0
    for name in "abc":
        ticking.arrive(name, 100, count=9)
    assert ticking.serve(2) == ["a", "b"]
    ticking.now = 257.0
    ticking.arrive("late", 10_000)
    assert ticking.serve(2) == ["c", "late"]


def test_settlement_counts_as_known() -> None:
    """What a request turned out to cost more is attained service, also of a flow that does not wait."""
    ticking = Ticking()
    ticking.pass_by("a", 10)
    ticking.lane.settle("a", 90.0)
    ticking.arrive("b", 10, count=20)
    ticking.arrive("a", 10)
    assert ticking.serve(10) == ["b"] * 10


def test_clock_that_goes_back_stands_still() -> None:
    """A clock that is set back, or replaced by another, makes nothing older or younger."""
    ticking = Ticking()
    ticking.now = 1e9
    ticking.pass_by("a", 100)
    ticking.now = 0.0
    ticking.arrive("b", 10, count=20)
    ticking.arrive("a", 10)
    assert ticking.serve(10) == ["b"] * 10
    ticking.now = 20.0
    assert "a" in ticking.serve(2)


def test_forgets_what_decayed_to_nothing() -> None:
    """A flow whose service has decayed to nothing is not remembered: fifty half-lives later it is like new."""
    ticking = Ticking()
    for number in range(100):
        ticking.pass_by(f"old {number}", 1_000)
    group: Any = ticking.lane.group
    assert len(group._accounts) == 100
    ticking.now = 50.0
    ticking.pass_by("new", 1)
    assert len(group._accounts) == 1


@pytest.mark.parametrize("half_life", [0, -1.0, float("inf"), float("nan")])
def test_refuses_a_half_life_out_of_range(half_life: float) -> None:
    """A half-life is finite and more than 0."""
    with pytest.raises(ValueError, match="half_life must be finite and more than 0, not "):
        LeastAttainedService(half_life=half_life)


@pytest.mark.parametrize("half_life", ["60", None, True])
def test_refuses_a_half_life_that_is_no_number(half_life: Any) -> None:
    """A half-life is a number."""
    with pytest.raises(TypeError, match="half_life must be a number, not "):
        LeastAttainedService(half_life=half_life)
