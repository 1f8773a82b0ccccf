"""Checks what a fairness policy promises of two flows, over every interval in which both wait."""

import math
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import hypothesis.strategies as st

from flowgate.contracts import FlowKey, InterFlowDispatchPolicy
from flowgate.testing._groups import Lane
from flowgate.testing._items import SCORE, Item

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FLOW_IDS",
    "BoundCheck",
    "BoundedFairnessPolicy",
    "Step",
    "assert_finite",
    "bind_to_still_clock",
    "check_bound",
    "steps",
    "weigh_one",
]

FLOW_IDS: Final[tuple[str, ...]] = ("a", "b", "c", "d")
"""The flows that take part."""

_ROUNDING = Fraction(1, 10**9)


class BoundedFairnessPolicy(InterFlowDispatchPolicy, Protocol):
    """A policy between flows that says how far apart two may come.

    It may also have `weight_of(flow_key)`; without it every flow weighs 1.
    """

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        """Largest difference in service per weight between two flows, over any interval in which both wait."""
        ...


@attrs.frozen
class Step:
    """One thing that happens to a lane.

    Attributes:
        what: "arrive", "cancel", "dispatch", "pass by" (a request that does not wait) or "settle".
        flow: Whose request it is; of a settlement, whose of the requests gone before.
        cost: Bytes; the true cost of a settlement.
        place: Which item of a queue, or which request; of an arrival, its place in the flow's order (smallest first).
    """

    what: str
    flow: str
    cost: int = 1
    place: int = 0


_COSTS = st.one_of(st.integers(1, 5), st.sampled_from([0, 10, 100, 1_000, 10**6, 10**12]), st.integers(1, 20_000))
_STEPS = st.builds(
    Step,
    # Twice as many requests come as go, so that flows wait together.
    st.sampled_from(["arrive"] * 4 + ["dispatch"] * 4 + ["cancel", "pass by", "settle"]),
    st.sampled_from(FLOW_IDS),
    _COSTS,
    st.integers(0, 3),
)


def steps(max_size: int = 150) -> st.SearchStrategy[list[Step]]:
    """Histories of a lane: of all that may happen, or of flows whose requests cost the same and come in bursts."""
    costs = st.tuples(*[_COSTS for _ in FLOW_IDS])
    return st.one_of(st.lists(_STEPS, max_size=max_size), costs.flatmap(lambda costs: _bursts(costs, max_size)))


def _bursts(costs: tuple[int, ...], max_size: int) -> st.SearchStrategy[list[Step]]:
    bursts = st.tuples(
        st.sampled_from(["arrive", "dispatch", "dispatch", "cancel", "pass by"]),
        st.sampled_from(list(zip(FLOW_IDS, costs, strict=True))),
        st.integers(1, 12),
    )
    return st.lists(bursts, max_size=max_size // 4).map(
        lambda drawn: [Step(what, flow, cost) for what, (flow, cost), count in drawn for _ in range(count)]
    )


def check_bound(policy: BoundedFairnessPolicy, history: list[Step]) -> None:
    """Play a history, and check the bound after each step over all intervals that end there.

    Raises:
        AssertionError: Two flows came further apart than the policy says.
    """
    check = BoundCheck(policy)
    for step in history:
        check.play(step)
    while check.lane.flows:
        check.play(Step("dispatch", "whoever"))


@attrs.define
class _Tally:
    """What a flow got, per weight, and what may excuse it.

    Attributes:
        weight: Of the flow.
        service: All that was charged and settled.
        settled: The sizes of all its settlements.
        excused: Those of them that were known before its last turn before it began to wait.
        at_last_turn: Those known at its last turn so far.
        largest: The largest cost of its requests.
    """

    weight: Fraction
    service: Fraction = Fraction(0)
    settled: Fraction = Fraction(0)
    excused: Fraction = Fraction(0)
    at_last_turn: Fraction = Fraction(0)
    largest: float = 1


@attrs.define
class _Shared:
    """A time in which two flows wait together: how far one was ahead of the other, least and most, and when."""

    began: int
    least: tuple[Fraction, int]
    most: tuple[Fraction, int]


def assert_finite(asked: str, bound: object) -> None:
    """Require that an answer of `bound` can be compared with.

    Raises:
        AssertionError: It is not finite, less than 0, or no number; it says what was asked.
    """
    is_finite = isinstance(bound, int | float | Fraction) and 0 <= bound < math.inf
    assert is_finite, f"{asked} is {bound!r}: it must be a finite number, 0 or more"


def weigh_one(key: FlowKey) -> float:  # noqa: ARG001 - whoever it is
    """Weigh a flow of a policy that weighs none."""
    return 1.0


def bind_to_still_clock(policy: BoundedFairnessPolicy) -> None:
    """Bind a policy that can be bound to a clock that stands still: service that decays does so in no time."""
    bind = getattr(policy, "bind", None)
    if bind is not None:
        bind(lambda: 0.0)


