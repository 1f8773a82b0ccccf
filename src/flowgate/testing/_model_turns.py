"""Fairness: how far apart two flows come over every interval in which both wait in one group."""

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import attrs

from flowgate.contracts import Costed, Dispatched, FlowKey
from flowgate.items import Item
from flowgate.testing._model import Charge, Group, Model
from flowgate.testing._model_parts import MovableRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowgate.testing._fairness_bounds import BoundedFairnessPolicy

__all__ = ["Turns", "check_cost"]

_ROUNDING = Fraction(1, 10**9)
_Pair = tuple[Group, FlowKey, FlowKey]


@attrs.define
class _Tally:
    """What one flow got in one group, per weight, and what may excuse it.

    Attributes:
        policy: Who shares.
        weight: Of the flow.
        service: All that was charged and settled.
        settled: The sizes of its settlements.
        excused: Those of them that were known before its last turn before it began to wait.
        at_last_turn: Those known at its last turn so far.
        largest: The largest cost of its requests.
        skips: Whether one of its requests went that was not the first of its queue.
    """

    policy: object
    weight: Fraction
    service: Fraction = Fraction(0)
    settled: Fraction = Fraction(0)
    excused: Fraction = Fraction(0)
    at_last_turn: Fraction = Fraction(0)
    largest: float = 1
    skips: bool = False

    @property
    def max_cost(self) -> float:
        """What its bound is to be computed from."""
        return 2 * self.largest if self.skips else self.largest


@attrs.define
class _Interval:
    """A time in which two flows wait together: how far the first was ahead of the second, least and most."""

    least: Fraction
    most: Fraction


class Turns:
    """Holds fairness policies to their `bound`, those that have one; but not one whose service decays with time.

    A policy that has failed is trusted no more.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tallies: dict[tuple[Group, FlowKey], _Tally] = {}
        self._waiting: dict[Group, set[FlowKey]] = {}
        self._intervals: dict[_Pair, _Interval] = {}
        self._is_trusted = True

    def distrust(self) -> None:
        """Expect nothing any more."""
        self._is_trusted = False

    def restart(self) -> None:
        """Forget what went on until now: policies may be others."""
        self._intervals.clear()
        self._waiting.clear()
        self.note_waiting()

    def note_waiting(self) -> None:
        """Note which flows wait, after each change: a flow that waits no longer ends the intervals that it shared."""
        waiting: dict[Group, set[FlowKey]] = defaultdict(set)
        for request, item in self._model.waiting.items():
            tally = self._tally(self._model.group(request), item.queue.flow.key, item.queue.flow.band.config.fairness)
            tally.largest = max(tally.largest, item.cost)
            waiting[self._model.group(request)].add(item.queue.flow.key)
        for group in {*waiting, *self._waiting}:
            self._note_group(group, waiting.get(group, set()))
        self._waiting = dict(waiting)

    def _note_group(self, group: Group, waiting: set[FlowKey]) -> None:
        before = self._waiting.get(group, set())
        for pair in [pair for pair in self._intervals if pair[0] == group and not waiting.issuperset(pair[1:])]:
            del self._intervals[pair]
        for flow in waiting - before:
            tally = self._tallies[group, flow]
            tally.excused = tally.at_last_turn
            for other in waiting - {flow}:
                first, second = sorted((flow, other), key=_by_id)
                lead = self._lead((group, first, second))
                self._intervals[group, first, second] = _Interval(lead, lead)

    def _tally(self, group: Group, flow: FlowKey, policy: object) -> _Tally:
        tally = self._tallies.get((group, flow))
        if tally is None or tally.policy != policy:
            weight_of: Callable[[FlowKey], float] | None = getattr(policy, "weight_of", None)
            weight = 1 if weight_of is None else weight_of(flow)
            tally = self._tallies[group, flow] = _Tally(policy, Fraction(weight))
        return tally

    def dispatched(self, request: MovableRequest, event: Dispatched, charge: Charge) -> None:
        """Count a dispatch, of a request that is still on the list if it waited, and check the bound."""
        band = self._model.band(request) if event.waited else self._model.settings(request.priority)
        tally = self._tally(charge.group, charge.flow, band.fairness)
        if event.waited:
            tally.skips = tally.skips or self._model.in_flow(request)[0] is not request
        cost = 1 if charge.cost is None else charge.cost
        tally.largest = max(tally.largest, cost)
        tally.service += Fraction(cost) / tally.weight
        tally.at_last_turn = tally.settled
        self._check(charge)

    def settled(self, charge: Charge, delta: float) -> None:
        """Count a settlement, and check the bound."""
        tally = self._tallies[charge.group, charge.flow]
        tally.service += Fraction(delta) / tally.weight
        tally.settled += abs(Fraction(delta)) / tally.weight
        self._check(charge)

    def _check(self, charge: Charge) -> None:
        for pair, interval in self._intervals.items():
            if pair[0] == charge.group and charge.flow in pair[1:]:
                lead = self._lead(pair)
                interval.least = min(interval.least, lead)
                interval.most = max(interval.most, lead)
                self._check_pair(pair, interval)

    def _lead(self, pair: _Pair) -> Fraction:
        group, first, second = pair
        return self._tallies[group, first].service - self._tallies[group, second].service

    def _check_pair(self, pair: _Pair, interval: _Interval) -> None:
        group, first, second = pair
        one, other = self._tallies[group, first], self._tallies[group, second]
        if not self._is_trusted or not hasattr(one.policy, "bound") or hasattr(one.policy, "bind"):
            return
        policy = cast("BoundedFairnessPolicy", one.policy)
        max_cost, weights = (one.max_cost, other.max_cost), (float(one.weight), float(other.weight))
        bound = policy.bound(max_cost, weights)
        settled = one.settled - one.excused + other.settled - other.excused
        apart = interval.most - interval.least
        assert apart <= (Fraction(bound) + settled) * (1 + _ROUNDING), (
            f"{policy.name}: while flows {first.id!r} and {second.id!r} of band {group[1]} both waited, one of them "
            f"got {float(apart):g} more per weight than the other, where bound(max_cost={max_cost}, weights={weights}) "
            f"is {float(bound):g}, and {float(settled):g} were settled"
        )


def check_cost(item: Item) -> None:
    """Check that an item costs what its fairness policy says; 1 where that counts requests."""
    fairness = item.queue.flow.band.fairness
    cost = max(1, fairness.cost_of(item)) if isinstance(fairness, Costed) else 1
    assert item.cost == cost, f"{item!r} is to cost {cost:g}, not {item.cost:g}"


def _by_id(flow: FlowKey) -> str:
    return flow.id
