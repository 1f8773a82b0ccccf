"""What a request is for, and so how important it is."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from flowgate.validators import instance_of

__all__ = ["Objectives", "StaticObjectives"]


class Objectives(Protocol):
    """Knows the priority of each objective; clients name an objective, and never write the number."""

    def priority(self, name: str) -> int | None:
        """Return an objective's priority; None where there is no such objective.

        Called once for each request that names one; the name is the client's, as it came. It must return at once.
        """
        ...


def _check_priorities(_record: object, _field: object, value: Mapping[Any, Any]) -> None:
    for name, priority in value.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"priorities must have objectives' names as keys, not {name!r}")
        if not isinstance(priority, int) or isinstance(priority, bool):
            raise TypeError(f"the priority of objective {name!r} must be an int, not {priority!r}")


def _copy(value: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(value)) if isinstance(value, Mapping) else value


@attrs.frozen
class StaticObjectives:
    """Objectives that a configuration lists.

    Args:
        priorities: By objective; higher is served first, negative is sheddable.

    Raises:
        ValueError: A name is empty.
        TypeError: A priority is no integer.

    >>> StaticObjectives({"chat": 10, "batch": -1}).priority("batch")
    -1
    """

    priorities: Mapping[str, int] = attrs.field(
        factory=dict, converter=_copy, validator=[instance_of(Mapping), _check_priorities]
    )

    def priority(self, name: str) -> int | None:
        """Return what was listed."""
        return self.priorities.get(name)
