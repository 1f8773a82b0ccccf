"""What a scheduler is made of, as a configuration says it."""

from typing import Any

import attrs

from flowgate.validators import positive
from flowgate_epp.scheduling._contracts import Filter, Picker, Scorer
from flowgate_epp.scheduling._loads import LeastInFlight, LeastKvCache, LeastQueue
from flowgate_epp.scheduling._pickers import MaxScore
from flowgate_epp.scheduling._prefixes import PrefixAffinity

__all__ = ["SchedulerSettings", "WeightedScorer"]


def _keeps(contract: type) -> Any:
    """Make a check of a field, or of each member of one that is a tuple, for a contract."""

    def check(_settings: object, field: "attrs.Attribute[Any]", value: object) -> None:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, type) or not isinstance(part, contract):
                raise TypeError(f"{field.name} must be a {contract.__name__}, not {part!r}")

    return check


@attrs.frozen
class WeightedScorer:
    """A scorer, and how much it counts beside the others.

    Args:
        scorer: The scorer.
        weight: What its scores are multiplied by; finite and more than 0.

    Raises:
        ValueError: The weight is out of range.
        TypeError: It is no scorer, or the weight no number.
    """

    scorer: Scorer = attrs.field(validator=_keeps(Scorer))
    weight: float = attrs.field(default=1.0, validator=positive)


def _default_scorers() -> tuple[WeightedScorer, ...]:
    return (
        WeightedScorer(LeastQueue()),
        WeightedScorer(LeastKvCache()),
        WeightedScorer(LeastInFlight()),
        WeightedScorer(PrefixAffinity(), 2.0),
    )


@attrs.frozen
class SchedulerSettings:
    """Which filters, scorers and picker a scheduler has. Some hold state: settings make one scheduler.

    Args:
        filters: In the order in which they are asked; none by default.
        scorers: With their weights. By default the pod's queue, its cache, what is in flight (1 each), and the prompt's
            beginning (2).
        picker: Chooses by the weighted sum; by default the highest, ties by chance.

    Raises:
        TypeError: A part does not have the methods of its contract.
    """

    filters: tuple[Filter, ...] = attrs.field(default=(), converter=tuple, validator=_keeps(Filter))
    scorers: tuple[WeightedScorer, ...] = attrs.field(
        factory=_default_scorers, converter=tuple, validator=_keeps(WeightedScorer)
    )
    picker: Picker = attrs.field(factory=MaxScore, validator=_keeps(Picker))
