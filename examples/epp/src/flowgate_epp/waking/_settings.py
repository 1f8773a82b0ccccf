"""How KEDA finds us, and what a replica is worth."""

from typing import Any, Final, Literal

import attrs

from flowgate.validators import an_int, check_number, finite_seconds, instance_of, number_in, one_of
from flowgate_epp.extproc import TlsSettings

__all__ = ["KedaSettings", "MetricName", "check_target"]

MetricName = Literal["requests", "work"]

_LEAST_TARGET: Final = 0.001  # KEDA counts in thousandths
_MOST_TARGET: Final = 1e12
_LEAST_REMINDER: Final = 1.0


def check_target(name: str, value: object) -> float:
    """Return a target that KEDA can count in.

    Raises:
        ValueError: It is out of range.
        TypeError: It is no number.
    """
    rule = f"lie in {_LEAST_TARGET:g}..{_MOST_TARGET:g}"
    return check_number(name, value, lambda number: _LEAST_TARGET <= number <= _MOST_TARGET, rule)


def _a_target(_settings: object, field: "attrs.Attribute[Any]", value: object) -> None:
    check_target(field.name, value)


@attrs.frozen
class KedaSettings:
    """Where KEDA's external scaler listens, and what it tells.

    A trigger of a ScaledObject may name its own ``metric`` and ``target`` in its metadata.

    Attributes:
        host: The address to listen at; ``"::"`` takes IPv4 and IPv6.
        port: The port, 0 for any that is free.
        tls: The certificate; None speaks plaintext.
        metric: What is told: ``"requests"``, those that wait and those in flight, or ``"work"``, theirs in the unit of
            the meter.
        target: How much of the metric one replica is to have.
        latch: Seconds for which the pool counts as active after its last demand. More than the ``pollingInterval`` of
            the ScaledObjects (30 s where they set none), or a burst between two polls goes unnoticed where its push was
            lost.
        reminder: Seconds after which a stream hears again that there is demand, as long as there is.
    """

    host: str = attrs.field(default="0.0.0.0", validator=instance_of(str))  # noqa: S104 - KEDA is another machine
    port: int = attrs.field(default=9003, validator=[an_int, number_in(0, 65535)])
    tls: TlsSettings | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(TlsSettings))
    )
    metric: MetricName = attrs.field(default="requests", validator=one_of("requests", "work"))
    target: float = attrs.field(default=10.0, validator=_a_target)
    latch: float = attrs.field(default=60.0, validator=finite_seconds)
    reminder: float = attrs.field(default=15.0, validator=[finite_seconds, number_in(_LEAST_REMINDER, 3600)])