class BoundCheck:
    """A lane, and the service of its flows over every interval in which two of them wait."""

    def __init__(self, policy: BoundedFairnessPolicy) -> None:
        bind_to_still_clock(policy)
        weight_of: Callable[[FlowKey], float] = getattr(policy, "weight_of", weigh_one)
        self.policy = policy
        self.lane = Lane(policy, SCORE)
        self._tallies = {flow: _Tally(Fraction(weight_of(FlowKey(flow)))) for flow in FLOW_IDS}
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._gone: list[tuple[str, Item]] = []
        self._at = 0

    def play(self, step: Step) -> None:
        """Do one step, as far as it can be done, and check the bound."""
        self._at += 1
        waited = self.lane.waiting
        do: dict[str, Callable[[Step], str | None]] = {
            "arrive": self._arrive,
            "cancel": self._cancel,
            "dispatch": self._dispatch,
            "pass by": self._pass_by,
            "settle": self._settle,
        }
        served = do[step.what](step)  # the flow whose service changed
        for pair in combinations(FLOW_IDS, 2):
            if served in pair and pair in self._shared:
                self._compare(pair)
            if not self.lane.waiting.issuperset(pair):
                self._shared.pop(pair, None)
            elif not waited.issuperset(pair):
                self._meet(pair)

    def _arrive(self, step: Step) -> str | None:
        tally = self._tallies[step.flow]
        if step.flow not in self.lane.flows:
            tally.excused = tally.at_last_turn
        item = self.lane.arrive(step.flow, Item(score=float(step.place), byte_size=step.cost))
        tally.largest = max(tally.largest, item.cost)
        return None

    def _cancel(self, step: Step) -> str | None:
        if step.flow in self.lane.flows:
            self.lane.cancel(step.flow, step.place)
        return None

    def _dispatch(self, step: Step) -> str | None:  # noqa: ARG002 - whose turn it is, the policy says
        if not self.lane.flows:
            return None
        flow, item = self.lane.dispatch()
        self._charge(flow, item)
        return flow

    def _pass_by(self, step: Step) -> str | None:
        if self.lane.flows:
            return None  # nobody passes those that wait
        item = Item(byte_size=step.cost)
        self.lane.pass_by(step.flow, item)
        self._tallies[step.flow].largest = max(self._tallies[step.flow].largest, item.cost)
        self._charge(step.flow, item)
        return step.flow

    def _charge(self, flow: str, item: Item) -> None:
        tally = self._tallies[flow]
        tally.service += Fraction(item.cost) / tally.weight
        tally.at_last_turn = tally.settled
        self._gone.append((flow, item))

    def _settle(self, step: Step) -> str | None:
        mine = [item for flow, item in self._gone if flow == step.flow]
        if not mine:
            return None
        item, cost = mine[-1 - step.place % len(mine)], max(1, step.cost)
        delta = cost - item.cost
        tally = self._tallies[step.flow]
        if delta:
            item.cost = cost
            tally.service += Fraction(delta) / tally.weight
            tally.settled += abs(Fraction(delta)) / tally.weight
            self.lane.settle(step.flow, delta)
        return step.flow

    def _lead(self, pair: tuple[str, str]) -> Fraction:
        return self._tallies[pair[0]].service - self._tallies[pair[1]].service

    def _meet(self, pair: tuple[str, str]) -> None:
        lead = self._lead(pair)
        self._shared[pair] = _Shared(self._at, (lead, self._at), (lead, self._at))

    def _compare(self, pair: tuple[str, str]) -> None:
        shared, lead = self._shared[pair], self._lead(pair)
        shared.least = min(shared.least, (lead, self._at))
        shared.most = max(shared.most, (lead, self._at))
        apart = shared.most[0] - shared.least[0]
        one, other = (self._tallies[flow] for flow in pair)
        max_cost, weights = (one.largest, other.largest), (float(one.weight), float(other.weight))
        bound = self.policy.bound(max_cost, weights)
        assert_finite(f"bound({max_cost}, {weights})", bound)
        settled = one.settled - one.excused + other.settled - other.excused
        if apart > (Fraction(bound) + settled) * (1 + _ROUNDING):
            # Of a lead that grew, the first flow got more; of one that shrank, the second.
            ahead, behind = pair if shared.least[1] < shared.most[1] else reversed(pair)
            first, last = sorted((shared.least[1], shared.most[1]))
            raise AssertionError(
                f"{self.policy.name}: flows {pair[0]!r} and {pair[1]!r} both waited from step {shared.began} on, and "
                f"from step {first} to step {last} {ahead!r} got {float(apart):.10g} more per weight than {behind!r}, "
                f"where bound(max_cost={max_cost}, weights={weights}) is {float(bound):.10g} and "
                f"{float(settled):.10g} were settled"
            )
