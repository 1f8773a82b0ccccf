"""How full each band may make a pod, as a usage-limit policy says; 1.0 for all without one."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from flowgate.contracts import UsageLimitPolicy
from flowgate.lanes import Lane
from flowgate.plugins import FailureSink, plugin_name
from flowgate.pods import PodState, PodTable

__all__ = ["Ceilings", "pool_saturation"]


def pool_saturation(table: PodTable, states: Iterable[PodState]) -> float:
    """Return the mean of min(1, saturation) over some pods; 1.0 when there are none."""
    values = [min(1.0, table.read(state)) for state in states]
    return sum(values) / len(values) if values else 1.0


class Ceilings:
    """The ceilings in force: computed when a pass starts, when it would end, and for an arrival.

    Ceilings that are the same for all bands at all times hold no band back. A policy says so with a number in
    0..1 as `constant_ceiling` (None, or no such attribute, where they are not), and is then never asked.

    Args:
        policy: The usage-limit policy; None for 1.0 everywhere.
        table: Where saturations are read.
        on_failure: Called when the policy raises or breaks its contract; 1.0 is in force then.

    Raises:
        ValueError: The policy's `constant_ceiling` is out of range.
        TypeError: It is no number.
    """

    __slots__ = ("_by_priority", "_on_failure", "_otherwise", "_policy", "_table", "is_static")

    def __init__(self, policy: UsageLimitPolicy | None, table: PodTable, on_failure: FailureSink) -> None:
        self._policy = policy
        self._table = table
        self._on_failure = on_failure
        self._by_priority: dict[int, float] = {}
        constant = 1.0 if policy is None else _constant_ceiling(policy)
        self._otherwise = 1.0 if constant is None else constant
        self.is_static: bool = constant is not None
        """Whether all ceilings are one number, at all times: no band holds another back."""

    def of(self, priority: int) -> float:
        """Return the ceiling in force for a band."""
        return self._by_priority.get(priority, self._otherwise)

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


def _constant_ceiling(policy: UsageLimitPolicy) -> float | None:
    value: object = getattr(policy, "constant_ceiling", None)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"constant_ceiling of {plugin_name(policy)} must be a number or None, not {value!r}")
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"constant_ceiling of {plugin_name(policy)} must lie in 0..1, not {value!r}")
    return value


def _checked(answer: Sequence[float], priorities: Sequence[int]) -> Sequence[float]:
    ceilings = [float(value) for value in answer]
    if len(ceilings) != len(priorities):
        raise ValueError(f"{len(ceilings)} ceilings for the {len(priorities)} priorities {priorities}")
    if any(math.isnan(value) or not 0.0 <= value <= 1.0 for value in ceilings):
        raise ValueError(f"ceilings must lie in 0..1, not {ceilings}")
    for (higher, earlier), (lower, later) in pairwise(zip(priorities, ceilings, strict=True)):
        if later > earlier:
            raise ValueError(
                f"ceilings must not rise towards lower priorities: {later} for priority {lower} is more than "
                f"{earlier} for priority {higher}"
            )
    return ceilings
