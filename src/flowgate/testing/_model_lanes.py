"""Turns of lanes: how the lanes of one band divide a pod that they share."""

from collections import defaultdict
from fractions import Fraction
from itertools import combinations

import attrs

from flowgate.contracts import Pod
from flowgate.testing._model import Model
from flowgate.testing._model_parts import MovableRequest

__all__ = ["LaneTurns"]

_Contest = tuple[Pod, int]
_Pair = tuple[_Contest, frozenset[object]]


@attrs.define
class _Lead:
    """How far one of two lanes is ahead of the other, in requests per waiting flow: now, least and most."""

    first: object
    now: Fraction = Fraction(0)
    least: Fraction = Fraction(0)
    most: Fraction = Fraction(0)


class LaneTurns:
    """Checks that lanes which wait for the same pod divide it by their waiting flows.

    A dispatch advances a lane by one request per flow that waits there, and the lane that is least advanced goes next.
    So two that both wait are never more than one request apart, whoever came when; over any interval in which they do,
    one gets no more than two ahead. Not so where fairness ranks lanes by their heads, or fails.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._leads: dict[_Pair, _Lead] = {}
        self._is_trusted = True

    def distrust(self) -> None:
        """Expect nothing any more."""
        self._is_trusted = False

    def restart(self) -> None:
        """Forget what went on until now: policies may be others."""
        self._leads.clear()

    def note_waiting(self) -> None:
        """Note which lanes wait for which pods, after each change."""
        if not self._model.is_keyed:
            return  # what a lane waits for changes with its head
        contests: dict[_Contest, dict[object, None]] = defaultdict(dict)
        for request in self._model.waiting:
            for pod in self._model.candidates(request):
                contests[pod, request.priority][self._model.lane(request)] = None
        pairs = [(at, pair) for at, lanes in contests.items() for pair in combinations(lanes, 2)]
        leads = {(at, frozenset(pair)): _Lead(pair[0]) for at, pair in pairs}
        self._leads = {pair: self._leads.get(pair, lead) for pair, lead in leads.items()}

    def dispatched(self, request: MovableRequest, pod: Pod) -> None:
        """Count a dispatch of a request that waited, and is still on the list."""
        model = self._model
        if not self._is_trusted or hasattr(model.waiting[request].queue.group.policy, "rank"):
            return
        lane = model.lane(request)
        flows = {model.flow(other) for other in model.waiting if model.group(other) == model.group(request)}
        for (at, lanes), lead in self._leads.items():
            if at == (pod, request.priority) and lane in lanes:
                lead.now += Fraction(1 if lead.first == lane else -1, len(flows))
                lead.least, lead.most = min(lead.least, lead.now), max(lead.most, lead.now)
                apart = float(lead.most - lead.least)
                assert apart <= 2.0, (
                    f"of the lanes {sorted(map(str, lanes))} of band {request.priority}, which both waited for "
                    f"{pod.name}, one got {apart:g} requests per waiting flow more than the other"
                )
