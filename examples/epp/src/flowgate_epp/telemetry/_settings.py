"""What an operator decides of telemetry."""

from collections.abc import Sequence
from typing import Literal

import attrs

from flowgate.validators import at_least, finite_seconds, instance_of, one_of

__all__ = ["LogSettings", "MetricsSettings", "NameScheme", "TelemetrySettings", "TracingSettings"]

NameScheme = Literal["flowgate", "llm-d", "inference-extension"]
"""Whose names metrics have: our own, or those that existing dashboards ask for."""

_SCHEMES = ("flowgate", "llm-d", "inference-extension")


def _check_schemes(_settings: object, _field: object, value: Sequence[str]) -> None:
    for number, name in enumerate(value):
        if name not in _SCHEMES:
            raise ValueError(f"names[{number}] must be one of {', '.join(map(repr, _SCHEMES))}, not {name!r}")
    if not value or len(set(value)) < len(value):
        raise ValueError(f"names must hold at least one name, and each once, not {list(value)!r}")


def _check_labels(_settings: object, field: "attrs.Attribute[Sequence[str]]", value: Sequence[str]) -> None:
    for name in value:
        if not isinstance(name, str) or not name:
            raise ValueError(f"{field.name} must hold names that are not empty, not {name!r}")


@attrs.frozen
class MetricsSettings:
    """How metrics are named, and how many series there may be.

    Args:
        names: Under whose names metrics are told: ``"flowgate"``, ``"llm-d"``, ``"inference-extension"``, or several.
        pool: The pool's name, which those other than our own carry as a label.
        max_label_values: Most series by flow, priority and model, so most flows and most models, too; what finds no
            place is told as ``other``.
        flows: Flows that always have a place, and are told at zero from the start.
        models: Models that always have a place.
        idle_after: Seconds after which the series of a flow goes in which nothing happened.
        process: Whether the process's own memory, CPU and garbage collections are told, too.
    """

    names: Sequence[NameScheme] = attrs.field(
        default=("flowgate",), converter=tuple[NameScheme, ...], validator=_check_schemes
    )
    pool: str = attrs.field(default="default", validator=instance_of(str))
    max_label_values: int = attrs.field(default=1_000, validator=at_least(1))
    flows: Sequence[str] = attrs.field(default=("default",), converter=tuple[str, ...], validator=_check_labels)
    models: Sequence[str] = attrs.field(default=(), converter=tuple[str, ...], validator=_check_labels)
    idle_after: float = attrs.field(default=300.0, validator=finite_seconds)
    process: bool = attrs.field(default=True, validator=instance_of(bool))


@attrs.frozen
class LogSettings:
    """What is logged, and how.

    Args:
        level: The least severe level that is logged.
        format: ``"json"``, one object a line, or ``"console"``, for people.
        stream: ``"stderr"`` or ``"stdout"``.
        requests: Which decisions have a line of their own: all, those that refused, or none.
    """

    level: Literal["debug", "info", "warning", "error"] = attrs.field(
        default="info", validator=one_of("debug", "info", "warning", "error")
    )
    format: Literal["json", "console"] = attrs.field(default="json", validator=one_of("json", "console"))
    stream: Literal["stderr", "stdout"] = attrs.field(default="stderr", validator=one_of("stderr", "stdout"))
    requests: Literal["all", "refused", "none"] = attrs.field(
        default="refused", validator=one_of("all", "refused", "none")
    )


@attrs.frozen
class TracingSettings:
    """Whether requests leave spans.

    Whatever is not set here (the exporter's endpoint and headers, resource attributes, the sampler of traces that begin
    here) is taken from OpenTelemetry's standard environment variables.

    Args:
        enabled: Whether they do; needs the extra ``tracing``.
        service_name: The service's name in its spans, where ``OTEL_SERVICE_NAME`` does not say it.
        endpoint: The whole URL to which spans are sent, as OTLP over HTTP in JSON, such as
            ``http://collector:4318/v1/traces``; None for what the environment says.
        roots: Whether a request that comes without a trace begins one. A caller's word not to sample always holds.
    """

    enabled: bool = attrs.field(default=False, validator=instance_of(bool))
    service_name: str = attrs.field(default="flowgate-epp", validator=instance_of(str))
    endpoint: str | None = attrs.field(default=None, validator=attrs.validators.optional(instance_of(str)))
    roots: bool = attrs.field(default=False, validator=instance_of(bool))


@attrs.frozen
class TelemetrySettings:
    """All of telemetry.

    Args:
        metrics: Prometheus metrics.
        log: The log.
        tracing: OpenTelemetry spans.
    """

    metrics: MetricsSettings = attrs.field(factory=MetricsSettings)
    log: LogSettings = attrs.field(factory=LogSettings)
    tracing: TracingSettings = attrs.field(factory=TracingSettings)
