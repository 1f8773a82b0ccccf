"""DeficitRoundRobin against rounds that are really played, and its rules one by one."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from flowgate.policies import DeficitRoundRobin
from flowgate.testing._groups import Lane, absent_flow
from flowgate.testing._items import SCORE, Item


class Played:
    """The paper's algorithm, round by round, for a flow of each name with its queue of costs."""

    def __init__(self, quantum: int) -> None:
        self.quantum = quantum
        self.queues: dict[str, list[int]] = {}
        self.deficits: dict[str, int] = {}
        self.now: list[str] = []  # those whose turn of this round is to come; the first may be at it
        self.after: list[str] = []  # those who had it, in order
        self.fresh: list[str] = []  # those who came in this round
        self.at_it = False

    def arrive(self, name: str, cost: int) -> None:
        if name not in self.queues:
            self.queues[name] = []
            self.deficits[name] = 0
            self.fresh.append(name)
        self.queues[name].append(cost)

    def dispatch(self) -> str:
        while True:
            if not self.now:
                self.now, self.after, self.fresh = self.fresh + self.after, [], []
            name = self.now[0]
            if not self.at_it:
                self.deficits[name] += self.quantum
                self.at_it = True
            if self.deficits[name] >= self.queues[name][0]:
                self.deficits[name] -= self.queues[name].pop(0)
                self._forget_if_empty(name)
                return name
            self.after.append(self.now.pop(0))
            self.at_it = False

    def cancel(self, name: str, index: int) -> None:
        self.queues[name].pop(index)
        self._forget_if_empty(name)

    def _forget_if_empty(self, name: str) -> None:
        if self.queues[name]:
            return
        if self.now[:1] == [name]:
            self.at_it = False
        for names in (self.now, self.after, self.fresh):
            if name in names:
                names.remove(name)
        del self.queues[name], self.deficits[name]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "dispatch", "cancel"]),
        st.sampled_from("abcd"),
        st.integers(1, 40),
        st.integers(0, 2),
    )
)


@settings(max_examples=500)
@given(quantum=st.sampled_from([1, 3, 10, 100]), steps=STEPS)
def test_serves_as_if_every_round_were_played(quantum: int, steps: list[tuple[str, str, int, int]]) -> None:
    """Counting the rounds in which flows only save, instead of playing them, makes no difference."""
    lane, played = Lane(DeficitRoundRobin(quantum)), Played(quantum)
    for what, name, cost, index in steps:
        if what == "arrive":
            lane.arrive(name, Item(byte_size=cost))
            played.arrive(name, cost)
        elif what == "dispatch" and lane.flows:
            assert lane.dispatch()[0] == played.dispatch()
        elif what == "cancel" and name in lane.flows:
            at = index % len(lane.flows[name])
            lane.cancel(name, at)
            played.cancel(name, at)
    while lane.flows:
        assert lane.dispatch()[0] == played.dispatch()


def test_a_turn_spends_its_quantum() -> None:
    """With a quantum of 100 a flow sends a hundred of one byte for each request of a hundred."""
    lane = Lane(DeficitRoundRobin(quantum=100))
    for _ in range(200):
        lane.arrive("small", Item(byte_size=1))
    for _ in range(2):
        lane.arrive("large", Item(byte_size=100))
    assert lane.drain() == (["small"] * 100 + ["large"]) * 2


def test_what_does_not_suffice_is_kept() -> None:
    """Three turns of 100 are a request of 250, and 50 towards the next."""
    lane = Lane(DeficitRoundRobin(quantum=100))
    for cost in (250, 150):
        lane.arrive("large", Item(byte_size=cost))
    for _ in range(9):
        lane.arrive("even", Item(byte_size=100))
    served = lane.drain()
    assert [served.index("large"), served.index("large", 3)] == [2, 4]


