"""How full each band may make a pod, as a usage-limit policy says; 1.0 for all without one."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from flowgate.contracts import UsageLimitPolicy
from flowgate.lanes import Lane
from flowgate.plugins import FailureSink
from flowgate.pods import PodState, PodTable

__all__ = ["Ceilings", "pool_saturation"]


def pool_saturation(table: PodTable, states: Iterable[PodState]) -> float:
    """Return the mean of min(1, saturation) over some pods; 1.0 when there are none."""
    values = [min(1.0, table.read(state)) for state in states]
    return sum(values) / len(values) if values else 1.0


class Ceilings:
    """The ceilings in force: computed when a pass starts, when it would end, and for an arrival.

    Args:
        policy: The usage-limit policy; None for 1.0 everywhere, at no cost.
        table: Where saturations are read.
        on_failure: Called when the policy raises or breaks its contract; 1.0 is in force then.
    """

    __slots__ = ("_by_priority", "_on_failure", "_policy", "_table", "is_static")

    def __init__(self, policy: UsageLimitPolicy | None, table: PodTable, on_failure: FailureSink) -> None:
        self._policy = policy
        self._table = table
        self._on_failure = on_failure
        self._by_priority: dict[int, float] = {}
        self.is_static: bool = policy is None
        """Whether every ceiling is 1.0 at all times."""

    def of(self, priority: int) -> float:
        """Return the ceiling in force for a band."""
        return self._by_priority.get(priority, 1.0)

    def update(self, lanes: Iterable[Lane], priorities: Iterable[int]) -> bool:
        """Compute the ceilings for these bands, from the saturation of the pods that these lanes name.

        Returns:
            Whether they are others than before.
        """
        assert self._policy is not None  # noqa: S101 - static ceilings are not updated
        before = self._by_priority
        ordered = sorted(set(priorities), reverse=True)
        named = dict.fromkeys(state for lane in lanes for state in lane.candidates.pods)
        try:
            answer = self._policy.ceilings(pool_saturation(self._table, named), ordered)
            self._by_priority = dict(zip(ordered, _checked(answer, ordered), strict=True))
        except Exception as error:  # a plug-in may raise anything
            self._by_priority = {}
            self._on_failure("usage limit", self._policy, error)
        return self._by_priority != before


def _checked(answer: Sequence[float], priorities: Sequence[int]) -> Sequence[float]:
    ceilings = [float(value) for value in answer]
    if len(ceilings) != len(priorities):
        raise ValueError(f"{len(ceilings)} ceilings for the {len(priorities)} priorities {priorities}")
    if any(math.isnan(value) or not 0.0 <= value <= 1.0 for value in ceilings):
        raise ValueError(f"ceilings must lie in 0..1, not {ceilings}")
    if any(later > earlier for earlier, later in pairwise(ceilings)):
        raise ValueError(f"ceilings {ceilings} rise towards the lower of the priorities {priorities}")
    return ceilings
