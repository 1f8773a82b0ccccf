"""Between bands: how full each may make a pod."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from flowgate.validators import number_in

__all__ = ["PriorityHoldback", "SoftReflectiveCeiling", "StaticUsageLimit"]


_a_share = number_in(0.0, 1.0)


def _more_than_nothing(policy: object, field: "attrs.Attribute[Any]", value: float) -> None:
    _a_share(policy, field, value)
    if not value > 0.0:
        raise ValueError(f"{field.name} must be more than 0, not {value!r}: no band could ever use a pod")


def _rank_or_value(_policy: object, _field: object, value: object) -> None:
    if value not in {"rank", "value"}:
        raise ValueError(f'domain must be "rank" or "value", not {value!r}')


@attrs.frozen
class StaticUsageLimit:
    """One ceiling for all bands, at all times: headroom that nobody uses. O(bands) a call.

    No band holds another back, so the engine reads `constant_ceiling` once and calls nothing.

    Args:
        ceiling: How full a pod may be to be given more work; more than 0, at most 1.

    Raises:
        ValueError: The ceiling is out of range.
        TypeError: It is no number.

    >>> from flowgate.policies import StaticUsageLimit
    >>> StaticUsageLimit(0.9).ceilings(0.5, [10, 0])
    [0.9, 0.9]
    """

    ceiling: float = attrs.field(default=1.0, validator=_more_than_nothing)

    @property
    def name(self) -> str:
        """``"static"``."""
        return "static"

    @property
    def constant_ceiling(self) -> float:
        """The ceiling of every band, whatever waits."""
        return self.ceiling

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:  # noqa: ARG002 - the contract's
        """Return the ceiling, once for each priority."""
        return [self.ceiling] * len(priorities)


@attrs.frozen
class PriorityHoldback:
    """Lower bands stop earlier, so that a higher one finds room when it comes. O(bands) a call.

    Of the bands that wait, the highest may fill pods to `max_ceiling` and the lowest to `min_ceiling`; those between
    lie on the straight line. Bands without a waiting request do not count, so a band that waits alone has
    `max_ceiling`, however low it is: nothing is held free for those who do not come.

    Args:
        min_ceiling: Ceiling of the lowest band that waits, 0..1; with 0 it gets nothing while a higher one waits.
        max_ceiling: Ceiling of the highest, at least `min_ceiling` and more than 0, at most 1.
        domain: What "between" means: ``"rank"``, equal steps from band to band; ``"value"``, by the priorities' own
            distances.

    Raises:
        ValueError: A ceiling is out of range, or `domain` unknown.
        TypeError: A ceiling is no number.

    >>> from flowgate.policies import PriorityHoldback
    >>> PriorityHoldback(0.5).ceilings(0.9, [100, 10, 0])
    [1.0, 0.75, 0.5]
    >>> PriorityHoldback(0.5, domain="value").ceilings(0.9, [100, 10, 0])
    [1.0, 0.55, 0.5]
    >>> PriorityHoldback(0.5).ceilings(0.9, [0])
    [1.0]
    """

    min_ceiling: float = attrs.field(validator=_a_share)
    max_ceiling: float = attrs.field(default=1.0, validator=_more_than_nothing)
    domain: Literal["rank", "value"] = attrs.field(default="rank", validator=_rank_or_value)

    def __attrs_post_init__(self) -> None:
        if self.min_ceiling > self.max_ceiling:
            raise ValueError(
                f"min_ceiling must be at most max_ceiling, {self.max_ceiling!r}, and is {self.min_ceiling!r}"
            )

    @property
    def name(self) -> str:
        """``"priority-holdback"``."""
        return "priority-holdback"

    @property
    def constant_ceiling(self) -> float | None:
        """The ceiling of every band, where both are the same; else None."""
        return self.max_ceiling if self.min_ceiling == self.max_ceiling else None

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:  # noqa: ARG002 - the contract's
        """Return the points of the line, one for each priority; highest first."""
        if self.domain == "rank":
            steps = list(range(len(priorities)))
        else:
            steps = [priorities[0] - priority for priority in priorities]
        return [self._at(step / steps[-1] if step else 0.0) for step in steps]

    def _at(self, share: float) -> float:
        if share == 1.0:
            return self.min_ceiling  # which rounding might miss
        return self.max_ceiling - share * (self.max_ceiling - self.min_ceiling)


@attrs.frozen
class SoftReflectiveCeiling:
    """The fuller the pods, the earlier lower bands stop; while pods are idle nobody is held back. O(bands) a call.

    Of N bands that wait, the one of rank i (0 is the highest) has the ceiling 1 - i * s / (N - 1), where s is the
    saturation of the pods they wait for. A band that waits alone has 1.0.

    The policy answers from its arguments alone, and so a low band gets nothing for as long as higher ones keep the pods
    full. A variant that lets low bands through at every n-th call cannot be had here: the engine asks when something
    happens, not at intervals, so a count of calls is a share of nothing. To guarantee a low band a share, give it one
    in the configuration: ``FlowControlConfig(band_shares=BandShares(...))``.

    >>> from flowgate.policies import SoftReflectiveCeiling
    >>> SoftReflectiveCeiling().ceilings(0.5, [100, 10, 0])
    [1.0, 0.75, 0.5]
    """

    @property
    def name(self) -> str:
        """``"soft-reflective-ceiling"``."""
        return "soft-reflective-ceiling"

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """Return the ceilings, from 1.0 for the first priority to 1 - saturation for the last."""
        last = max(1, len(priorities) - 1)
        fullness = min(1.0, max(0.0, saturation))
        return [1.0 - rank / last * fullness for rank in range(len(priorities))]