def test_nobody_banks_credit() -> None:
    """Who leaves, leaves what was saved behind: coming back it saves from nothing."""
    lane = Lane(DeficitRoundRobin(quantum=100))
    for _ in range(20):
        lane.arrive("even", Item(byte_size=100))
    lane.arrive("saver", Item(byte_size=1_000))
    for _ in range(9):
        assert lane.dispatch()[0] == "even"
    lane.cancel("saver")
    lane.arrive("saver", Item(byte_size=1_000))
    assert [lane.dispatch()[0] for _ in range(9)] == ["even"] * 9
    assert "saver" in [lane.dispatch()[0] for _ in range(2)]


def test_cheaper_head_goes_as_soon_as_saved_for() -> None:
    """A head that is cancelled, or overtaken, leaves what was saved for it to the next: at its turn, not before."""
    lane = Lane(DeficitRoundRobin(quantum=10), SCORE)
    for _ in range(100):
        lane.arrive("a", Item(byte_size=10))
        lane.arrive("b", Item(byte_size=10))
    lane.arrive("saver", Item(score=1.0, byte_size=1_000))
    for _ in range(51):
        assert lane.dispatch()[0] in "ab"
    lane.arrive("saver", Item(score=0.0, byte_size=200))
    assert [lane.dispatch()[0] for _ in range(3)] == ["b", "saver", "a"]


def test_newcomer_goes_first_in_the_next_round() -> None:
    """Nobody has two turns before a newcomer has one, and those whose turn is to come have it first."""
    lane = Lane(DeficitRoundRobin(quantum=10))
    for name in "ab" * 5:
        lane.arrive(name, Item(byte_size=10))
    assert lane.dispatch()[0] == "a"
    for name in "cd" * 5:
        lane.arrive(name, Item(byte_size=10))
    assert "".join(lane.drain()[:9]) == "bcdabcdab"


def test_settlement_is_spent_and_given_back() -> None:
    """What a request turned out to cost more is saved for first; what it cost less may be spent."""
    lane = Lane(DeficitRoundRobin(quantum=10))
    for _ in range(20):
        lane.arrive("a", Item(byte_size=10))
        lane.arrive("b", Item(byte_size=10))
    first, _ = lane.dispatch()
    lane.settle(first, 50.0)
    other = {"a": "b", "b": "a"}[first]
    assert [lane.dispatch()[0] for _ in range(6)] == [other] * 6
    lane.group.settled(absent_flow(first), -30.0)  # another view of the same flow
    served = [lane.dispatch()[0] for _ in range(4)]
    assert served.count(first) == 4


def test_settlement_of_who_left_is_forgotten() -> None:
    """Who does not wait has no deficit to correct."""
    lane = Lane(DeficitRoundRobin(quantum=10))
    lane.arrive("a", Item(byte_size=10))
    lane.dispatch()
    lane.settle("a", 1e9)
    lane.arrive("b", Item(byte_size=10))
    lane.arrive("a", Item(byte_size=10))
    assert lane.drain() == ["b", "a"]


def test_weight_multiplies_the_quantum() -> None:
    """A flow of weight 3 sends three times as much."""
    lane = Lane(DeficitRoundRobin(quantum=10, weights={"heavy": 3.0}))
    for _ in range(60):
        lane.arrive("heavy", Item(byte_size=10))
        lane.arrive("light", Item(byte_size=10))
    served = [lane.dispatch()[0] for _ in range(40)]
    assert served.count("heavy") == 30


@pytest.mark.parametrize("quantum", [0, -1, math.inf, math.nan])
def test_refuses_a_quantum_out_of_range(quantum: float) -> None:
    """A quantum is finite and more than 0."""
    with pytest.raises(ValueError, match="quantum must be finite and more than 0, not "):
        DeficitRoundRobin(quantum=quantum)


@pytest.mark.parametrize("quantum", ["10", None, True])
def test_refuses_a_quantum_that_is_no_number(quantum: Any) -> None:
    """A quantum is a number."""
    with pytest.raises(TypeError, match="quantum must be a number, not "):
        DeficitRoundRobin(quantum=quantum)
