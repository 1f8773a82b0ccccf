"""How a leader is chosen."""

from typing import Any, Final

import attrs

from flowgate.validators import finite_seconds, instance_of
from flowgate_epp.kubernetes import check_name, check_namespace

__all__ = ["LeaseSettings"]

_SHORTEST: Final = 1.0


def _not_empty(settings: object, field: "attrs.Attribute[Any]", value: str) -> None:
    instance_of(str)(settings, field, value)
    if not value:
        raise ValueError(f"{field.name} must not be empty")


@attrs.frozen
class LeaseSettings:
    """How a leader is chosen: by a Lease that it renews, and that another takes once it is no longer renewed.

    A leader that cannot renew gives up after `renew_deadline`, and no other leads before `duration` has passed. What
    lies between the two is room for clocks that do not run equally fast.

    Args:
        name: The Lease's, the same for all candidates.
        namespace: Where it is; None takes the credentials' own.
        identity: Who we are in it; None takes the host's name, which is the pod's. Random letters are added, so that no
            two candidates are the same, not even one and its successor in the same pod.
        duration: Seconds for which others see a lease unchanged before they take it; told in whole seconds, rounded up.
        renew_deadline: Seconds after its last renewal at which a leader gives up: less than `duration`.
        retry_interval: Seconds between renewals, and between looks of those who stand by: at most half of
            `renew_deadline`, so that one renewal may fail.

    Raises:
        ValueError: A value breaks its rule.
        TypeError: A value has the wrong type.
    """

    name: str = attrs.field(default="flowgate-epp", validator=check_name)
    namespace: str | None = attrs.field(default=None, validator=check_namespace)
    identity: str | None = attrs.field(default=None, validator=attrs.validators.optional(_not_empty))
    duration: float = attrs.field(default=15.0, validator=finite_seconds)
    renew_deadline: float = attrs.field(default=10.0, validator=finite_seconds)
    retry_interval: float = attrs.field(default=2.0, validator=finite_seconds)

    def __attrs_post_init__(self) -> None:
        if self.duration < _SHORTEST:
            raise ValueError(f"duration must be {_SHORTEST:g} or more, not {self.duration!r}")
        if self.renew_deadline >= self.duration:
            raise ValueError(
                f"renew_deadline must be less than duration, {self.duration!r}, not {self.renew_deadline!r}"
            )
        if self.retry_interval > self.renew_deadline / 2:
            raise ValueError(
                f"retry_interval must be at most half of renew_deadline, {self.renew_deadline!r}, "
                f"not {self.retry_interval!r}"
            )
