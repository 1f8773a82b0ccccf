"""Draining: requests parked behind a closed gate go through when it opens, by policy, flows, bands and lanes."""

from collections.abc import Callable, Coroutine
from functools import partial

import attrs

from benchmarks.fairness import POLICIES
from benchmarks.floor import bare_drain
from benchmarks.gate import drain as drained
from benchmarks.load import Load
from benchmarks.rounds import Case, Figure, measure
from benchmarks.sizes import Sizes
from flowgate.contracts import InterFlowDispatchPolicy
from flowgate.policies import BestHead, RoundRobin

__all__ = ["drain"]

_TARGETS = {RoundRobin().name: 8.0, BestHead().name: 12.0}
_SPREAD_TARGETS = {RoundRobin().name: 2.0}


def drain(sizes: Sizes) -> list[Figure]:
    """Measure every policy with the fewest requests; round robin and best head with more of them as well."""
    few, *more = sizes.parked
    suites = [_policy(policy, few, sizes.drained_flows, has_target=not more) for policy in POLICIES]
    suites.append(_wide(few, sizes.most))
    for parked in more:
        ends = sizes.drained_flows[0], sizes.drained_flows[-1]
        has_target = parked == more[-1]
        suites += [_policy(policy, parked, ends, has_target=has_target) for policy in (RoundRobin(), BestHead())]
    return [figure for cases in suites for figure in measure(cases, sizes.few_rounds)]


def _policy(policy: InterFlowDispatchPolicy, parked: int, numbers: tuple[int, ...], *, has_target: bool) -> list[Case]:
    load = Load(parked, slots=2 * parked, fairness=policy)
    flows = sorted({min(number, parked) for number in numbers})
    floor = f"bare futures, drain of {parked:,} beside {policy.name}"
    first = f"drain of {parked:,}, {policy.name}, {flows[0]:,} flows"
    cases = [Case(floor, partial(bare_drain, parked)), Case(first, _drained(load, flows[0]), {floor: None})]
    for number in flows[1:]:
        is_last = has_target and number == flows[-1]
        versus = {
            floor: _TARGETS.get(policy.name) if is_last else None,
            first: _SPREAD_TARGETS.get(policy.name) if is_last else None,
        }
        cases.append(Case(f"drain of {parked:,}, {policy.name}, {number:,} flows", _drained(load, number), versus))
    return cases


def _drained(load: Load, flows: int) -> Callable[[], Coroutine[object, object, float]]:
    return partial(drained, attrs.evolve(load, flows=flows))


def _wide(parked: int, most: int) -> list[Case]:
    load = Load(parked, slots=2 * parked, flows=parked)
    # Each lane's own pods must have room for all that is parked in it.
    lanes = attrs.evolve(load, lanes=most, slots=2 * parked * most)
    floor = f"bare futures, drain of {parked:,} beside bands and lanes"
    one = f"drain of {parked:,}, 1 band in 1 lane"
    return [
        Case(floor, partial(bare_drain, parked)),
        Case(one, partial(drained, load), {floor: None}),
        Case(
            f"drain of {parked:,}, {most:,} bands",
            partial(drained, attrs.evolve(load, bands=most)),
            {floor: None, one: None},
        ),
        Case(f"drain of {parked:,}, {most:,} lanes", partial(drained, lanes), {floor: None, one: None}),
    ]
